"""The vertices of PLY files, ASCII and binary, with all that is plain numbers of each; lists are skipped.

Read here and not by trimesh, which takes 3.3 s and 620 MB for a million points in ASCII, refuses binary faces of
different lengths, and does not hand out the normals of a cloud.
"""

from __future__ import annotations

import io
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from .rows import DIGITS, RowLayout, cut_short, parsed, text_lines
from .table import SPLAT, SPLAT_SHAPES, Table, as_colors, named_places, named_table, splat_table

PLY_TYPES = {
    name: kind
    for kind, *names in (
        ("i1", "int8", "char"),
        ("u1", "uint8", "uchar", "bool"),
        ("i2", "int16", "short"),
        ("u2", "uint16", "ushort"),
        ("i4", "int32", "int"),
        ("u4", "uint32", "uint"),
        ("i8", "int64", "long"),
        ("u8", "uint64", "ulong"),
        ("f2", "float16", "half"),
        ("f4", "float32", "float"),
        ("f8", "float64", "double"),
    )
    for name in names
}
"""NumPy's names of the types in a PLY header."""


class _Property(NamedTuple):
    """A property of an element; `counted` is the type of the length of a list, else empty."""

    name: str
    kind: str
    counted: str = ""


@dataclass
class _Element:
    """An element of a PLY file as its header describes it: a kind of thing, and how many."""

    name: str
    count: int
    properties: list[_Property] = field(default_factory=list)

    @property
    def has_lists(self) -> bool:
        """Whether its rows can have different lengths."""
        return any(one.counted for one in self.properties)

    def dtype(self, order: str) -> np.dtype:
        """One such thing without lists in a binary file; its fields are named by their places."""
        return np.dtype([(str(i), order + one.kind) for i, one in enumerate(self.properties)])


class _Layout(NamedTuple):
    """Where the vertices of a PLY file stand in it, and which of their properties are kept."""

    order: str | None
    """Order of bytes; None for ASCII."""
    before: list[_Element]
    """What stands before the vertices."""
    vertices: _Element
    keep: list[int]
    names: list[str]
    """Those of the properties that are kept."""
    splats: bool
    begin: tuple[int, int]
    """Bytes and lines of the header."""

    @property
    def ragged(self) -> bool:
        """Whether rows up to the end of the vertices can have different lengths."""
        return any(element.has_lists for element in (*self.before, self.vertices))


def _layout(path: Path) -> _Layout:
    with path.open("rb") as stream:
        order, elements, lines = _ply_header(stream, path.name)
        begin = stream.tell(), lines
    place = next((i for i, element in enumerate(elements) if element.name == "vertex"), None)
    if place is None or elements[place].count == 0:
        raise InputError(f"{path.name} has no vertices.")
    properties = elements[place].properties
    splats = {one.name for one in properties} >= set(SPLAT)
    left_out = SPLAT_SHAPES if splats else ()
    keep = [i for i, one in enumerate(properties) if not (one.counted or one.name.startswith(left_out))]
    names = [properties[i].name for i in keep]
    if not named_places(names).keys() >= {"x", "y"}:
        raise InputError(f"{path.name}: its vertices have no x and y.")
    return _Layout(order, elements[:place], elements[place], keep, names, splats, begin)


def read_ply(path: Path) -> Table:
    """The vertices of a PLY file, with normals, colors and all other plain numbers of each."""
    layout = _layout(path)
    numbers = (_ascii_columns if layout.order is None else _binary_columns)(path, layout)
    return _table(layout, numbers, path.name)


def ply_tables(path: Path, rows: int, in_bytes: Callable[[np.ndarray], np.ndarray | None]) -> Iterator[Table]:
    """The same of a binary file, some rows at a time, never more in memory; `in_bytes` as for `named_table`.

    Raises:
        InputError: as `read_ply`; or the file is ASCII, or rows up to the end of its vertices differ in length.
    """
    layout = _layout(path)
    if layout.order is None or layout.ragged:
        kind = "ASCII" if layout.order is None else "rows of different lengths"
        raise InputError(
            f"{path.name} is a PLY file in {kind}, which is only read whole; convert it to binary PLY."
        )
    every = range(layout.vertices.count)
    for start in every[::rows]:
        yield _table(layout, _fixed_columns(path, layout, every[start : start + rows]), path.name, in_bytes)


