"""A surface in the browser: mesh, points, colors, where it ends, offsets, cuts, lengths, files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cloud.frame import Frame, sides, unit_frame
from ..cloud.pointcloud import PointCloud
from ..errors import InputError
from ..mesh.pieces import pieces
from ..mesh.triangles import Mesh, cut, decimated, is_watertight, moved
from ..mesh.write import mesh_bytes
from ..show.coloring import Coloring
from ..show.drawings import level_lines
from ..show.render import SHOWN
from ..surface.surface import Surface
from .controls import Asked, Controls
from .measure import Tape
from .page import LiveMesh, place_mesh, place_points, plain

if TYPE_CHECKING:
    import viser

COARSE = 96
"""Resolution while something moves."""
ISO_STEP, ISO_LINES = 0.05, 10
"""Distance between two lines of a cut, as a share of the box's longest side; lines on each side."""


class Viewer(LiveMesh):
    """Shows a surface or a mesh, and follows the controls of the page: coarse while they move, then as fine as the
    mesh that is written.

    The scene is in the unit frame, so places far from the origin are exact on the screen; numbers beside the
    controls are in the input's units.

    Args:
        server: from `page.open_server`.
        shape: a surface in space, or vertices and triangles (which have no field to cut or to offset).
        cloud: what the surface was fitted to; its points are shown with their colors instead of the samples.
        frame: of the scene, where it is not the surface's own.

    Raises:
        InputError: a planar curve.
    """

    def __init__(
        self,
        server: viser.ViserServer,
        shape: Surface | Mesh,
        *,
        cloud: PointCloud | None = None,
        frame: Frame | None = None,
    ) -> None:
        self.surface = shape if isinstance(shape, Surface) else None
        if self.surface is not None and self.surface.dimension != 3:
            raise InputError("the viewer shows surfaces in space; for a planar curve use igr report")
        super().__init__(server, "Surface", self._show, self._improve)
        if not isinstance(shape, Surface):
            self.mesh = shape
        self.frame = frame or _frame(shape)
        self.made_with: Asked | None = None if isinstance(shape, Surface) else Asked()
        """What the mesh was made with."""
        self.whole: Mesh = self.mesh
        """The mesh before it was decimated."""
        self.decimation = ""
        """How far decimating moved the mesh, in words."""
        self.shown: Mesh = self.mesh
        """What is on the screen, in the unit frame: cut off, perhaps."""
        self.coloring = Coloring(self.surface)
        self._closed: Mesh | None = None
        self._light: Mesh | None = None
        with self.folder:
            self.files = server.gui.add_button_group("download", ("PLY", "OBJ", "STL", "GLB"))
            self.controls = Controls(server.gui, self.surface, self.changed.set)
            self.length = server.gui.add_markdown("")
        self.files.on_click(self._send)
        self.tape = Tape(server, self.frame, lambda: self.shown, self._tell_length)
        self.controls.measure.on_update(lambda event: self.tape.turn(event.target.value))
        if self.surface is not None:
            points = self.surface.frame.to_input(self.surface.samples) if cloud is None else cloud.points
            colors = None if cloud is None else cloud.attributes.get("colors")
            self.cloud = place_points(server, "/points", self.frame.to_unit(points), colors, visible=False)
        self.attempt(self._show)
        self.changed.set()
        self.worker.start()

    def end(self) -> None:
        """Stop following the controls, and take them and what they show off the page."""
        self.tape.turn(False)
        super().end()
        for name in ("/surface", "/points", "/cut", "/tape"):
            self.server.scene.remove_by_name(name)

    def _show(self) -> None:
        asked = self.controls.asked()
        if self.made_with is None or not asked.same_shape(self.made_with):
            self._make(asked.at(min(COARSE, asked.resolution)))
        elif asked.triangles != self.made_with.triangles:
            self._take(self.whole, replace(self.made_with, triangles=asked.triangles))
        self._place()

    def _improve(self) -> None:
        asked = self.controls.asked()
        if asked != self.made_with:
            self.facts.content += " (a finer one is being made …)"
            self._make(asked)
        elif self.decimation or len(self.mesh[1]) == len(self.whole[1]):
            return
        if len(self.mesh[1]) < len(self.whole[1]):
            mean, most = moved(self.whole, self.mesh)
            told = f"decimated from {len(self.whole[1]):,} triangles, which moved it by "
            self.decimation = told + f"{mean:.3g} on average, {most:.3g} at most"
        self._place()

    def _make(self, asked: Asked) -> None:
        assert self.surface is not None  # a mesh from elsewhere is only decimated
        self._take(asked.mesh(self.surface), asked)

    def _take(self, whole: Mesh, asked: Asked) -> None:
        """Have a mesh with as many triangles as are asked for."""
        self.whole, self.mesh, self.made_with = whole, asked.lessened(whole), asked
        self._light, self.decimation = None, ""
        self.coloring.forget()

    def _place(self) -> None:
        """Show the mesh as it is, with all that the controls ask for beside it."""
        controls, notes = self.controls, []
        mesh = self._light_enough()
        colors = self.coloring.colors(controls.colors.value, mesh)
        vertices, faces = self.frame.to_unit(mesh[0]), mesh[1]
        plane = controls.plane(self.frame, self.mesh[0])
        if plane is not None:
            vertices, faces, colors = self._cut_off(plane, vertices, faces, colors)
        self.shown = vertices, faces
        with self.server.atomic():
            place_mesh(self.server, vertices, faces, colors, visible=controls.show_mesh.value)
            if self.surface is not None:
                self.cloud.visible = controls.show_points.value
            self._lines(plane)
        if self.decimation:
            notes.append(self.decimation)
        if len(mesh[1]) < len(self.mesh[1]):
            notes.append(f"shown with {len(mesh[1]):,} of them, files have all")
        name = "" if self.surface is None else str(self.surface.details.get("name", ""))
        self.facts.content = f"**{plain(name)}** {'; '.join([_facts(self.mesh), *notes])}{self.coloring.legend}"

    def _light_enough(self) -> Mesh:
        """The mesh, or one of it with so few triangles that a browser can turn it."""
        if self._light is None:
            self._light = decimated(*self.mesh, SHOWN)
        return self._light

    @staticmethod
    def _cut_off(
        plane: tuple[int, float], vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray | None
    ) -> tuple[Any, Any, Any]:
        """The part of a mesh with its colors on the far side of the cut."""
        axis, place = plane
        sign = 1.0 if axis != 1 else -1.0  # what is nearer to the viewer at first goes
        wide = vertices if colors is None else np.hstack([vertices, colors])
        part, faces = cut(wide, faces, sign * (vertices[:, axis]), sign * place)[:2]
        return part[:, :3], faces, None if colors is None else part[:, 3:].round().astype(np.uint8)

    def _lines(self, plane: tuple[int, float] | None) -> None:
        """Lines of equal distance on the cut: the surface dark, inside blue, outside red."""
        if plane is None or self.surface is None:
            self.server.scene.add_line_segments("/cut", np.zeros((1, 2, 3)), (0, 0, 0), visible=False)
            return
        if self._closed is None:
            self._closed = Asked(ends="closed").at(COARSE).mesh(self.surface)
        points, colors = iso_lines(self.surface, self.frame, *plane, self._closed)
        self.server.scene.add_line_segments("/cut", points, colors, thickness=1.5, thickness_units="screen")

    def _tell_length(self, text: str) -> None:
        self.length.content = text

    def _send(self, event: Any) -> None:
        """The mesh that is asked for as a file, with the colors and attributes that `igr reconstruct` writes."""
        suffix = f".{event.target.value.lower()}"
        self.attempt(lambda: self._download(event.client, suffix))

    def _download(self, client: viser.ClientHandle, suffix: str) -> None:
        client.send_file_download(f"{self.name}{suffix}", self.file(suffix), save_immediately=True)

    @property
    def name(self) -> str:
        """Of files that are downloaded, without suffix."""
        told = "" if self.surface is None else str(self.surface.details.get("name", ""))
        return f"{told.rpartition('.')[0] or told or 'surface'}_mesh"

    def file(self, suffix: str) -> bytes:
        """The mesh that the controls ask for, as the bytes of a file."""
        asked, made, whole, mesh = self.controls.asked(), self.made_with, self.whole, self.mesh
        if asked != made:
            if self.surface is not None and (made is None or asked.whole() != made.whole()):
                whole = asked.mesh(self.surface)
            mesh = asked.lessened(whole)
        if self.surface is None:
            return mesh_bytes(suffix, *mesh)
        on_it, columns, colors = mesh[0], {}, None
        if suffix in (".ply", ".glb", ".obj"):
            from ..surface.attributes import vertex_columns

            off = asked.level or asked.triangles  # the mesh is beside the surface
            told = self.surface.attributes(self.surface.project(on_it) if off else on_it)
            colors = told.pop("colors", None)
            columns = vertex_columns(self.surface.confidence(on_it), told)
        return mesh_bytes(suffix, *mesh, attributes=columns, colors=colors)


