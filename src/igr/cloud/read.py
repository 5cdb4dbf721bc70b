"""Path to table: which reader; what is no file is refused. Each format has its file in `formats/`.

Decided here is what a file holds and whether it is whole; whether its points make sense is up to `pointcloud.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..formats.arrays import npy_tables, read_npy, read_npz
from ..formats.colmap import is_model, read_model, with_visibility
from ..formats.lidar import LIDAR_FORMATS, lidar_tables, read_lidar
from ..formats.meshfile import BROKEN_MESH, MESH_FORMATS, mesh_parts
from ..formats.ply import ply_tables, read_ply
from ..formats.table import Table
from ..formats.text import holds_rows, is_ptx, read_ptx, read_text
from ..machine import require
from ..store.atomic import check_file

TEXT_FORMATS = (".xyz", ".txt", ".csv", ".pts")
"""Always text; what has another suffix is read as text if it holds rows of numbers."""
READ_BYTE = 8
"""Bytes that reading and checking a cloud takes for each byte of its file."""


def read_table(path: str | os.PathLike, columns: str | None = None) -> Table:
    """The points of a file, and what it holds of each.

    Args:
        path: text of any suffix, `.npy`, `.npz`, `.ply`, what scanners write (ptx, las, laz, e57, pcd), a mesh
            (obj, off, stl, glb, gltf), or a sparse model of COLMAP: its folder, points3D.bin or points3D.txt.
        columns: what the columns of text or of a plain array are, such as "x y z intensity", `_` for one to leave
            aside; None for what the file says, or what its numbers can be.

    Returns:
        Its points, not checked any further.

    Raises:
        InputError: no such file, an unknown format, a broken or truncated file, wrong columns.
    """
    path = Path(path)
    model = is_model(path)
    try:
        if not model:
            check_file(path)
            require(READ_BYTE * path.stat().st_size, f"reading {path.name}")
        with np.errstate(all="ignore"):  # infinities and NaN are dealt with later
            return _read(path, columns, read_model if model else READERS.get(path.suffix.lower()))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except MemoryError as error:
        raise InputError(f"{path.name} does not fit into memory.") from error


def read_chunks(path: str | os.PathLike, rows: int, columns: str | None = None) -> Iterator[Table]:
    """The points of a las, laz, e57, pcd, npy or binary PLY file, so many rows at a time, never more in memory.

    What would take the whole file to decide is left open: red, green and blue are in the file's own numbers, and
    nothing is left out because it is the same everywhere.

    Raises:
        InputError: as `read_table`, also while the chunks come; or files of this format are only read whole.
    """
    path = Path(path)
    kind = path.suffix.lower()
    check_file(path)
    try:
        if kind in LIDAR_FORMATS:
            yield from lidar_tables(path, rows)
        elif kind == ".npy":
            yield from npy_tables(path, rows, np.asarray, columns)
        elif kind == ".ply":
            yield from ply_tables(path, rows, np.asarray)
        else:
            formats = " ".join((*LIDAR_FORMATS, ".npy"))
            raise InputError(
                f"{path.name}: files of its kind are only read whole, into memory; for blocks convert it to "
                f"binary .ply or one of {formats}."
            )
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read(path: Path, columns: str | None, reader: Callable[[Path], Table] | None) -> Table:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_npy(path, columns)
    if reader is None and (suffix in (*TEXT_FORMATS, ".ptx") or holds_rows(path)):
        reader = read_ptx if is_ptx(path) else None
        if reader is None:
            return read_text(path, columns)
    if columns is not None:
        raise InputError(f"{path.name} says itself what it holds; columns can be given for text and .npy.")
    if reader is None:
        formats = ("text", ".npy", ".ptx", *READERS)
        raise InputError(f"{path.name}: unknown format; these are read: {' '.join(formats)}.")
    return with_visibility(reader(path), path)


def _read_mesh(path: Path) -> Table:
    """The vertices of a mesh file, placed as its scene says, and the normals it stores if all have one."""
    kind = path.suffix.lower().removeprefix(".")
    try:
        parts = list(mesh_parts(path, kind))
    except BROKEN_MESH as error:
        raise InputError(f"{path.name} cannot be read as .{kind}: it is damaged or of another kind.") from error
    if not parts:
        raise InputError(f"{path.name} has no vertices.")
    vertices, normals, colors = zip(*parts, strict=True)
    missing = any(part is None for part in normals), any(part is None for part in colors)
    attributes = {} if missing[1] else {"colors": np.vstack(colors)}
    return Table(np.vstack(vertices), None if missing[0] else np.vstack(normals), attributes)


READERS = {
    ".npz": read_npz,
    ".ply": read_ply,
    **dict.fromkeys(LIDAR_FORMATS, read_lidar),
    **dict.fromkeys((f".{kind}" for kind in MESH_FORMATS), _read_mesh),
}
"""By suffix, those of files that say themselves what they hold."""