def _table(
    layout: _Layout, numbers: Sequence[np.ndarray] | np.ndarray, name: str, in_bytes: Any = as_colors
) -> Table:
    columns = list(zip(layout.names, numbers, strict=True))
    return splat_table(columns, name) if layout.splats else named_table(columns, name, (), in_bytes)


def check_ply(path: Path) -> None:
    """Refuse a PLY file that announces more of anything than it has bytes.

    Raises:
        InputError: it does, or has no header.
    """
    with path.open("rb") as stream:
        elements = _ply_header(stream, path.name)[1]
    for element in elements:
        if element.count > path.stat().st_size:
            raise cut_short(path.name, element.count)


def _ascii_columns(path: Path, at: _Layout) -> np.ndarray:
    vertices, keep = at.vertices, at.keep
    skipped = at.begin[1] + sum(element.count for element in at.before)
    names = [one.name for one in vertices.properties]
    plain = [i for i, one in enumerate(vertices.properties) if not one.counted]
    if skipped + 2 * len(names) * vertices.count > path.stat().st_size + 1:  # a number takes a digit and a blank
        raise cut_short(path.name, vertices.count)
    expected = f"{len(names)} ({' '.join(names)})"
    layout = RowLayout(skipped + 1, len(names), expected, None if len(keep) == len(names) else keep)
    lines = text_lines(path, layout)
    if any(one.counted for one in vertices.properties[: keep[-1]]):  # places differ from row to row
        lines = _without_lists(lines, vertices.properties)
        layout = replace(layout, count=len(plain), keep=[plain.index(i) for i in keep])
    values = parsed(lines, path, layout, vertices.count)
    if len(values) < vertices.count:
        raise cut_short(path.name, vertices.count, len(values))
    return values.T


def _without_lists(lines: Iterator[str], properties: Sequence[_Property]) -> Iterator[str]:
    for line in lines:
        words, kept, at = line.split(), [], 0
        for one in properties:
            word = words[at] if at < len(words) else ""
            kept += [] if one.counted else [word]
            at += 1
            if one.counted:
                at += int(word) if word.isdecimal() and word.isascii() and len(word) < DIGITS else len(words)
        yield " ".join(kept)


def _binary_columns(path: Path, at: _Layout) -> list[np.ndarray]:
    if not at.ragged:
        return _fixed_columns(path, at, range(at.vertices.count))
    data, place, order = np.fromfile(path, np.uint8, offset=at.begin[0]), 0, at.order or ""
    try:
        for element in at.before:
            place = deque(_walk(data, place, element, order), maxlen=1)[0]
        return _ragged_columns(data, place, at.vertices, at.keep, order)
    except (struct.error, IndexError) as error:
        raise cut_short(path.name, at.vertices.count) from error


def _fixed_columns(path: Path, at: _Layout, rows: range) -> list[np.ndarray]:
    """The columns of some rows, all of one length."""
    dtype = at.vertices.dtype(at.order or "")
    offset = at.begin[0] + sum(one.count * one.dtype(at.order or "").itemsize for one in at.before)
    held = max(path.stat().st_size - offset, 0) // dtype.itemsize
    if held < at.vertices.count:
        raise cut_short(path.name, at.vertices.count, held)
    values = np.fromfile(path, dtype, len(rows), offset=offset + rows.start * dtype.itemsize)
    return [_native(values[str(i)]) for i in at.keep]