def iso_lines(
    surface: Surface, frame: Frame, axis: int, place: float, mesh: Mesh
) -> tuple[np.ndarray, np.ndarray]:
    """Lines of equal distance from a surface on the plane across `axis`.

    Args:
        surface: in space.
        frame: of the scene.
        axis: that the plane stands on.
        place: where, in the scene.
        mesh: the surface in triangles, closed.

    Returns:
        Line segments (m, 2, 3) in the scene, and the colors of their ends (m, 2, 3).
    """
    first, second = (other for other in range(3) if other != axis)
    middle = np.zeros(3)
    middle[axis] = place
    middle = frame.to_input(middle)
    apart = ISO_STEP * float(np.ptp(surface.box, axis=0).max()) * surface.frame.scale
    segments: list[np.ndarray] = [np.zeros((0, 2, 3))]
    colors: list[np.ndarray] = [np.zeros((0, 2, 3), np.uint8)]
    for step, line in level_lines(surface, (first, second), middle, apart=apart, steps=ISO_LINES, mesh=mesh):
        color = (34, 34, 34) if step == 0 else (42, 111, 151) if step < 0 else (193, 102, 107)
        ends = np.tile(middle, (len(line) - 1, 2, 1))
        ends[:, 0, [first, second]], ends[:, 1, [first, second]] = line[:-1], line[1:]
        segments.append(frame.to_unit(ends))
        colors.append(np.full(ends.shape, color, np.uint8))
    return np.concatenate(segments), np.concatenate(colors)


def _facts(mesh: Mesh) -> str:
    """What a mesh is made of, in words."""
    vertices, faces = mesh
    if len(faces) == 0:
        return "no triangles"
    count = int(pieces(faces, len(vertices)).max()) + 1
    whole = "watertight" if is_watertight(faces) else "with borders"
    return f"{len(faces):,} triangles, {whole}, {count} piece{'s' * (count > 1)}, box {sides(vertices)}"


def _frame(shape: Surface | Mesh) -> Frame:
    if isinstance(shape, Surface):
        return shape.frame
    return unit_frame(shape[0], strays=np.zeros(len(shape[0]), bool))
