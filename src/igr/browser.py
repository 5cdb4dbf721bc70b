"""The page that viewers show: its server, which answers this machine only, and the mesh of its scene."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, readable

if TYPE_CHECKING:
    import viser

HOST = "127.0.0.1"
"""The viewer answers this machine only."""
COLOR = (179, 197, 220)
"""Color of the surface where nothing else is asked for."""


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
        if os.name == "posix":  # a port in use until a moment ago is free; elsewhere the option means more
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
        from trimesh.visual import TextureVisuals
        from trimesh.visual.material import PBRMaterial

        mesh = trimesh.Trimesh(vertices, faces, process=False)
        mesh.visual = TextureVisuals(
            material=PBRMaterial(metallicFactor=0.0, roughnessFactor=0.9, doubleSided=True)
        )
        linear = 255 * (colors / 255.0) ** 2.2  # what glTF takes for a vertex, while pictures have sRGB
        opaque = np.full((len(vertices), 1), 255)
        mesh.visual.vertex_attributes["color"] = np.hstack([linear, opaque]).round().astype(np.uint8)
        mesh.vertex_normals  # noqa: B018 (asked for, so that they are written and it looks smooth)
        server.scene.add_mesh_trimesh("/surface", mesh, visible=visible)


def plain(text: str) -> str:
    """Text that Markdown shows as it is: a name in a file must not become a link or a picture."""
    return "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in readable(text))
