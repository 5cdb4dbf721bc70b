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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import InputError
from ..store.atomic import check_file
from .table import Table, plain_table

POINT_KEYS = ("points", "vertices", "verts", "xyz", "pos", "v")
NORMAL_KEYS = ("normals", "vertex_normals", "normal", "n")

UNPACKED, PACKING = 1 << 27, 50
"""An array out of an archive may take so many bytes in float64, or so many times what it takes there."""

BROKEN_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, struct.error)
"""What zipfile raises for archives that are damaged, locked, or packed in a way it does not know."""

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


def read_npy(path: Path) -> Table:
    """The rows of an array of plain numbers."""
    with path.open("rb") as stream:
        values = _read_data(stream, *npy_header(stream, path.stat().st_size, path.name))
    return plain_table(_as_table(values, path.name), path.name)


def read_npz(path: Path) -> Table:
    """The arrays of points and normals, by their usual names, or the only array."""
    with _archive(path) as (archive, arrays):
        points = next((key for key in POINT_KEYS if key in arrays), None)
        normals = next((key for key in NORMAL_KEYS if key in arrays), None)
        if points is None and len(arrays) == 1:
            points = next(iter(arrays))
        if points is None:
            held = ", ".join(sorted(arrays)[:8]) or "nothing"
            raise InputError(f"{path.name} holds {held[:200]}; an array 'points' is needed, 'normals' may follow.")
        table = _read_member(archive, arrays[points], path)
        if normals is None or normals == points:
            return plain_table(_as_table(table, path.name), path.name)
        given = _read_member(archive, arrays[normals], path)
    if given.shape != table.shape:
        raise InputError(f"{path.name}: {points} {table.shape} and {normals} {given.shape} must have one shape.")
    return Table(_as_table(table, path.name), _as_table(given, path.name))


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
    stream: IO[bytes] | io.BufferedIOBase, size: int, name: str
) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order (whether Fortran's) and type of an array of plain numbers in NumPy's format of `size` bytes.

    Raises:
        InputError: it is damaged, cut short, or holds something else, such as Python objects.
    """
    try:
        shape, fortran_order, kind = _npy_entries(stream)
        dtype = np.dtype(kind) if PLAIN_TYPE.fullmatch(kind) else None
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} is damaged or no NumPy array.") from error
    if dtype is None and "O" in kind:
        raise InputError(f"{name} holds Python objects, which can run code when loaded; save plain numbers.")
    if dtype is None or dtype.kind not in "fiu":
        raise InputError(f"{name} holds values of type {str(dtype or kind)[:60]}; plain numbers are needed.")
    announced = math.prod(shape)
    possible = 0 <= min(shape, default=0) <= max(shape, default=0) <= size
    if not possible or announced * dtype.itemsize > size - stream.tell():
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


def _read_data(
    stream: IO[bytes] | io.BufferedIOBase, shape: tuple[int, ...], fortran_order: bool, dtype: np.dtype
) -> np.ndarray:
    data = np.frombuffer(stream.read(math.prod(shape) * dtype.itemsize), dtype)
    return data.reshape(shape, order="F" if fortran_order else "C")


def _as_table(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim != 2:
        raise InputError(f"{name} has shape {array.shape}; one row a point is needed, (n, 2) or (n, 3).")
    return array.astype(np.float64)
