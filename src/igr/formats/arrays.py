"""NumPy's files, `.npy` and `.npz`: never unpickled, and nothing is allocated on the word of a header: what it
announces is compared with the size of the file first.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import InputError
from ..store.atomic import check_file
from .rows import plain_names, plain_table, table_of
from .table import ARRAYS, AXES, NORMAL, Table, as_colors, named_places, named_table, simplified

INDEX_KEYS = ("faces", "face", "triangles", "tris", "edges", "cells", "f")
"""Names of arrays that say which vertices belong together."""
VIEWPOINT_KEYS = ("viewpoints", "viewpoint", "sensor", "scanner", "cameras", "camera_positions")

UNPACKED, PACKING = 1 << 27, 50
"""An array out of an archive may take so many bytes in float64, or so many times what it takes there."""

BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, struct.error)
"""What zipfile raises for archives that are damaged, locked, or packed in a way it does not know."""

JUDGED = 5_000
"""Rows by which it is judged what columns are, where not all are in memory."""
LONGEST_HEADER = 10_000
"""Bytes of an array's header, at most: one of plain numbers has about 100."""
HEADER = (
    r"""['"]shape['"]\s*:\s*\(((?:\s*\d+L?\s*,?)*)\)""",  # Python 2 wrote 3L
    r"""['"]fortran_order['"]\s*:\s*(True|False)""",
    r"""['"]descr['"]\s*:\s*(?:(['"][^'"]*['"])|(.*))""",
)
"""The entries of an array's header."""
PLAIN_TYPE = re.compile(r"[|<>=]?[biufcmMSUV]\d+(\[\w+\])?")
"""A type that is not made of others; among them are Python's objects, O."""
FIELD = re.compile(r"""\(\s*['"]([^'"]*)['"]\s*,\s*['"]([^'"]*)['"]\s*(?:,\s*\((\d{1,3}),?\)\s*)?\)\s*,?\s*""")
"""A field of a structured type: name, type, how many."""


def read_npy(path: Path, columns: str | None = None) -> Table:
    """The rows of an array of plain numbers, or of one with named fields."""
    with path.open("rb") as stream:
        shape, fortran_order, dtype = npy_header(stream, path.stat().st_size, path.name, fields=True)
        values = _read_data(stream, shape, fortran_order, dtype)
    return array_table(values, path.name, columns)


def npy_tables(
    path: Path, rows: int, in_bytes: Callable[[np.ndarray], np.ndarray | None], columns: str | None = None
) -> Iterator[Table]:
    """The same, some rows at a time, never more in memory; `in_bytes` as for `named_table`. What columns without
    names are is judged by rows from all over the file.

    Raises:
        InputError: as `read_npy`; or it is no array of rows, of named fields, or an image (h, w, k).
    """
    with path.open("rb") as stream:
        shape, fortran_order, dtype = npy_header(stream, path.stat().st_size, path.name, fields=True)
        begin, plain = stream.tell(), not dtype.names
    image = plain and len(shape) == 3 and shape[2] in (3, 4, 6) and dtype != np.uint8 and not fortran_order
    if not image and (len(shape) != 1 + plain or (fortran_order and not plain)):
        raise InputError(f"{path.name} has shape {shape}, which is only read whole; save it as an array (n, k).")
    count, width = math.prod(shape[: len(shape) - plain]), shape[-1] if plain else 1

    def read(start: int, stop: int) -> np.ndarray:
        if fortran_order:
            places = [begin + (column * count + start) * dtype.itemsize for column in range(width)]
            return np.stack([np.fromfile(path, dtype, stop - start, offset=at) for at in places], axis=1)
        at = begin + start * width * dtype.itemsize
        return np.fromfile(path, dtype, (stop - start) * width, offset=at).reshape(-1, width)

    names, notes = [], ()
    if plain:
        apart = np.linspace(0, count - 1, min(count, JUDGED), dtype=np.int64)
        judged = np.concatenate([read(row, row + 1) for row in apart]).astype(np.float64)
        judged[:, 0] = read(0, len(apart))[:, 0]  # a counter is known by rows that follow each other
        names, notes = plain_names(judged, path.name, columns)
    for start in range(0, count, rows):
        values = read(start, min(start + rows, count))
        if plain:
            table = table_of(values.astype(np.float64), path.name, names, notes, in_bytes)
        else:
            table = _fields_table(values[:, 0], path.name, in_bytes)
        yield _without_empty(table) if image else table


