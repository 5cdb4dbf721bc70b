"""Drawings as SVG, without outside help: curves over the steps, level sets, histograms, a map of latents."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ..errors import InputError, readable
from ..surface.combine import as_closed

if TYPE_CHECKING:
    from ..mesh.triangles import Mesh
    from ..space.space import ShapeSpace
    from ..surface.surface import Surface

COLORS = ("#2a6f97", "#c1666b", "#4a7c59", "#8d6a9f", "#b08900", "#555555")
"""Colors of the curves of a plot, in order."""
SMALLEST = 1e-7
"""What is smaller is left out of a logarithmic plot."""
CELLS = 160
"""Places along each side of a cut at which the field is asked."""


def curves(series: dict[str, Float[np.ndarray, " n"]], steps: Float[np.ndarray, " n"]) -> str:
    """Positive quantities over the steps of a run, on a logarithmic scale; gaps where they are 0 or unknown."""
    logs = {name: np.log10(np.where(values > SMALLEST, values, np.nan)) for name, values in series.items()}
    logs = {name: values for name, values in logs.items() if np.isfinite(values).any()}
    if not logs:
        return ""
    bottom = float(np.floor(min(np.nanmin(values) for values in logs.values())))
    top = float(np.ceil(max(np.nanmax(values) for values in logs.values())))
    parts = []
    for power in np.arange(bottom, top + 1):
        y = 300 * (top - power) / max(top - bottom, 1)
        parts.append(f'<line x1="40" x2="640" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>')
        parts.append(f'<text x="0" y="{y + 4:.1f}" font-size="11">1e{power:.0f}</text>')
    for index, (name, values) in enumerate(logs.items()):
        known = np.isfinite(values)
        x, y = 40 + 600 * steps[known] / steps[-1], 300 * (top - values[known]) / max(top - bottom, 1)
        keep = slice(None, None, max(1, len(x) // 400))
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[keep], y[keep], strict=True))
        color = COLORS[index % len(COLORS)]
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}"/>')
        text = html.escape(name)
        parts.append(f'<text x="650" y="{14 + 18 * index}" font-size="13" fill="{color}">{text}</text>')
    parts.append(f'<text x="40" y="318" font-size="12">{steps[-1]:,.0f} steps</text>')
    return f'<svg viewBox="-2 -8 800 330" style="width:46em">{"".join(parts)}</svg>'


def histogram(values: Float[np.ndarray, " n"], title: str, *, high: float | None = None) -> str:
    """How often values from 0 to `high` (their 99th percentile) occur; what lies beyond is in the last bar."""
    high = float(np.quantile(values, 0.99)) if high is None else high
    edges = np.linspace(0, max(high, 1e-12), 41)
    counts = np.histogram(np.clip(values, 0, edges[-1]), edges)[0]
    bars = "".join(
        f'<rect x="{10 * index}" y="{150 - 140 * count / counts.max():.1f}" width="9" '
        f'height="{140 * count / counts.max():.1f}" fill="{COLORS[0]}"/>'
        for index, count in enumerate(counts)
    )
    text = f"{html.escape(title)}: median {float(np.median(values)):.3g}"
    ends = (
        f'<text y="166" font-size="12">0</text><text x="400" y="166" font-size="12" text-anchor="end">{high:.3g}'
    )
    return f'<svg viewBox="0 -22 404 192"><text y="-6" font-size="13">{text}</text>{bars}{ends}</text></svg>'


def level_lines(
    surface: Surface,
    axes: tuple[int, int],
    middle: Float[np.ndarray, " d"],
    *,
    apart: float,
    steps: int,
    mesh: Mesh | None = None,
) -> Iterator[tuple[int, Float[np.ndarray, "m 2"]]]:
    """Lines of equal distance from a surface on a plane through its box, closed where it is open.

    Args:
        surface: a curve in the plane or a surface in space.
        axes: of the plane.
        middle: a place on the plane, in the input's frame, as all lengths are.
        apart: distance between two lines.
        steps: lines on each side.
        mesh: the surface in triangles, closed: the distance to these is drawn, as far away it is steadier than the
            field's; without them, the field.

    Yields:
        The line's number, 0 for the surface itself, negative inside; and its places along the axes.
    """
    import contourpy

    low, high = surface.frame.to_input(surface.box)
    first, second = (np.linspace(low[axis], high[axis], CELLS) for axis in axes)
    places = np.tile(np.asarray(middle, float), (CELLS * CELLS, 1))
    grid = np.meshgrid(first, second)
    places[:, axes[0]], places[:, axes[1]] = grid[0].ravel(), grid[1].ravel()
    field = as_closed(surface).distance(places)
    away = field
    if mesh is not None:
        import igl

        scaled = surface.frame.to_unit(places), surface.frame.to_unit(mesh[0]), np.asarray(mesh[1], np.int64)
        square = igl.point_mesh_squared_distance(*map(np.ascontiguousarray, scaled))[0]
        away = np.copysign(np.sqrt(square) * surface.frame.scale, field)
    for step in range(-steps, steps + 1):
        values = (away if step else field).reshape(CELLS, CELLS)
        for line in contourpy.contour_generator(first, second, values).lines(step * apart):
            yield step, np.asarray(line)


def cut(
    surface: Surface,
    axes: tuple[int, int],
    across: int | None = None,
    *,
    points: int = 0,
    mesh: Mesh | None = None,
) -> str:
    """Lines of equal distance on a plane through the middle of the box: blue inside, red outside, dark at zero.

    Args:
        surface: a curve in the plane or a surface in space.
        axes: shown to the right and upward.
        across: the axis that the plane stands on, in space.
        points: so many of the samples are drawn, where they lie in the plane.
        mesh: as for `level_lines`.
    """
    low, high = surface.frame.to_input(surface.box)
    start, sides = low[list(axes)], (high - low)[list(axes)]
    unit = 400 / float(sides.max())
    width, height = sides * unit
    parts = []
    apart = 0.025 * float(sides.max())
    for step, line in level_lines(surface, axes, (low + high) / 2, apart=apart, steps=12, mesh=mesh):
        color = "#222" if step == 0 else COLORS[0] if step < 0 else COLORS[1]
        ends = " ".join(f"{x:.2f},{y:.2f}" for x, y in (line - start) * [unit, -unit] + [0, height])
        stroke = f'stroke="{color}" stroke-width="{2 if step == 0 else 0.8}" stroke-linejoin="round"'
        parts.append(f'<polyline points="{ends}" fill="none" {stroke}/>')
    few = surface.samples[:: max(1, len(surface.samples) // points)] if points else np.empty((0, len(low)))
    for x, y in (surface.frame.to_input(few)[:, list(axes)] - start) * [unit, -unit] + [0, height]:
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.1" fill="{COLORS[4]}"/>')
    name = "" if across is None else f"{'xyz'[across]} = {(low + high)[across] / 2:.4g}, "
    name += f"a line every {apart:.2g}"
    label = f'<text x="4" y="{height + 16:.0f}" font-size="13">{name}</text>'
    return f'<svg viewBox="0 0 {width:.0f} {height + 22:.0f}">{"".join(parts)}{label}</svg>'


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
