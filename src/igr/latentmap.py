"""The latents of a shape space along the directions in which they vary most: a picture, a table."""

from __future__ import annotations

import csv
import html
import io
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from .errors import InputError, readable
from .plots import COLORS

if TYPE_CHECKING:
    from .shapespace import ShapeSpace

SIDE = 560
"""Height and width of the picture's map."""
GROUPS = 24
"""At most so many groups are named beside the map."""


def principal_coordinates(space: ShapeSpace) -> tuple[Float[np.ndarray, "s c"], Float[np.ndarray, " c"]]:
    """The training latents along the principal directions, in standard deviations, and each one's share of the
    variance.

    Raises:
        InputError: there are fewer than three shapes: no map.
    """
    if len(space.names) < 3:
        raise InputError(f"a map needs at least 3 training shapes, and this space has {len(space.names)}")
    mean, directions = space.principal()
    square = (directions**2).sum(1)
    total = space.latents.astype(np.float64).var(0).sum()
    return (space.latents - mean) @ directions.T / square, square / total


def latent_table(space: ShapeSpace) -> str:
    """A row for each training shape: its name, and where it is along every principal direction (CSV)."""
    coordinates, _ = principal_coordinates(space)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["shape", *(f"direction_{index + 1}" for index in range(coordinates.shape[1]))])
    for name, row in zip(space.names, coordinates, strict=True):
        table.writerow([name, *(f"{value:.5g}" for value in row)])
    return text.getvalue()


def latent_picture(space: ShapeSpace) -> str:
    """A dot for each training shape along the two strongest directions, in the color of its group: what its name
    begins with, up to the first slash (SVG; the names appear under the pointer)."""
    coordinates, share = principal_coordinates(space)
    places = np.zeros((len(coordinates), 2))
    places[:, : min(2, coordinates.shape[1])] = coordinates[:, :2]
    reach = 1.05 * float(np.abs(places).max())
    groups = sorted({name.split("/")[0] for name in space.names})
    dots = []
    for name, (x, y) in zip(space.names, (places * [1, -1] / reach + 1) * SIDE / 2, strict=True):
        look = _look(groups.index(name.split("/")[0]), len(groups))
        dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {look}><title>{_shown(name)}</title></circle>')
    axes = "".join(
        f'<line x1="{a}" y1="{b}" x2="{c}" y2="{d}" stroke="#ccc"/>'
        for a, b, c, d in ((0, SIDE / 2, SIDE, SIDE / 2), (SIDE / 2, 0, SIDE / 2, SIDE))
    )
    first, second = (f"{100 * value:.0f} %" for value in (*share, 0.0)[:2])
    labels = (
        f'<text x="0" y="-8">↑ direction 2, {second} of the variance</text>'
        f'<text x="{SIDE}" y="{SIDE + 22}" text-anchor="end">direction 1, {first} of the variance →</text>'
        f'<text x="0" y="{SIDE + 42}">{len(dots):,} shapes; the edge is at {reach:.1f} standard deviations</text>'
    )
    named = "".join(
        f'<circle cx="{SIDE + 24}" cy="{10 + 22 * index}" r="5" {_look(index, len(groups))}/>'
        f'<text x="{SIDE + 36}" y="{14 + 22 * index}">{_shown(group[:24])}</text>'
        for index, group in enumerate(groups[:GROUPS])
    )
    if len(groups) > GROUPS:
        named += f'<text x="{SIDE + 36}" y="{14 + 22 * GROUPS}">and {len(groups) - GROUPS} more</text>'
    size = f'viewBox="-10 -26 {SIDE + 230} {SIDE + 78}" width="{SIDE + 230}"'
    font = 'font-family="system-ui,sans-serif" font-size="13" fill="#222"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>{axes}{"".join(dots)}{labels}{named}</svg>\n'


def _look(group: int, groups: int) -> str:
    """Fill of a group's dots: a color of its own while there are enough, then hues all around."""
    color = (
        COLORS[group] if groups <= len(COLORS) else f"hsl({360 * group / groups:.0f},55%,{(38, 55)[group % 2]}%)"
    )
    return f'fill="{color}" fill-opacity="0.8"'


def _shown(text: str) -> str:
    return html.escape(readable(text))
