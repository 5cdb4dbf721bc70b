"""The vertices of PLY files, ASCII and binary, with their normals.

Read here and not by trimesh, which takes 3.3 s and 620 MB for a million points in ASCII, refuses binary faces of
different lengths, and does not hand out the normals of a cloud.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from ..errors import InputError
from .table import Table, compact, named_columns, plain_table
from .text import DIGITS, RowLayout, cut_short, load_rows

PLY_TYPES = {
    name: kind
    for kind, *names in (
        ("i1", "int8", "char"),
        ("u1", "uint8", "uchar"),
        ("i2", "int16", "short"),
        ("u2", "uint16", "ushort"),
        ("i4", "int32", "int"),
        ("u4", "uint32", "uint"),
        ("f4", "float32", "float"),
        ("f8", "float64", "double"),
    )
    for name in names
}
"""NumPy's names of the types in a PLY header."""
PLY_NAMES = {np.dtype(kind): name for name, kind in reversed(PLY_TYPES.items()) if not name[-1].isdecimal()}
"""The types of a PLY header by NumPy's, in the names that every program knows."""


@dataclass
class _Element:
    """An element of a PLY file as its header describes it: a kind of thing, and how many."""

    name: str
    count: int
    names: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    """NumPy types of the properties; empty for a list, whose length only the data tell."""

    def dtype(self, order: str, name: str) -> np.dtype:
        """One such thing in a binary file; its fields are named by their places."""
        if not all(self.types):
            raise InputError(f"{name} has lists in or before its vertices; save it without them.")
        return np.dtype([(str(i), order + kind) for i, kind in enumerate(self.types)])


def read_ply(path: Path) -> Table:
    """The vertices of a PLY file, with normals; all else in it is left alone."""
    with path.open("rb") as stream:
        order, elements, lines = _ply_header(stream, path.name)
        offset = stream.tell()
    place = next((i for i, element in enumerate(elements) if element.name == "vertex"), None)
    if place is None or elements[place].count == 0:
        raise InputError(f"{path.name} has no vertices.")
    vertices, before = elements[place], elements[:place]
    keep = named_columns(vertices.names)
    if keep is None:
        raise InputError(f"{path.name}: its vertices have no x and y.")
    if order is None:
        rows = _ply_ascii_rows(path, vertices, keep, lines + sum(element.count for element in before))
        return plain_table(rows, path.name)
    offset += sum(element.count * element.dtype(order, path.name).itemsize for element in before)
    return plain_table(_ply_binary_rows(path, vertices, keep, vertices.dtype(order, path.name), offset), path.name)


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


def _ply_ascii_rows(path: Path, vertices: _Element, keep: list[int], skipped: int) -> np.ndarray:
    vertices.dtype("=", path.name)
    width = len(vertices.names)
    if skipped + 2 * width * vertices.count > path.stat().st_size + 1:  # a number takes a digit and a blank
        raise cut_short(path.name, vertices.count)
    layout = RowLayout(skipped + 1, width, f"{width} ({' '.join(vertices.names)})", keep)
    values = load_rows(path, layout, limit=vertices.count)
    if len(values) < vertices.count:
        raise cut_short(path.name, vertices.count, len(values))
    return values


def _ply_binary_rows(path: Path, vertices: _Element, keep: list[int], dtype: np.dtype, offset: int) -> np.ndarray:
    held = max(path.stat().st_size - offset, 0) // dtype.itemsize
    if held < vertices.count:
        raise cut_short(path.name, vertices.count, held)
    rows = np.fromfile(path, dtype, vertices.count, offset=offset)
    values = np.empty((len(rows), len(keep)))
    for column, i in enumerate(keep):
        values[:, column] = rows[str(i)]
    return values


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
            case ["property", "list", _, _, _] if elements:
                elements[-1].types.append("")
                elements[-1].names.append("")
            case ["property", kind, label] if elements and kind in PLY_TYPES:
                elements[-1].types.append(PLY_TYPES[kind])
                elements[-1].names.append(label)
            case ["comment" | "obj_info", *_] | []:
                pass
            case _:
                text = line[:40].decode("latin-1").strip()
                raise InputError(f"{name}: line {lines} of its PLY header is not understood: {text!r}.")
    if order == "":
        raise InputError(f"{name}: its PLY header names no format.")
    return order, elements, lines + 1


def _ply_column(values: np.ndarray) -> np.ndarray:
    """One property (v,) in a type of PLY, the shortest that loses nothing."""
    values = compact(values.astype(np.uint8) if values.dtype.kind == "b" else values)
    if values.dtype.itemsize == 8 and values.dtype.kind in "iu":
        whole = np.iinfo(np.int32)
        fits = values.min(initial=0) >= whole.min and values.max(initial=0) <= whole.max
        return values.astype(np.int32 if fits else np.float64)
    return values


def ply_bytes(
    vertices: Float[np.ndarray, "v d"],
    faces: Int[np.ndarray, "f 3"] | None = None,
    attributes: Mapping[str, np.ndarray] | None = None,
    colors: UInt8[np.ndarray, "v 3"] | None = None,
    *,
    normals: Float[np.ndarray, "v d"] | None = None,
) -> bytes:
    """Binary PLY of a mesh, or without `faces` of a cloud; see `write_mesh`. Positions and normals are in float64;
    trimesh would write float32. Attributes (v,) keep their types where PLY has them."""
    axes = "xyz"[: vertices.shape[1]]
    columns = [(axis, "<f8", "double") for axis in axes]
    columns += [] if normals is None else [(f"n{axis}", "<f8", "double") for axis in axes]
    columns += [] if colors is None else [(name, "u1", "uchar") for name in ("red", "green", "blue")]
    others = {name: _ply_column(values) for name, values in (attributes or {}).items()}
    columns += [
        (name, values.dtype.newbyteorder("<").str, PLY_NAMES[values.dtype]) for name, values in others.items()
    ]
    numbers = [column for part in (vertices, normals, colors) if part is not None for column in part.T]
    numbers += others.values()
    rows = np.empty(len(vertices), [(name, dtype) for name, dtype, _ in columns])
    for (name, *_), values in zip(columns, numbers, strict=True):
        rows[name] = values
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    lines += [f"property {kind} {name}" for name, _, kind in columns]
    corners = np.empty(0 if faces is None else len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    if faces is not None:
        corners["count"], corners["corners"] = 3, faces
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    return ("\n".join([*lines, "end_header"]) + "\n").encode() + rows.tobytes() + corners.tobytes()
