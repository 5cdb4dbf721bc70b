"""A surface in the browser, also while it is fitted: mesh, points, colors, cuts through the field, offsets."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cloud.frame import Frame, sides, unit_frame
from ..config import Config
from ..errors import FitError, InputError
from ..field.field import Field
from ..mesh.triangles import Mesh, decimated
from ..surface.combine import as_closed
from ..surface.surface import Surface
from .colors import colorize
from .page import SHOWN, LiveMesh, place_mesh, plain
from .render import confidence_colors

if TYPE_CHECKING:
    import viser

    from ..fit.loop import Progress

POINTS = 20_000
"""At most so many of the cloud's points are shown."""
SCAN = "scan"
"""Name of the colors that came with the cloud."""
ISO_STEP = 0.05
"""Distance between two iso-lines of a cut, as a share of the box's longest side."""


class Viewer(LiveMesh):
    """Shows a surface or a mesh, and follows the controls of the page.

    The scene is in the unit frame, so places far from the origin are exact on the screen; numbers beside the
    controls are in the input's units.

    Args:
        server: from `browser.open_server`.
        shape: a surface in space, or vertices and triangles (which have no field to cut or to offset).

    Raises:
        InputError: a planar curve.
    """

    def __init__(self, server: viser.ViserServer, shape: Surface | Mesh) -> None:
        self.surface = shape if isinstance(shape, Surface) else None
        if self.surface is not None and self.surface.dimension != 3:
            raise InputError("the viewer shows surfaces in space; for a planar curve use igr report")
        super().__init__(server, self._update)
        if not isinstance(shape, Surface):
            self.mesh = shape
        self.shown = decimated(*self.mesh, SHOWN)
        """What is on the page of the mesh, which may have more triangles."""
        told = None if self.surface is None else self.surface.measured
        self._scanned = told is not None and "colors" in told.values
        self.frame = _frame(shape)
        self.made_with: tuple[float, int] | None = None
        """Level and resolution that the mesh was made with."""
        self.legend = ""
        """What the colors mean."""
        self._controls()
        self._points()
        self.attempt(self._update)
        self.worker.start()

    def _controls(self) -> None:
        gui, field = self.server.gui, self.surface is not None
        size = self.frame.scale
        self.show_mesh = gui.add_checkbox("surface", True)
        self.show_points = gui.add_checkbox("points", False, visible=field)
        colors = ["plain", "normals"] + (["confidence", "distance to points"] if field else [])
        colors = [SCAN, *colors] if self._scanned else colors
        self.colors = gui.add_dropdown("colors", colors)
        reach = 10 ** math.floor(math.log10(0.3 * size))
        reach *= max(factor for factor in (1, 2, 5) if factor * reach <= 0.3 * size)
        offset, cells = "the surface at this distance, input units", "cells along the longest side"
        self.level = gui.add_slider("level", -reach, reach, reach / 100, 0.0, visible=field, hint=offset)
        self.resolution = gui.add_slider("resolution", 16, 384, 16, 96, visible=field, hint=cells)
        self.show_cut = gui.add_checkbox("cut", False, visible=field)
        self.axis = gui.add_dropdown("cut across", ["x", "y", "z"], initial_value="y", visible=field)
        middle = "from the middle of the box, as a share of its side"
        self.place = gui.add_slider("cut at", -0.5, 0.5, 0.01, 0.0, visible=field, hint=middle)
        controls = (self.show_mesh, self.show_points, self.colors, self.level, self.resolution)
        for control in (*controls, self.show_cut, self.axis, self.place):
            control.on_update(lambda event: self.changed.set())
        self.download = gui.add_button("download mesh (ply)")
        self.download.on_click(self._send)

    def _points(self) -> None:
        if self.surface is None:
            return
        few = self.surface.samples[:: max(1, len(self.surface.samples) // POINTS)]
        self.cloud = self.server.scene.add_point_cloud(
            "/points", few, (193, 102, 107), point_size=0.004, point_shape="circle", visible=False
        )

    def _update(self) -> None:
        self._remesh()
        vertices, faces = self.frame.to_unit(self.shown[0]), self.shown[1]
        with self.server.atomic():
            place_mesh(self.server, vertices, faces, self._colored(vertices), visible=self.show_mesh.value)
            if self.surface is not None:
                self.cloud.visible = self.show_points.value
                self._cut()
        name = "" if self.surface is None else str(self.surface.details.get("name", ""))
        size = sides(self.mesh[0])
        count = len(self.mesh[1])
        fewer = f" ({len(faces):,} shown)" if len(faces) < count else ""
        self.facts.content = f"**{plain(name)}** {count:,} triangles{fewer}, box {size}{self.legend}"

    def _remesh(self) -> None:
        if self.surface is None:
            return
        wanted = (float(self.level.value), int(self.resolution.value))
        if wanted == self.made_with:
            return
        found = self.surface.mesh(resolution=wanted[1], level=wanted[0], attributes=False)
        self.mesh, self.made_with = (np.asarray(found.vertices), np.asarray(found.faces)), wanted
        self.shown = decimated(*self.mesh, SHOWN)

    def _colored(self, vertices: np.ndarray) -> np.ndarray | None:
        """Colors (v, 3) of the vertices, None for plain; and what they mean, in the legend."""
        self.legend = ""
        if self.colors.value == "plain":
            return None
        if self.colors.value == "normals":
            import trimesh

            normals = trimesh.Trimesh(vertices, self.shown[1], process=False).vertex_normals
            return (127.5 * (normals + 1)).astype(np.uint8)
        assert self.surface is not None  # only a field is offered the other colors
        if self.colors.value == SCAN:
            return self._scan_colors(self.shown[0])
        if self.colors.value == "confidence":
            self.legend = "; blue: measured, red: filled in"
            return confidence_colors(self.surface, self.shown[0])
        gap = self.surface.near.at(vertices)[0]
        high = max(float(np.quantile(gap, 0.98)), 1e-9)
        self.legend = f"; dark: on a point, yellow: {high * self.frame.scale:.3g} or more away"
        return colorize(gap, 0.0, high)

    def _scan_colors(self, vertices: np.ndarray) -> np.ndarray:
        """Colors (v, 3) of vertices, of an offset surface those of the places below."""
        assert self.surface is not None  # else there are none
        return self.surface.attributes(self.surface.project(vertices))["colors"]

    def _cut(self) -> None:
        """Iso-lines of the field on a plane: the surface dark, inside blue, outside red."""
        if not self.show_cut.value or self.surface is None:
            self.server.scene.add_line_segments("/cut", np.zeros((1, 2, 3)), (0, 0, 0), visible=False)
            return
        points, colors = iso_lines(self.surface, "xyz".index(self.axis.value), float(self.place.value))
        self.server.scene.add_line_segments("/cut", points, colors, thickness=1.5, thickness_units="screen")

    def _send(self, event: Any) -> None:
        from ..mesh.write import ply_bytes

        colors = self._scan_colors(self.mesh[0]) if self._scanned else None
        event.client.send_file_download("surface.ply", ply_bytes(*self.mesh, colors=colors))


def iso_lines(surface: Surface, axis: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Level lines of a surface's field on the plane across `axis`, at `share` of the box's side from its middle.

    Returns:
        Line segments (m, 2, 3) in the unit frame, and the colors of their ends (m, 2, 3).
    """
    import contourpy

    low, high = surface.box
    first, second = (other for other in range(3) if other != axis)
    rows, columns = np.linspace(low[first], high[first], 160), np.linspace(low[second], high[second], 160)
    places = np.empty((160, 160, 3))
    places[..., first], places[..., second] = np.meshgrid(rows, columns)
    places[..., axis] = (low[axis] + high[axis]) / 2 + share * (high[axis] - low[axis])
    flat = surface.frame.to_input(places.reshape(-1, 3))
    values = (as_closed(surface).distance(flat) / surface.frame.scale).reshape(160, 160)
    contours = contourpy.contour_generator(rows, columns, values)
    segments, colors = [np.zeros((0, 2, 3))], [np.zeros((0, 2, 3), np.uint8)]
    for step in range(-10, 11):
        color = (34, 34, 34) if step == 0 else (42, 111, 151) if step < 0 else (193, 102, 107)
        for line in contours.lines(step * ISO_STEP * float((high - low).max())):
            ends = np.full((len(line) - 1, 2, 3), places[0, 0, axis])
            ends[:, 0, [first, second]], ends[:, 1, [first, second]] = line[:-1], line[1:]
            segments.append(ends)
            colors.append(np.full(ends.shape, color, np.uint8))
    return np.concatenate(segments), np.concatenate(colors)


def _frame(shape: Surface | Mesh) -> Frame:
    if isinstance(shape, Surface):
        return shape.frame
    return unit_frame(shape[0], strays=np.zeros(len(shape[0]), bool))


WATCH_SHARE = 0.05
"""Share of the time of a fit that showing it may take."""


class Watch:
    """Shows a surface while it is fitted, in at most a twentieth of the time.

    Args:
        server: from `browser.open_server`.
        config: of the run.
    """

    def __init__(self, server: viser.ViserServer, config: Config) -> None:
        self.server, self.config = server, config
        self.facts = server.gui.add_markdown("fitting …")
        self.shown_at, self.cost, self.spent = time.monotonic(), 0.0, 0.0

    def __call__(self, progress: Progress, field: Field) -> None:
        """Show the surface of the field as it is, if the time for it has been earned.

        Raises:
            InputError: the cloud is planar.
        """
        if field.dimension != 3:
            raise InputError("--watch shows surfaces in space; this cloud is planar")
        began = time.monotonic()
        if progress.step > 1 and began - self.shown_at < max(0.3, self.cost / WATCH_SHARE):
            return
        corners = np.array([[-0.9] * 3, [0.9] * 3])
        surface = Surface(field, Frame(np.zeros(3), 1.0), self.config, samples=corners)
        try:
            mesh = surface.mesh(resolution=64, keep_crumbs=True)
        except (FitError, InputError):  # no surface yet, or no memory for its mesh now: the fit goes on
            return
        finally:
            self.shown_at = time.monotonic()
            self.cost = self.shown_at - began
            self.spent += self.cost
        place_mesh(self.server, np.asarray(mesh.vertices), np.asarray(mesh.faces), None, visible=True)
        self.facts.content = f"fitting: {progress.share:.0%}, step {progress.step:,}"