def _fields_table(array: np.ndarray, name: str, in_bytes: Any = as_colors) -> Table:
    """The table of an array (n,) with named fields, those that are plain numbers."""
    fields = [(label, array[label]) for label in array.dtype.names or ()]
    plain = [(label, values) for label, values in fields if values.dtype.kind in "biuf" and values.ndim < 3]
    columns = [(label, values.astype(values.dtype.newbyteorder("="))) for label, values in plain]
    return named_table(columns, name, (), in_bytes)


def array_table(array: np.ndarray, name: str, columns: str | None = None) -> Table:
    """The table of an array: rows, rows with named fields, or an image (h, w, 3) of points, as depth cameras have.

    Pixels 0 0 0 or NaN of an image are left out: nothing was measured there.
    """
    if array.dtype.names is not None:
        table = _fields_table(array.ravel(), name)
        return _without_empty(table) if array.ndim > 1 else table
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] not in (3, 4, 6):
        array = np.moveaxis(array, 0, 2)  # as networks have them
    if array.ndim == 3 and array.dtype == np.uint8:
        raise InputError(f"{name} is a picture, {array.shape} of bytes; coordinates are needed.")
    if array.ndim == 3 and array.shape[2] in (3, 4, 6):
        return _without_empty(plain_table(_as_table(array.reshape(-1, array.shape[2]), name), name, columns))
    return plain_table(_as_table(array, name), name, columns)


def _without_empty(table: Table) -> Table:
    there = np.asarray(np.isfinite(table.points).all(axis=1) & table.points.any(axis=1))
    note = f"left out {np.count_nonzero(~there):,} of {len(there):,} pixels, where nothing was measured"
    return table if there.all() else table.rows(there, note)


def read_npz(path: Path) -> Table:
    """The arrays of points, normals, colors and viewpoints by their usual names, or the only array; others with a
    number for each point are attributes."""
    with _archive(path) as (archive, arrays):
        words = {simplified(key): key for key in arrays}
        found = {parts: next((words[word] for word in ARRAYS if word in words and ARRAYS[word] == parts), None)
                 for parts in (AXES, NORMAL)}  # fmt: skip
        places, points, normals = named_places([*arrays]), found[AXES], found[NORMAL]
        if points is None and places.keys() >= {"x", "y"}:
            points = [*arrays][places["x"]]
        if points is None and len(arrays) == 1:
            points = next(iter(arrays))
        if points is None:
            held = ", ".join(sorted(arrays)[:8]) or "nothing"
            raise InputError(f"{path.name} holds {held[:200]}; an array 'points' is needed, 'normals' may follow.")
        first = _read_member(archive, arrays[points], path)
        if len(arrays) == 1:
            return array_table(first, path.name)
        grid = first.shape[: max(first.ndim - 1, 1)]
        rest = {key: _read_beside(archive, info, path, grid) for key, info in arrays.items() if key != points}
        given = first if normals is None or normals == points else rest[normals]
        if given is None or given.shape != first.shape:
            shape = _read_member(archive, arrays[normals or points], path).shape
            raise InputError(f"{path.name}: {points} {first.shape} and {normals} {shape} must have one shape.")
    seen = next((key for key in rest if simplified(key) in VIEWPOINT_KEYS), None)
    places = None if seen is None else rest.pop(seen)
    parts = [(key, _rows(values, grid)) for key, values in rest.items() if values is not None]
    if first.ndim == 1:
        return named_table([(points, first), *parts], path.name)
    base = plain_table(_as_table(_rows(first, grid), path.name), path.name)
    own = [("points", base.points), ("normals", base.normals), *base.attributes.items()]
    table = named_table([part for part in own if part[1] is not None] + parts, path.name, base.notes)
    if places is not None and places.shape[-1] == table.points.shape[1]:
        table = replace(table, viewpoints=np.atleast_2d(places).astype(np.float64))
    return _without_empty(table) if len(grid) > 1 else table