def _native(values: np.ndarray) -> np.ndarray:
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _walk(data: np.ndarray, at: int, element: _Element, order: str) -> Iterator[int]:
    """Where the runs of plain properties before, between and after the lists of each row begin; then the end.

    Raises:
        struct.error: the data end before.
    """
    runs, lists = [0], []
    for one in element.properties:
        size = np.dtype(one.kind).itemsize
        if one.counted:  # no length is negative
            lists.append((struct.Struct(order + "BHIQ"[int(one.counted[1]).bit_length() - 1]), size))
            runs.append(0)
        else:
            runs[-1] += size
    steps = [
        (run, length.unpack_from, length.size, size) for run, (length, size) in zip(runs, lists, strict=False)
    ]
    last, buffer = runs[-1], data.data
    for _ in range(element.count if lists else 0):
        for run, unpack_from, width, size in steps:
            yield at
            at += run
            at += width + unpack_from(buffer, at)[0] * size
        yield at
        at += last
    at += 0 if lists else element.count * last
    if at > len(data):
        raise struct.error
    yield at


def _ragged_columns(data: np.ndarray, at: int, element: _Element, keep: list[int], order: str) -> list[np.ndarray]:
    """Plain properties of rows with lists: read at once if all lists are as long as those of the first row."""
    properties, places, run, inside = element.properties, {}, 0, 0
    for i, one in enumerate(properties):
        places[i] = run, inside
        inside += np.dtype(one.kind).itemsize
        if one.counted:
            run, inside = run + 1, 0
    single = _Element(element.name, 1, properties)
    *starts, end = (place - at for place in _walk(data, at, single, order))
    fields = {i: one.counted or one.kind for i, one in enumerate(properties) if one.counted or i in keep}
    offsets = [starts[places[i][0]] + places[i][1] for i in fields]
    formats = [order + kind for kind in fields.values()]
    rows = np.dtype({"names": [str(i) for i in fields], "formats": formats, "offsets": offsets, "itemsize": end})
    if at + element.count * end <= len(data):
        table = np.frombuffer(data, rows, element.count, offset=at)
        if all((table[str(i)] == table[str(i)][0]).all() for i in fields if properties[i].counted):
            return [_native(table[str(i)]) for i in keep]
    if at + element.count > len(data):
        raise struct.error
    begins = np.fromiter(_walk(data, at, element, order), np.int64)[:-1].reshape(-1, run + 1)
    columns = []
    for i in keep:
        kind = np.dtype(order + properties[i].kind)
        where = begins[:, places[i][0]] + places[i][1]
        held = np.stack([data[where + byte] for byte in range(kind.itemsize)], axis=1)
        columns.append(_native(held.view(kind)[:, 0]))
    return columns


def _ply_header(stream: io.BufferedIOBase, name: str) -> tuple[str | None, list[_Element], int]:
    """Byte order (None for ASCII), elements, and number of lines of a PLY header."""
    if stream.readline(16).strip() != b"ply":
        raise InputError(f"{name} is no PLY file: it does not begin with 'ply'.")
    order, elements, lines = "", [], 1
    while (line := stream.readline(4096)).strip() != b"end_header":
        lines += 1
        if not line.endswith(b"\n"):
            raise InputError(f"{name} is cut short: its PLY header does not end.")
        match line.decode("latin-1").split():
            case ["format", ("ascii" | "binary_little_endian" | "binary_big_endian") as kind, _]:
                order = {"a": None, "l": "<", "b": ">"}[kind.removeprefix("binary_")[0]]
            case ["element", element, count] if count.isdecimal() and count.isascii() and len(count) < DIGITS:
                elements.append(_Element(element, int(count)))
            case ["property", "list", counted, kind, label] if elements and _are_types(counted, kind):
                elements[-1].properties.append(_Property(label, PLY_TYPES[kind], PLY_TYPES[counted]))
            case ["property", kind, label] if elements and kind in PLY_TYPES:
                elements[-1].properties.append(_Property(label, PLY_TYPES[kind]))
            case ["comment" | "obj_info", *_] | []:
                pass
            case _:
                text = line[:40].decode("latin-1").strip()
                raise InputError(f"{name}: line {lines} of its PLY header is not understood: {text!r}.")
    if order == "":
        raise InputError(f"{name}: its PLY header names no format.")
    return order, elements, lines + 1


def _are_types(counted: str, kind: str) -> bool:
    """Whether a list's length and its items are of types that are known."""
    return kind in PLY_TYPES and PLY_TYPES.get(counted, "f")[0] != "f"
