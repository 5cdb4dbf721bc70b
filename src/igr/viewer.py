"""A surface in the browser: mesh, points, colors, cuts through the field, offset surfaces."""

from __future__ import annotations

import contextlib
import io
import math
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .colors import colorize
from .config import Config
from .errors import FitError, InputError, readable
from .field import Field
from .frame import Frame, unit_frame
from .render import confidence_colors
from .surface import Surface
from .triangles import Mesh

if TYPE_CHECKING:
    import viser

    from .fit import Progress

HOST = "127.0.0.1"
"""The viewer answers this machine only."""
POINTS = 20_000
"""At most so many of the cloud's points are shown."""
COLOR = (179, 197, 220)
"""Color of the surface where nothing else is asked for."""
ISO_STEP = 0.05
"""Distance between two iso-lines of a cut, as a share of the box's longest side."""
WATCH_SHARE = 0.05
"""Share of the time of a fit that showing it may take."""


def open_server(port: int) -> viser.ViserServer:
    """A viewer's server on this machine, showing nothing yet.

    Raises:
        InputError: viser is not installed, or the port is not free.
    """
    import socket

    try:
        import viser
    except ImportError:
        raise InputError("the viewer needs viser, which is not installed: pip install 'igr[viewer]'") from None
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            raise InputError(f"port {port} is not free; choose another with --port") from None
    with contextlib.redirect_stdout(io.StringIO()), _own_pages_only():  # it greets on stdout, which is for results
        server = viser.ViserServer(HOST, port, label="igr", verbose=False)
    server.scene.set_up_direction("+z")
    server.initial_camera.position = (1.1, -1.7, 0.6)
    server.initial_camera.look_at = (0.0, 0.0, 0.0)
    return server


@contextlib.contextmanager
def _own_pages_only() -> Iterator[None]:
    """A server started meanwhile refuses pages from elsewhere: any site in the browser could connect to a port of
    this machine. Viser has no option for it, but websockets has."""
    from websockets.asyncio import server as websockets

    serve, guarded = websockets.serve, []

    def serve_own_pages(handler: Any, host: str, port: int, **options: Any) -> Any:
        guarded.append(port)
        own: list[Any] = [f"http://{name}:{port}" for name in (HOST, "localhost")]
        return serve(handler, host, port, origins=[None, *own], **options)  # None: no browser

    websockets.serve = serve_own_pages  # type: ignore[assignment]
    try:
        yield
    finally:
        websockets.serve = serve  # type: ignore[assignment]
    assert guarded, "viser starts its server in another way: pages from elsewhere would not be refused"


def stop(server: viser.ViserServer) -> None:
    """Stop a server; its farewell does not go to stdout."""
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()


