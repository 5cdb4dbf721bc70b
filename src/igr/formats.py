"""Point cloud files as tables of numbers, with 2, 3, 4 or 6 columns: x y, x y z, x y nx ny, x y z nx ny nz.

Decided here is what a file holds and whether it is whole; whether its points make sense is up to `points.py`.
Nothing is allocated on the word of a header: what it announces is compared with the size of the file first.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from .errors import InputError
from .memory import READ_BYTE, require
from .ply import read_ply
from .text import read_text

TEXT_FORMATS = (".xyz", ".txt", ".csv", ".pts")
NOT_MESHES = {"xyz", "ply", "stl_ascii"}
"""Formats that trimesh lists and that are read here, or are no file name."""
POINT_KEYS = ("points", "vertices", "verts", "xyz", "pos", "v")
NORMAL_KEYS = ("normals", "vertex_normals", "normal", "n")

BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, struct.error)
"""What zipfile raises for archives that are damaged, locked, or packed in a way it does not know."""

BROKEN_ARRAY = (ValueError, KeyError, TypeError, SyntaxError, RecursionError, tokenize.TokenError)
"""What NumPy raises for headers that it cannot make sense of."""

BROKEN_MESH = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(RuntimeError, NameError, ImportError, EOFError, struct.error),
)
"""What trimesh's loaders raise for files that are not what their name says; they check little themselves."""


def read_table(path: str | os.PathLike) -> np.ndarray:
    """The points of a file, and its normals where it holds them, as one table.

    Args:
        path: text, `.npy`, `.npz`, `.ply`, or a mesh file that trimesh reads.

    Returns:
        Numbers (n, 2|3|4|6) in float64, x y [z] and perhaps nx ny [nz], not checked any further.

    Raises:
        InputError: no such file, an unknown format, a broken or truncated file, wrong columns.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; a point cloud file is needed.")
        if path.stat().st_size == 0:
            raise InputError(f"{path.name} is empty.")
        require(READ_BYTE * path.stat().st_size, f"reading {path.name}")
        if suffix in TEXT_FORMATS:
            return read_text(path)
        reader = {".npy": _read_npy, ".npz": _read_npz, ".ply": read_ply}.get(suffix, _read_mesh)
        with np.errstate(all="ignore"):  # infinities and NaN are dealt with later
            return reader(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except MemoryError as error:
        raise InputError(f"{path.name} does not fit into memory.") from error


def _read_npy(path: Path) -> np.ndarray:
    with path.open("rb") as stream:
        return _as_table(_read_array(stream, path.stat().st_size, path.name), path.name)


def _read_npz(path: Path) -> np.ndarray:
    """The arrays of points and normals, by their usual names, or the only array."""
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            points = next((key for key in POINT_KEYS if key in arrays), None)
            normals = next((key for key in NORMAL_KEYS if key in arrays), None)
            if points is None and len(arrays) == 1:
                points = next(iter(arrays))
            if points is None:
                held = ", ".join(sorted(arrays)[:8]) or "nothing"
                raise InputError(f"{path.name} holds {held}; an array 'points' is needed, 'normals' may follow.")
            table = _read_member(archive, arrays[points], path.name)
            if normals is None or normals == points:
                return _as_table(table, path.name)
            given = _read_member(archive, arrays[normals], path.name)
    except BROKEN_ARCHIVE as error:
        raise InputError(f"{path.name} is damaged or no .npz archive: {error}.") from error
    if given.shape != table.shape:
        raise InputError(f"{path.name}: {points} {table.shape} and {normals} {given.shape} must have one shape.")
    return np.hstack([_as_table(table, path.name), _as_table(given, path.name)])


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    if info.file_size > max(1 << 28, 200 * info.compress_size):
        raise InputError(f"{name}: {info.filename} would unpack to {info.file_size:,} bytes, far too many.")
    with archive.open(info) as stream:
        return _read_array(stream, info.file_size, f"{name}: {info.filename}")


def _read_array(stream: IO[bytes] | io.BufferedIOBase, size: int, name: str) -> np.ndarray:
    """An array in NumPy's format out of `size` bytes; never unpickles."""
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran_order, dtype = read_header(stream)
    except BROKEN_ARRAY as error:
        raise InputError(f"{name} is damaged or no NumPy array.") from error
    if dtype.hasobject:
        raise InputError(f"{name} holds Python objects, which can run code when loaded; save plain numbers.")
    if dtype.kind not in "fiu":
        raise InputError(f"{name} holds values of type {dtype}; plain numbers are needed.")
    announced = math.prod(shape)
    if min(shape, default=0) < 0 or announced * dtype.itemsize > size - stream.tell():
        raise InputError(f"{name} is cut short: it announces an array of {shape} and is {size:,} bytes long.")
    data = np.frombuffer(stream.read(announced * dtype.itemsize), dtype)
    return data.reshape(shape, order="F" if fortran_order else "C")


