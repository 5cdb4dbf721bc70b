"""Cards of clouds, surfaces and shape spaces for notebooks, and a bar that shows how far a fit is."""

from __future__ import annotations

import base64
import functools
import html
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from ..cloud.frame import sides
from ..cloud.pointcloud import PointCloud
from ..errors import FAILURES, readable, reason
from ..mesh.pieces import largest_piece, pieces
from ..mesh.triangles import Mesh, is_watertight
from ..surface.surface import Surface
from .drawings import cut
from .render import COLOR, View, png, render_mesh
from .words import contents, outcome

if TYPE_CHECKING:
    from ..fit.loop import Progress
    from ..space.space import ShapeSpace

PIXELS = 260
"""Height and width of a card's picture."""
CELLS = 256
"""Resolution at most of the mesh in the picture: coarser ones lose fingers, which then count as pieces."""
POINTS = 100_000
"""At most so many points are drawn."""


def card(shown: Any) -> str:
    """The HTML that a notebook shows for a cloud, a surface or a shape space."""
    try:
        if isinstance(shown, PointCloud):
            return _card(_picture(_dots(shown)), shown.name, contents(shown))
        if isinstance(shown, Surface):
            return _surface_card(shown)
        return _space_card(shown)
    except FAILURES as problem:  # a card is no place to fail
        return _card("", repr(shown), [f"no picture: {reason(problem)}"])


def _surface_card(surface: Surface) -> str:
    name = str(surface.details.get("name", "surface"))
    size = f"size {sides(surface.frame.to_input(surface.samples))}, in the scan's units"
    if surface.dimension == 2:
        return _card(cut(surface, (0, 1), points=300), name, [size, *outcome(surface)])
    mesh = surface.triangles(min(CELLS, surface.resolution))
    colors = surface.attributes(mesh[0]).get("colors")
    picture = render_mesh(*mesh, View(pixels=PIXELS), colors=colors)
    return _card(_picture(picture), name, [size, _made_of(mesh), *outcome(surface)])


def _space_card(space: ShapeSpace) -> str:
    lines = [f"{len(space.names):,} training shapes", f"latents of {space.latents.shape[1]:,} numbers"]
    if space.dimension != 3:
        return _card("", "shape space of curves", lines)
    mean = largest_piece(space.decode(space.latents.mean(0)).mesh(resolution=64))[0]
    picture = render_mesh(np.asarray(mean.vertices), np.asarray(mean.faces), View(pixels=PIXELS))
    return _card(_picture(picture), "shape space", [*lines, "shown: the mean of the latents"])


def _made_of(mesh: Mesh) -> str:
    """Pieces of a mesh, in words."""
    count = int(pieces(mesh[1], len(mesh[0])).max()) + 1
    return f"{count} piece{'s' * (count > 1)}, {'watertight' if is_watertight(mesh[1]) else 'with borders'}"


def _dots(cloud: PointCloud, view: View | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """A picture of points, those in front over those behind, on white."""
    view = view or View(pixels=PIXELS)
    few = np.arange(0, len(cloud), max(1, len(cloud) // POINTS))
    points: Float[np.ndarray, "n 3"] = np.pad(cloud.points[few], ((0, 0), (0, 3 - cloud.dimension)))
    if cloud.dimension == 2:
        view = View(-90.0, 90.0, view.pixels)
    right, up, toward = ((points - (points.min(0) + points.max(0)) / 2) @ np.stack(view.axes()).T).T
    reach = 1.05 * max(float(np.abs(right).max()), float(np.abs(up).max()), 1e-300)
    order = np.argsort(toward)
    column = ((1 + right / reach) * view.pixels / 2).astype(int)[order].clip(0, view.pixels - 2)
    row = ((1 - up / reach) * view.pixels / 2).astype(int)[order].clip(0, view.pixels - 2)
    depth = (toward[order] - toward.min()) / max(float(np.ptp(toward)), 1e-300)
    colors = np.broadcast_to(0.7 * COLOR, points.shape)
    if "colors" in cloud.attributes:
        colors = cloud.attributes["colors"][few][order]
    shade = (0.6 + 0.4 * depth)[:, None] * colors
    image = np.full((view.pixels, view.pixels, 3), 255, np.uint8)
    for down in (0, 1):
        for across in (0, 1):
            image[row + down, column + across] = shade.astype(np.uint8)
    return image


def _picture(image: UInt8[np.ndarray, "h w 3"]) -> str:
    data = base64.b64encode(png(image)).decode()
    return f'<img alt="" width="{PIXELS}" height="{PIXELS}" src="data:image/png;base64,{data}">'


def _card(picture: str, title: str, lines: list[str]) -> str:
    listed = "".join(f"<li>{html.escape(readable(line))}</li>" for line in lines)
    text = f'<div><b>{html.escape(readable(title))}</b><ul style="margin:0;padding-left:1.2em">{listed}</ul></div>'
    drawn = f'<div style="width:{PIXELS}px;background:#fff">{picture}</div>' if picture else ""
    return f'<div style="display:flex;flex-wrap:wrap;gap:1em;align-items:center">{drawn}{text}</div>'


class Bar:
    """Shows how far a fit is in a notebook; needs IPython, which every notebook has.

    Example:
        >>> surface = igr.reconstruct("scan.ply", on_step=igr.notebook.Bar())  # doctest: +SKIP
    """

    OFTEN = 0.25
    """Seconds between two looks."""

    def __init__(self) -> None:
        self.shown_at = -np.inf

    def __call__(self, progress: Progress, field: object) -> None:
        """Show the share that is done, and the time left."""
        now = time.monotonic()
        if now - self.shown_at < self.OFTEN and progress.share < 1:
            return
        self.shown_at = now
        left = progress.seconds_left
        told = "" if left is None or progress.share >= 1 else f", {left:.0f} s left"
        bar = f'<progress max="1" value="{progress.share:.3f}"></progress>'
        self._display.update(_html(f"{bar} fitting: {progress.share:.0%}{told}"))

    @functools.cached_property
    def _display(self) -> Any:
        from IPython.display import display

        return display(_html(""), display_id=True)


def _html(text: str) -> Any:
    from IPython.display import HTML

    return HTML(text)