def _rows(values: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """An array with a row for each place of the grid, as (n,) or (n, k)."""
    return values.reshape(math.prod(grid), *values.shape[len(grid) :])


def read_arrays(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """Arrays of numbers out of a `.npz` file, by name; never unpickles, and unpacks no more than makes sense.

    Raises:
        InputError: the file is missing or damaged, or lacks one of them.
    """
    check_file(path)
    with _archive(path) as (archive, arrays):
        missing = next((name for name in names if name not in arrays), None)
        if missing is not None:
            raise InputError(f"{path} has no array {missing!r}.")
        return [_read_member(archive, arrays[name], path) for name in names]


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """An archive, and what is in it by name."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive, {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    except BROKEN_ARCHIVE as error:
        raise InputError(f"{path.name} is damaged or no .npz archive: {str(error)[:120]}.") from error


def _read_beside(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, grid: tuple[int, ...]
) -> np.ndarray | None:
    """An array with a row for each place of the grid, or of viewpoints; None of any other."""
    word = simplified(info.filename.removesuffix(".npy"))
    with archive.open(info) as stream:
        try:
            shape = npy_header(stream, info.file_size, info.filename)[0]
        except InputError:
            return None
    fits = shape[: len(grid)] == grid and len(shape) <= len(grid) + 1 and word not in INDEX_KEYS
    fits = 1 <= len(shape) <= 2 if word in VIEWPOINT_KEYS else fits
    return _read_member(archive, info, path) if fits else None


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    allowed = max(UNPACKED, PACKING * min(info.compress_size, path.stat().st_size))
    if info.file_size > allowed:
        raise InputError(f"{path.name}: {info.filename} would unpack to {info.file_size:,} bytes, far too many.")
    with archive.open(info) as stream:
        shape, fortran_order, dtype = npy_header(stream, info.file_size, f"{path.name}: {info.filename}")
        if 8 * math.prod(shape) > allowed:
            raise InputError(
                f"{path.name}: {info.filename} {shape} is packed far too well; save it with numpy.savez."
            )
        return _read_data(stream, shape, fortran_order, dtype)


def npy_header(
    stream: IO[bytes] | io.BufferedIOBase, size: int, name: str, *, fields: bool = False
) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order (whether Fortran's) and type of an array of plain numbers in NumPy's format of `size` bytes;
    with `fields` also of one whose rows have named fields.

    Raises:
        InputError: it is damaged, cut short, or holds something else, such as Python objects.
    """
    try:
        shape, fortran_order, kind = _npy_entries(stream)
        dtype = np.dtype(kind) if PLAIN_TYPE.fullmatch(kind) else _structure(kind) if fields else None
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} is damaged or no NumPy array.") from error
    if dtype is None and "O" in kind:
        raise InputError(f"{name} holds Python objects, which can run code when loaded; save plain numbers.")
    if dtype is None or (dtype.kind not in "fiu" and not dtype.names):
        raise InputError(f"{name} holds values of type {str(dtype or kind)[:60]}; plain numbers are needed.")
    announced = math.prod(shape)
    possible = 0 <= min(shape, default=0) <= max(shape, default=0) <= size
    if not possible or dtype.itemsize == 0 or announced * dtype.itemsize > size - stream.tell():
        raise InputError(f"{name} is cut short: it announces an array of {shape} and is {size:,} bytes long.")
    return shape, fortran_order, dtype


def _npy_entries(stream: IO[bytes] | io.BufferedIOBase) -> tuple[tuple[int, ...], bool, str]:
    """Shape, order and type as an array's header states them. NumPy's own reader evaluates the header as Python
    and warns of what it finds there, about which only the whole process can be silenced.

    Raises:
        ValueError: it is no such header.
    """
    magic = stream.read(8)
    if magic not in (b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00"):
        raise ValueError("it does not begin as an array does")
    length = int.from_bytes(stream.read(2 if magic[6] == 1 else 4), "little")
    text = stream.read(min(length, LONGEST_HEADER)).decode("latin1")
    shape, order, kind = (re.search(pattern, text) for pattern in HEADER)
    if length > LONGEST_HEADER or len(text) < length or not (shape and order and kind):
        raise ValueError("its header is cut short, or another's")
    counts = tuple(int(count) for count in re.findall(r"\d+", shape[1]))
    return counts, order[1] == "True", (kind[1] or kind[2]).strip("'\"")


def _structure(kind: str) -> np.dtype | None:
    """The type of rows with named fields of plain types, as a header states it; None of any other."""
    fields, at = [], 1
    while kind.startswith("[") and (found := FIELD.match(kind, at)):
        name, plain, times = found.groups()
        if not PLAIN_TYPE.fullmatch(plain):
            return None
        fields.append((name, plain, (int(times),)) if times else (name, plain))
        at = found.end()
    return np.dtype(fields) if fields and kind.startswith("]", at) else None


def _read_data(
    stream: IO[bytes] | io.BufferedIOBase, shape: tuple[int, ...], fortran_order: bool, dtype: np.dtype
) -> np.ndarray:
    data = np.frombuffer(stream.read(math.prod(shape) * dtype.itemsize), dtype)
    return data.reshape(shape, order="F" if fortran_order else "C")


def _as_table(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim != 2:
        raise InputError(f"{name} has shape {array.shape}; one row a point is needed, (n, 2) or (n, 3).")
    return array.astype(np.float64)