def _as_table(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim != 2:
        raise InputError(f"{name} has shape {array.shape}; one row a point is needed, (n, 2) or (n, 3).")
    return array.astype(np.float64)


def _read_mesh(path: Path) -> np.ndarray:
    """The vertices of a mesh file, placed as its scene says, and the normals it stores if all have one."""
    from trimesh.exchange.load import mesh_formats

    kind = path.suffix.lower().removeprefix(".")
    known = mesh_formats()
    if kind not in known:
        formats = (*TEXT_FORMATS, ".npy", ".npz", ".ply", *(f".{name}" for name in sorted(known - NOT_MESHES)))
        raise InputError(f"{path.name}: unknown format; these are read: {' '.join(formats)}.")
    try:
        parts = list(_mesh_parts(path, kind))
    except BROKEN_MESH as error:
        raise InputError(f"{path.name} cannot be read as .{kind}: it is damaged or of another kind.") from error
    if not parts:
        raise InputError(f"{path.name} has no vertices.")
    vertices, normals = zip(*parts, strict=True)
    if any(part is None for part in normals):
        return np.vstack(vertices)
    return np.hstack([np.vstack(vertices), np.vstack(normals)])


def _mesh_parts(path: Path, kind: str) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Vertices (v, 3) and stored normals (v, 3) or None of each mesh, in the frame of the scene."""
    from trimesh.exchange.load import mesh_loaders
    from trimesh.resolvers import FilePathResolver
    from trimesh.scene.transforms import SceneGraph

    with _mesh_stream(path, kind) as stream, _silent_trimesh():
        resolver = FilePathResolver(str(path))
        loaded = mesh_loaders[kind](
            file_obj=stream, file_type=kind, resolver=resolver, skip_materials=True, maintain_order=True
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
        if kind != "gltf" and len(vertices) > path.stat().st_size:
            raise ValueError(f"it announces {len(vertices):,} vertices, more than it has bytes")
        normals = meshes[name].get("vertex_normals")
        placed = np.asarray(vertices, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
        turned = None if normals is None else np.asarray(normals, np.float64) @ np.linalg.inv(matrix[:3, :3])
        yield placed, turned


def _mesh_stream(path: Path, kind: str) -> io.IOBase:
    """The file without bytes outside ASCII in its comments, for which trimesh needs another package."""
    if kind in ("obj", "off"):
        return path.open(encoding="utf-8", errors="replace")
    if kind == "stl":
        data = path.read_bytes()
        return io.BytesIO(data[:80].decode("ascii", "replace").encode("ascii", "replace") + data[80:])
    return path.open("rb")


@contextlib.contextmanager
def _silent_trimesh() -> Iterator[None]:
    """Without the tracebacks that trimesh logs as warnings; what matters is raised as well."""
    log, silence = logging.getLogger("trimesh"), logging.NullHandler()
    propagate, log.propagate = log.propagate, False
    log.addHandler(silence)
    try:
        yield
    finally:
        log.removeHandler(silence)
        log.propagate = propagate
