"""The triangles of all blocks as one mesh, written as they come: never all of them in memory.

A vertex on the border of blocks is written by the block that owns it; the others name it. Pieces are followed from
block to block by these names, so what is a crumb is decided of the whole, as of any mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from ..errors import FitError
from ..mesh.pieces import connected, crumbs
from ..mesh.write import named_columns, ply_corners, ply_head, ply_rows
from ..store.atomic import write_stream

TYPES = {"i8": np.dtype(float), "u8": np.dtype(float), "b1": np.dtype(np.uint8)}
"""What stands for types that PLY does not have."""
Read = Callable[[int], dict[str, np.ndarray]]
"""The arrays of a block's piece, see `work.py`; none where it has no surface."""


@dataclass(frozen=True)
class Joined:
    """What was written."""

    vertices: int
    triangles: int
    components: int
    open_edges: int
    """Edges with one triangle only."""
    crumbs: int
    """Small pieces that were left out."""


def join(path: Path, count: int, read: Read) -> Joined:
    """Write the pieces of so many blocks to a PLY file as one mesh.

    Raises:
        FitError: none of them has a surface.
        OutputError: the disk is full, or the place cannot be written to.
    """
    told = [_Told.of(read(block)) for block in range(count)]
    seams = _Seams(told)
    faces = sum(int(part.faces[seams.kept_in(block)].sum()) for block, part in enumerate(told))
    if faces == 0:
        raise FitError("there is no surface in any of the blocks")
    numbers = np.zeros(len(seams.names), np.int64)
    starts = np.cumsum([0, *(seams.written(block, part) for block, part in enumerate(told))])

    def parts() -> Iterator[bytes]:
        kinds = _types(read(block) for block in range(count))
        yield ply_head(_rows(None, kinds).dtype, int(starts[-1]), faces)
        for block, part in enumerate(told):
            if len(part.area):
                arrays = read(block)
                rows = seams.rows(block, arrays)
                local = np.cumsum(rows) - 1 + starts[block]
                writes = seams.writes[block]
                numbers[seams.vertex[block][writes]] = local[arrays["shared"][writes]]
                yield _rows(arrays, kinds, rows).tobytes()
        for block, part in enumerate(told):
            if len(part.area):
                arrays = read(block)
                local = np.cumsum(seams.rows(block, arrays)) - 1 + starts[block]
                local[arrays["shared"]] = numbers[seams.vertex[block]]
                kept = seams.kept_in(block)[arrays["label"][arrays["faces"][:, 0]]]
                yield ply_corners(local[arrays["faces"][kept]]).tobytes()

    write_stream(path, parts())
    return Joined(int(starts[-1]), faces, seams.components, seams.open_edges(told), seams.crumbs)


@dataclass(frozen=True)
class _Told:
    """What joining needs to know of a piece: of its p parts that hang together, and its m shared vertices."""

    names: Int[np.ndarray, "m 2"]
    own: Bool[np.ndarray, " m"]
    label: Int[np.ndarray, " m"]
    area: np.ndarray
    support: np.ndarray
    inner: Int[np.ndarray, " p"]
    """Vertices that are not shared, of each part."""
    faces: Int[np.ndarray, " p"]
    ending: Int[np.ndarray, " p"]
    """Edges with one triangle, at least one of whose ends is not shared."""
    edges: Int[np.ndarray, "e 2"]
    """Edges with one triangle between shared vertices."""

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> _Told:
        """What a piece tells."""
        if "faces" not in arrays:
            none, edges = np.zeros(0, np.int64), np.zeros((0, 2), np.int64)
            return cls(edges, none.astype(bool), none, none, none, none, none, none, edges)
        faces, label, rows = arrays["faces"].astype(np.int64), arrays["label"], arrays["shared"]
        parts, place = len(arrays["area"]), np.full(len(label), -1)
        place[rows] = np.arange(len(rows))
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        key, times = np.unique(edges[:, 0] * len(label) + edges[:, 1], return_counts=True)
        single = np.stack(np.divmod(key[times == 1], len(label)), axis=1)
        between = (place[single] >= 0).all(1)
        return cls(
            arrays["names"],
            arrays["own"][rows],
            label[rows],
            arrays["area"],
            arrays["support"],
            np.bincount(label[place < 0], minlength=parts),
            np.bincount(label[faces[:, 0]], minlength=parts),
            np.bincount(label[single[~between, 0]], minlength=parts),
            place[single[between]],
        )