class Viewer:
    """Shows a surface or a mesh, and follows the controls of the page.

    The scene is in the unit frame, so places far from the origin are exact on the screen; numbers beside the
    controls are in the input's units.

    Args:
        server: from `open_server`.
        shape: a surface in space, or vertices and triangles (which have no field to cut or to offset).

    Raises:
        InputError: a planar curve.
    """

    def __init__(self, server: viser.ViserServer, shape: Surface | Mesh) -> None:
        self.server, self.surface = server, shape if isinstance(shape, Surface) else None
        if self.surface is not None and self.surface.dimension != 3:
            raise InputError("the viewer shows surfaces in space; for a planar curve use igr report")
        self.fixed = None if isinstance(shape, Surface) else shape
        self.frame = _frame(shape)
        self.mesh: Mesh = (np.empty((0, 3)), np.empty((0, 3), np.int64))
        self.made_with: tuple[float, int] | None = None
        """Level and resolution that the mesh was made with."""
        self.changed, self.closed = threading.Event(), False
        self._controls()
        self._points()
        self._update()
        self.worker = threading.Thread(target=self._follow, daemon=True)
        self.worker.start()

    def close(self) -> None:
        """Stop following the controls, and the server."""
        self.closed = True
        self.changed.set()
        self.worker.join()
        stop(self.server)

    def _controls(self) -> None:
        gui, field = self.server.gui, self.surface is not None
        size = self.frame.scale
        self.facts = gui.add_markdown("")
        self.show_mesh = gui.add_checkbox("surface", True)
        self.show_points = gui.add_checkbox("points", False, visible=field)
        colors = ["plain", "normals"] + (["confidence", "distance to points"] if field else [])
        self.colors = gui.add_dropdown("colors", colors)
        reach = 10 ** math.floor(math.log10(0.3 * size))
        reach *= max(factor for factor in (1, 2, 5) if factor * reach <= 0.3 * size)
        self.level = gui.add_slider("level", -reach, reach, reach / 100, 0.0, visible=field)
        self.resolution = gui.add_slider("resolution", 16, 384, 16, 96, visible=field)
        self.show_cut = gui.add_checkbox("cut", False, visible=field)
        self.axis = gui.add_dropdown("cut across", ["x", "y", "z"], initial_value="y", visible=field)
        self.place = gui.add_slider("cut at", -0.5, 0.5, 0.01, 0.0, visible=field)
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

    def _follow(self) -> None:
        """Wait for controls to move, and show what they ask for; moves meanwhile are taken together."""
        while True:
            self.changed.wait()
            if self.closed:
                return
            self.changed.clear()
            self._update()

    def _update(self) -> None:
        try:
            self._remesh()
        except FitError as problem:
            self.facts.content = _plain(str(problem))
            return
        vertices, faces = self.frame.to_unit(self.mesh[0]), self.mesh[1]
        with self.server.atomic():
            _show(self.server, vertices, faces, self._colored(vertices), visible=self.show_mesh.value)
            if self.surface is not None:
                self.cloud.visible = self.show_points.value
                self._cut()
        name = "" if self.surface is None else str(self.surface.details.get("name", ""))
        low, high = self.mesh[0].min(0), self.mesh[0].max(0)
        size = " × ".join(f"{side:.4g}" for side in high - low)
        self.facts.content = f"**{_plain(name)}** {len(faces):,} triangles, box {size}"

    def _remesh(self) -> None:
        if self.surface is None:
            assert self.fixed is not None
            self.mesh = self.fixed
            return
        wanted = (float(self.level.value), int(self.resolution.value))
        if wanted == self.made_with:
            return
        found = self.surface.mesh(resolution=wanted[1], level=wanted[0])
        self.mesh, self.made_with = (np.asarray(found.vertices), np.asarray(found.faces)), wanted

    def _colored(self, vertices: np.ndarray) -> np.ndarray | None:
        """Colors (v, 3) of the vertices, None for plain."""
        if self.colors.value == "plain":
            return None
        if self.colors.value == "normals":
            normals = np.asarray(_trimesh(vertices, self.mesh[1]).vertex_normals)
            return (127.5 * (normals + 1)).astype(np.uint8)
        from scipy.spatial import KDTree

        assert self.surface is not None
        if self.colors.value == "confidence":
            return confidence_colors(self.surface, self.mesh[0])
        gap = np.asarray(KDTree(self.surface.samples).query(vertices, workers=-1)[0])
        return colorize(gap, 0.0, max(float(np.quantile(gap, 0.98)), 1e-9))

    def _cut(self) -> None:
        """Iso-lines of the field on a plane: the surface dark, inside blue, outside red."""
        if not self.show_cut.value or self.surface is None:
            self.server.scene.add_line_segments("/cut", np.zeros((1, 2, 3)), (0, 0, 0), visible=False)
            return
        points, colors = iso_lines(self.surface, "xyz".index(self.axis.value), float(self.place.value))
        self.server.scene.add_line_segments("/cut", points, colors, thickness=1.5, thickness_units="screen")

    def _send(self, event: Any) -> None:
        from .exports import ply_bytes

        event.client.send_file_download("surface.ply", ply_bytes(*self.mesh))


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
    values = (surface.distance(flat) / surface.frame.scale).reshape(160, 160)
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


class Watch:
    """Shows a surface while it is fitted, in at most a twentieth of the time.

    Args:
        server: from `open_server`.
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
        except FitError:  # no surface yet
            return
        finally:
            self.shown_at = time.monotonic()
            self.cost = self.shown_at - began
            self.spent += self.cost
        _show(self.server, np.asarray(mesh.vertices), np.asarray(mesh.faces), None, visible=True)
        self.facts.content = f"fitting: {progress.share:.0%}, step {progress.step:,}"


def _show(
    server: viser.ViserServer, vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray | None, *, visible: bool
) -> None:
    """The mesh of the scene, in place of the one before."""
    if colors is None:
        server.scene.add_mesh_simple(
            "/surface", vertices.astype(np.float32), faces, color=COLOR, side="double", visible=visible
        )
    else:
        mesh = _trimesh(vertices, faces)
        mesh.visual = _vertex_colors(mesh, colors)
        server.scene.add_mesh_trimesh("/surface", mesh, visible=visible)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: a name in a file must not become a link or a picture."""
    return "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in readable(text))


def _trimesh(vertices: np.ndarray, faces: np.ndarray) -> Any:
    import trimesh

    return trimesh.Trimesh(vertices, faces, process=False)


def _vertex_colors(mesh: Any, colors: np.ndarray) -> Any:
    from trimesh.visual import ColorVisuals

    return ColorVisuals(mesh, vertex_colors=colors)


def _frame(shape: Surface | Mesh) -> Frame:
    if isinstance(shape, Surface):
        return shape.frame
    return unit_frame(shape[0], strays=np.zeros(len(shape[0]), bool))
