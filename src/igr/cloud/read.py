"""Path to table: which reader; what is no file is refused. Each format has its file in `formats/`.

Decided here is what a file holds and whether it is whole; whether its points make sense is up to `pointcloud.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..formats.arrays import read_npy, read_npz
from ..formats.colmap import is_model, read_model, with_visibility
from ..formats.lidar import LIDAR_FORMATS, read_lidar
from ..formats.meshfile import BROKEN_MESH, MESH_FORMATS, mesh_parts
from ..formats.ply import read_ply
from ..formats.table import Table
from ..formats.text import read_text
from ..machine import require
from ..store.atomic import check_file

TEXT_FORMATS = (".xyz", ".txt", ".csv", ".pts")

READ_BYTE = 8
"""Bytes that reading and checking a cloud takes for each byte of its file."""


def read_table(path: str | os.PathLike) -> Table:
    """The points of a file, and what it holds of each.

    Args:
        path: text, `.npy`, `.npz`, `.ply`, what scanners write (las, laz, e57, pcd), a mesh file (obj, off, stl,
            glb, gltf), or a sparse model of COLMAP: its folder, points3D.bin or points3D.txt.

    Returns:
        Its points, not checked any further.

    Raises:
        InputError: no such file, an unknown format, a broken or truncated file, wrong columns.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    try:
        if is_model(path):
            with np.errstate(all="ignore"):
                return read_model(path)
        check_file(path)
        require(READ_BYTE * path.stat().st_size, f"reading {path.name}")
        if suffix in TEXT_FORMATS:
            return read_text(path)
        reader = {".npy": read_npy, ".npz": read_npz, ".ply": read_ply}.get(suffix, _read_mesh)
        if suffix in LIDAR_FORMATS:
            reader = read_lidar
        with np.errstate(all="ignore"):  # infinities and NaN are dealt with later
            return with_visibility(reader(path), path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except MemoryError as error:
        raise InputError(f"{path.name} does not fit into memory.") from error


def _read_mesh(path: Path) -> Table:
    """The vertices of a mesh file, placed as its scene says, and the normals it stores if all have one."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in MESH_FORMATS:
        formats = (*TEXT_FORMATS, ".npy", ".npz", ".ply", *LIDAR_FORMATS, *(f".{name}" for name in MESH_FORMATS))
        raise InputError(f"{path.name}: unknown format; these are read: {' '.join(formats)}.")
    try:
        parts = list(mesh_parts(path, kind))
    except BROKEN_MESH as error:
        raise InputError(f"{path.name} cannot be read as .{kind}: it is damaged or of another kind.") from error
    if not parts:
        raise InputError(f"{path.name} has no vertices.")
    vertices, normals = zip(*parts, strict=True)
    if any(part is None for part in normals):
        return Table(np.vstack(vertices))
    return Table(np.vstack(vertices), np.vstack(normals))