class _Seams:
    """The vertices that blocks share, and the pieces of the surface that they join."""

    def __init__(self, told: list[_Told]) -> None:
        self.first = np.cumsum([0, *(len(part.area) for part in told)])
        splits = np.cumsum([len(part.names) for part in told])[:-1]
        every = np.concatenate([part.names for part in told])
        self.names, vertex = np.unique(every, axis=0, return_inverse=True)
        vertex = vertex.reshape(-1)
        self.vertex = np.split(vertex, splits)
        """Of each block: which of the shared vertices its rows are."""
        own = np.concatenate([part.own for part in told])
        order = np.lexsort([np.arange(len(own)), ~own, vertex])  # the owner first
        writes = np.zeros(len(own), bool)
        writes[order[np.diff(vertex[order], prepend=-1) > 0]] = True
        self.writes = np.split(writes, splits)
        """Of each block: which of its rows it writes."""
        label = np.concatenate([part.label + first for part, first in zip(told, self.first, strict=False)])
        by_vertex = np.zeros(len(self.names), np.int64)
        by_vertex[vertex] = label
        joined = np.stack([label, by_vertex[vertex]], axis=1).astype(np.int32)
        area, support = (np.concatenate([getattr(part, name) for part in told]) for name in ("area", "support"))
        self.kept, self.components, self.crumbs = _kept(connected(joined, len(area)), area, support)

    def kept_in(self, block: int) -> Bool[np.ndarray, " p"]:
        """Which parts of a block belong to a piece that is no crumb."""
        return self.kept[self.first[block] : self.first[block + 1]]

    def written(self, block: int, part: _Told) -> int:
        """How many vertices a block writes."""
        kept = self.kept_in(block)
        return int(part.inner[kept].sum() + (self.writes[block] & kept[part.label]).sum())

    def rows(self, block: int, arrays: dict[str, np.ndarray]) -> Bool[np.ndarray, " v"]:
        """Which vertices a block writes."""
        rows = self.kept_in(block)[arrays["label"]]
        rows[arrays["shared"][~self.writes[block]]] = False
        return rows

    def open_edges(self, told: list[_Told]) -> int:
        """Edges of the whole with one triangle only."""
        ending = sum(int(part.ending[self.kept_in(block)].sum()) for block, part in enumerate(told))
        between = []
        for block, part in enumerate(told):
            kept = self.kept_in(block)[part.label]
            between.append(self.vertex[block][part.edges[kept[part.edges[:, 0]]]])
        edges = np.sort(np.concatenate(between), axis=1)
        times = np.unique(edges[:, 0] * len(self.names) + edges[:, 1], return_counts=True)[1]
        return ending + int((times % 2 == 1).sum())


def _kept(piece: np.ndarray, area: np.ndarray, support: np.ndarray) -> tuple[Bool[np.ndarray, " p"], int, int]:
    """Which parts are kept, of how many pieces, and how many crumbs are not; as of any mesh."""
    crumb = crumbs(np.bincount(piece, area), np.bincount(piece, support), 3)
    return ~crumb[piece], int((~crumb).sum()), int(crumb.sum())


def _types(pieces: Iterator[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """An empty array of each attribute, by name, of a type that PLY has and that holds it in all blocks."""
    kinds: dict[str, np.ndarray] = {}
    for arrays in pieces:
        for name, values in arrays.items():
            if name == "confidence" or name.startswith("attribute."):
                other = kinds.get(name, values[:0])
                kinds[name] = np.empty((0, *values.shape[1:]), np.result_type(values.dtype, other.dtype))
    return {name: kind.astype(TYPES.get(kind.dtype.str[1:], kind.dtype)) for name, kind in kinds.items()}


def _rows(arrays: dict[str, np.ndarray] | None, kinds: dict[str, np.ndarray], rows: Any = None) -> np.ndarray:
    """The vertices of a piece as they lie in the file; none, for their types, where there is no piece."""
    places = np.empty((0, 3)) if arrays is None else arrays["vertices"][rows]
    told = {
        name.removeprefix("attribute."): kind if arrays is None else arrays[name][rows].astype(kind.dtype)
        for name, kind in kinds.items()
    }
    confidence, colors = {"confidence": told.pop("confidence")}, told.pop("colors", None)
    return ply_rows(places, confidence | named_columns(told, confidence), colors)
