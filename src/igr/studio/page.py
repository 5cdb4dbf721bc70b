"""The page that viewers show: its server, for this machine only, its scene, and the loop behind its sliders."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from ..errors import FitError, InputError, readable
from ..mesh.triangles import Mesh

if TYPE_CHECKING:
    import viser

HOST = "127.0.0.1"
"""The viewer answers this machine only."""
COLOR = (126, 155, 196)
"""Color of the surface where nothing else is asked for."""
DOTS = (196, 94, 62)
"""Color of points that have none."""
EYE = (1.2, -1.95, 1.08)
"""Where the scene is first seen from, z upward."""
UPRIGHT = {"z axis": np.eye(3), "y axis": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])}
"""How the eye and the lights turn so that another axis is upward: y, as in many scans of phones."""
OPENING = 0.8
"""Angle between the lower and the upper edge of the picture, radians: the ball of the unit frame just fits."""


def open_server(port: int) -> viser.ViserServer:
    """A viewer's server on this machine, showing nothing yet.

    Raises:
        InputError: viser is not installed or of a version that could not be guarded, or the port is not free.
    """
    import socket

    if importlib.util.find_spec("viser") is None:
        raise InputError("the viewer needs viser, which is not installed: pip install 'igr[viewer]'")
    with socket.socket() as probe:
        if os.name == "posix":  # a port in use until a moment ago is free; elsewhere the option means more
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            raise InputError(f"port {port} is not free; choose another with --port") from None
    server = _guarded_server(port)
    server.scene.set_up_direction("+z")
    server.initial_camera.fov = OPENING
    stand(server, "z axis")
    server.on_client_connect(lambda client: _look(server, client))
    theme(server)
    return server


def theme(server: viser.ViserServer, *, dark: bool = False) -> None:
    """How the page looks."""
    server.gui.configure_theme(show_logo=False, show_share_button=False, dark_mode=dark)


def stand(server: viser.ViserServer, up: str) -> None:
    """The scene with an axis of `UPRIGHT` upward, seen as at first."""
    turn, first = UPRIGHT[up], server.initial_camera
    first.position, first.look_at, first.up = turn @ EYE, np.zeros(3), turn[:, 2]
    _light(server.scene, turn)
    for client in server.get_clients().values():
        _look(server, client)


def _look(server: viser.ViserServer, client: viser.ClientHandle) -> None:
    """See all of it, on a screen that is higher than wide above the controls."""
    first, camera, narrow = server.initial_camera, client.camera, min(client.camera.aspect, 1.0)
    assert first.up is not None  # `stand` has set it
    camera.up_direction, camera.position = first.up, first.position / narrow
    camera.look_at = first.look_at - 1.3 * first.up * (narrow < 1)


def _light(scene: viser.SceneApi, turn: Float[np.ndarray, "3 3"]) -> None:
    """Light from the front and above, some from behind, so that a surface has relief on white and on black."""
    scene.configure_fog(near=50.0, far=100.0, enabled=False)  # viser's own makes everything pale
    scene.configure_default_lights(False)
    scene.configure_environment_map(hdri="city", environment_intensity=0.3)
    for name, intensity, place in (("front", 2.2, (-0.4, -1.6, 1.6)), ("behind", 1.2, (1.8, 1.0, 0.2))):
        x, y, z = map(float, turn @ place)
        scene.add_light_directional(f"/light/{name}", intensity=intensity, position=(x, y, z))


def _guarded_server(port: int) -> viser.ViserServer:
    """A server that refuses pages from elsewhere: any site in the browser could connect to a port of this machine.

    Viser has no option for it, but websockets has: the thread of this server, and no other, finds a `serve` of our
    own in the place of websockets'. It also keeps to itself what viser prints, for stdout is for results.

    Raises:
        InputError: this version of viser starts its servers in another way.
    """
    import rich
    import viser
    from websockets.asyncio.server import serve as open_socket

    guarded: list[int] = []

    def serve(handler: Any, host: str, port: int, **options: Any) -> Any:
        guarded.append(port)
        own: list[Any] = [f"http://{name}:{port}" for name in (HOST, "localhost")]
        options["origins"] = [None, *own]  # None: no browser
        return open_socket(handler, host, port, **options)

    class GuardedServer(viser.ViserServer):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "_websock_server":  # the part of it that listens, which is not started yet
                work = _with_serve(type(value), serve)

                def work_quietly(*arguments: Any) -> None:
                    with rich.get_console().capture():  # of this thread alone
                        work(value, *arguments)

                value._background_worker = work_quietly
            super().__setattr__(name, value)

    with rich.get_console().capture():
        server = GuardedServer(HOST, port, label="igr", verbose=False)
    if not guarded:
        server.stop()
        raise _unguarded()
    return server


def _with_serve(listener: type, serve: Callable[..., Any]) -> Callable[..., None]:
    """What a server's thread does, as a function that finds `serve` in the place of websockets'.

    Raises:
        InputError: it does not look for it where it is expected to.
    """
    work = getattr(listener, "_background_worker", None)
    if not isinstance(work, FunctionType) or "websockets" not in work.__globals__:
        raise _unguarded()
    known = work.__globals__["websockets"]
    listening = SimpleNamespace(**vars(known.asyncio.server) | {"serve": serve})
    asyncio = SimpleNamespace(**vars(known.asyncio) | {"server": listening})
    own = work.__globals__ | {"websockets": SimpleNamespace(**vars(known) | {"asyncio": asyncio})}
    return FunctionType(work.__code__, own, work.__name__, work.__defaults__, work.__closure__)


def _unguarded() -> InputError:
    return InputError(
        "this version of viser starts its server in another way, so that pages from elsewhere would not be "
        "refused; install one that is known: pip install 'viser==1.1.1'"
    )


def stop(server: viser.ViserServer) -> None:
    """Stop a server."""
    server.stop()


def place_mesh(
    server: viser.ViserServer, vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray | None, *, visible: bool
) -> None:
    """The mesh of the scene, in place of the one before."""
    if colors is None:
        server.scene.add_mesh_simple(
            "/surface", vertices.astype(np.float32), faces, color=COLOR, side="double", visible=visible
        )
    else:
        import trimesh

        from ..mesh.write import matt

        mesh = trimesh.Trimesh(vertices, faces, process=False)
        mesh.visual = matt(colors)
        mesh.vertex_normals  # noqa: B018 (asked for, so that they are written and it looks smooth)
        server.scene.add_mesh_trimesh("/surface", mesh, visible=visible)


POINTS = 300_000
"""At most so many points are shown: a browser turns them smoothly."""


def place_points(
    server: viser.ViserServer,
    name: str,
    points: Float[np.ndarray, "n 3"],
    colors: UInt8[np.ndarray, "n 3"] | None,
    *,
    visible: bool,
) -> viser.PointCloudHandle:
    """Points of the scene, thinned at random where there are many, in place of those before."""
    if len(points) > POINTS:
        few = np.sort(np.random.default_rng(9).choice(len(points), POINTS, replace=False))
        points, colors = points[few], None if colors is None else colors[few]
    size = min(0.02, 0.6 * float(np.ptp(points, axis=0).max()) / max(len(points), 1) ** 0.5)
    return server.scene.add_point_cloud(
        name,
        points.astype(np.float32),
        DOTS if colors is None else colors,
        point_size=size,
        point_shape="circle",
        precision="float32",
        visible=visible,
    )


def plain(text: str) -> str:
    """Text that Markdown shows as it is: a name in a file must not become a link or a picture."""
    return "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in readable(text))


PAUSE = 0.4
"""Seconds without a move after which what is shown is shown better."""


class LiveMesh:
    """A mesh on a page, made anew by a thread of its own when a control has moved. What cannot be made is told on
    the page, and the next move is followed as ever.

    Args:
        server: from `open_server`.
        title: of the folder with the controls.
        show: makes and shows what the controls ask for.
        improve: the same in better quality, once nothing has moved for a moment.
    """

    def __init__(
        self, server: viser.ViserServer, title: str, show: Callable[[], None], improve: Callable[[], None]
    ) -> None:
        self.server, self.show, self.improve = server, show, improve
        self.folder = server.gui.add_folder(title)
        with self.folder:
            self.facts = server.gui.add_markdown("")
            """Says what is shown, or why nothing is."""
        self.mesh: Mesh = (np.empty((0, 3)), np.empty((0, 3), np.int64))
        """What is shown, in the input's units."""
        self.changed, self.closed = threading.Event(), False
        self.worker = threading.Thread(target=self._follow, daemon=True)

    def end(self) -> None:
        """Stop following the controls, and take them off the page."""
        self.closed = True
        self.changed.set()
        self.worker.join()
        self.folder.remove()

    def close(self) -> None:
        """Stop following the controls, and the server."""
        self.end()
        stop(self.server)

    def attempt(self, show: Callable[[], None]) -> None:
        """Show something, or the reason why it cannot be shown."""
        try:
            show()
        except (FitError, InputError) as problem:
            self.facts.content = plain(str(problem))

    def _follow(self) -> None:
        """Show what the controls ask for; moves meanwhile are taken together."""
        while True:
            self.changed.wait()
            self.changed.clear()
            if self.closed:
                return
            self.attempt(self.show)
            if not self.changed.wait(PAUSE):
                self.attempt(self.improve)
                give_back()


def give_back() -> None:
    """Return the memory of what is not needed any more to the system.

    That is meshes that refer to themselves, which Python looks for too rarely, and what the C library keeps:
    a viewer would hold twice as much, and more by the hour.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
