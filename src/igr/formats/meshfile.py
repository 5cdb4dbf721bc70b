"""Mesh files, read by trimesh, which believes what they announce: what they may hold is checked before.

Only formats that lead nowhere else are read: no archives, no XML, no addresses; a glTF's buffers are beside it.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..store.atomic import check_file
from .ply import check_ply
from .table import as_colors

MESH_FORMATS = ("obj", "off", "stl", "glb", "gltf")
"""Read by trimesh, which knows more where other packages are installed: archives, XML, addresses."""
BROKEN_MESH = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError),
    *(RuntimeError, NameError, ImportError, EOFError, struct.error),
)
"""What trimesh's loaders raise for files that are not what their name says; they check little themselves."""
REPEATED = 20
"""A scene that shows its meshes so often that it has more vertices than this for each byte is refused."""
NODES = 20_000
"""Places in a scene, each of which takes trimesh a fifth of a millisecond."""


def load_mesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (v, 3) and triangles (f, 3) of a mesh file, in the frame of its scene; polygons are cut.

    Raises:
        one of `BROKEN_MESH`, or OSError: the file is damaged, or cannot be read.
    """
    import trimesh

    kind = path.suffix.lower().removeprefix(".")
    if kind not in (*MESH_FORMATS, "ply"):
        raise ValueError(f"of the unknown kind {path.suffix!r}")
    _check_size(path, kind)
    with _stream(path, kind) as stream, _silent_trimesh(), np.errstate(all="ignore"):
        mesh: Any = trimesh.load(
            stream, file_type=kind, resolver=_beside(path), process=False, force="mesh", skip_materials=True
        )
    return np.array(mesh.vertices, np.float64).reshape(-1, 3), np.array(mesh.faces, np.int64).reshape(-1, 3)


def mesh_parts(path: Path, kind: str) -> Iterator[tuple[np.ndarray, np.ndarray | None, np.ndarray | None]]:
    """Of each mesh: vertices (v, 3), stored normals (v, 3) or None, and colors as bytes (v, 3) or None; in the
    frame of the scene.

    Raises:
        one of `BROKEN_MESH`, or OSError: the file is damaged, or cannot be read.
    """
    from trimesh.exchange.load import mesh_loaders
    from trimesh.scene.transforms import SceneGraph

    _check_size(path, kind)
    with _stream(path, kind) as stream, _silent_trimesh():
        loaded = mesh_loaders[kind](
            file_obj=stream, file_type=kind, resolver=_beside(path), skip_materials=True, maintain_order=True
        )
    meshes = loaded.get("geometry", {"": loaded})
    graph = SceneGraph(base_frame=loaded.get("base_frame", "world"))
    for edge in loaded.get("graph", [{"frame_to": "", "geometry": ""}]):
        graph.update(**edge)
    for node in graph.nodes_geometry:
        matrix, name = graph[node]
        vertices = meshes[name].get("vertices")
        if vertices is None or len(vertices) == 0:
            continue
        normals = meshes[name].get("vertex_normals")
        placed = np.asarray(vertices, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
        turned = None if normals is None else np.asarray(normals, np.float64) @ np.linalg.inv(matrix[:3, :3])
        colors = np.asarray(meshes[name].get("vertex_colors", ()))
        there = colors.ndim == 2 and colors.shape[1] in (3, 4) and len(colors) == len(placed)
        yield placed, turned, as_colors(colors[:, :3]) if there else None


def _stream(path: Path, kind: str) -> io.IOBase:
    """The file without bytes outside ASCII in its comments, for which trimesh needs another package."""
    if kind in ("obj", "off"):
        return path.open(encoding="utf-8", errors="replace")
    if kind == "stl":
        data = path.read_bytes()
        return io.BytesIO(data[:80].decode("ascii", "replace").encode("ascii", "replace") + data[80:])
    return path.open("rb")


@contextlib.contextmanager
def _silent_trimesh() -> Iterator[None]:
    """Without the tracebacks that trimesh logs as warnings in this thread; what matters is raised as well."""
    log, own = logging.getLogger("trimesh"), threading.get_ident()

    def of_others(record: logging.LogRecord) -> bool:
        return threading.get_ident() != own

    log.addFilter(of_others)
    try:
        yield
    finally:
        log.removeFilter(of_others)


def _beside(path: Path) -> Any:
    """Gives trimesh the files that a mesh file names, if they are files and not outside of its folder."""
    from trimesh.resolvers import FilePathResolver

    class Beside(FilePathResolver):
        def get(self, name: str) -> bytes:
            check_file(self.absolute(name))
            return super().get(name)

    return Beside(str(path))


def _check_size(path: Path, kind: str) -> None:
    """Refuse files that announce more than they can hold, in formats whose reader would make room for it."""
    if kind == "ply":
        check_ply(path)
    elif kind in ("glb", "gltf"):
        _check_gltf(path, kind)


def _check_gltf(path: Path, kind: str) -> None:
    """Arrays of numbers may be left out of a glTF (they are zeros then), and meshes shown many times."""
    data = path.read_bytes()
    if kind == "glb":
        data = data[20 : 20 + int.from_bytes(data[12:16], "little")]
    tree = json.loads(data)
    names = [str(buffer.get("uri", "data:")) for buffer in tree.get("buffers", [])]
    files = [path, *(path.parent / name for name in names if not name.startswith("data:"))]
    if len(set(files)) < len(files):
        raise ValueError("it reads a file twice")
    held = sum(os.path.getsize(file) for file in files if file.is_file())
    accessors = tree.get("accessors", [])
    if any(not 0 <= accessor["count"] <= held for accessor in accessors):
        raise ValueError("it announces more numbers than it has bytes")
    if len(tree.get("nodes", [])) > NODES:
        raise ValueError("its scene has too many nodes")
    sizes = [sum(_counts(part, accessors) for part in mesh["primitives"]) for mesh in tree.get("meshes", [])]
    if sum(sizes[node["mesh"]] for node in tree.get("nodes", []) if "mesh" in node) > REPEATED * held:
        raise ValueError("it shows its meshes too many times")


def _counts(part: dict, accessors: list) -> int:
    """Numbers, triples and corners that a part of a mesh is made of."""
    return sum(accessors[index]["count"] for index in (*part["attributes"].values(), part.get("indices", 0)))
