"""The triangles of all blocks as one mesh, written as they come: never all of them in memory.

A vertex on the border of blocks is written by the block that owns it; the others name it. Pieces are followed from
block to block by these names, so what is a crumb is decided of the whole, as of any mesh. In 3D Tiles, where each
block is a file of its own for viewers that load what they see, all blocks have it, equal but for rounding.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import FitError, InputError
from ..mesh.pieces import connected, crumbs
from ..mesh.write import mesh_bytes, named_columns, ply_corners, ply_head, ply_rows
from ..store.atomic import check_folder, destination, write_bytes, write_files, write_stream

TYPES = {"i8": np.dtype(float), "u8": np.dtype(float), "b1": np.dtype(np.uint8)}
"""What stands for types that PLY does not have."""
TILESET = ".json"
"""Suffix of the list of 3D Tiles."""
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


def check_joined(path: Path) -> None:
    """Refuse a file that could not be written, before the work that fills it.

    Raises:
        InputError: another suffix, or a folder that is missing or cannot be written to.
    """
    if path.suffix.lower() not in (".ply", TILESET):
        raise InputError(
            f"{path}: the mesh of a cloud in blocks is written as it comes: use .ply, or {TILESET} for 3D Tiles, "
            "a GLB of each block"
        )
    check_folder(path)


def join(path: Path, count: int, read: Read) -> Joined:
    """Write the pieces of so many blocks as one mesh: to a PLY file, or as 3D Tiles to a .json file that lists a
    GLB for each block, beside it.

    Raises:
        FitError: none of them has a surface.
        OutputError: the disk is full, or the place cannot be written to.
    """
    told = [_Told.of(read(block)) for block in range(count)]
    seams = _Seams(told)
    faces = sum(int(part.faces[seams.kept_in(block)].sum()) for block, part in enumerate(told))
    if faces == 0:
        raise FitError("there is no surface in any of the blocks")
    starts = np.cumsum([0, *(seams.written(block, part) for block, part in enumerate(told))])
    kinds = _types(read(block) for block in range(count))
    if path.suffix.lower() == TILESET:
        _write_tileset(destination(path), count, seams, kinds, read)
    else:
        write_stream(path, _ply(told, starts, faces, seams, kinds, read))
    return Joined(int(starts[-1]), faces, seams.components, seams.open_edges(told), seams.crumbs)


def _ply(
    told: list[_Told], starts: np.ndarray, faces: int, seams: _Seams, kinds: dict[str, np.ndarray], read: Read
) -> Iterator[bytes]:
    """The parts of a PLY file: its head, the vertices of each block, the triangles of each block."""
    numbers = np.zeros(len(seams.names), np.int64)
    none = {"vertices": np.empty((0, 3))} | kinds
    yield ply_head(ply_rows(*_vertices(none, kinds, slice(None))).dtype, int(starts[-1]), faces)
    blocks = [block for block, part in enumerate(told) if len(part.area)]
    for block in blocks:
        arrays = read(block)
        rows = seams.rows(block, arrays)
        local = np.cumsum(rows) - 1 + starts[block]
        writes = seams.writes[block]
        numbers[seams.vertex[block][writes]] = local[arrays["shared"][writes]]
        yield ply_rows(*_vertices(arrays, kinds, rows)).tobytes()
    for block in blocks:
        arrays = read(block)
        local = np.cumsum(seams.rows(block, arrays)) - 1 + starts[block]
        local[arrays["shared"]] = numbers[seams.vertex[block]]
        yield ply_corners(local[seams.triangles(block, arrays)]).tobytes()


def _write_tileset(path: Path, count: int, seams: _Seams, kinds: dict[str, np.ndarray], read: Read) -> None:
    """The blocks as 3D Tiles (OGC 22-025, version 1.1): positions are those of the scan, each block's around its
    own middle, as GLB has single precision, and with y upward, as glTF has it. A list that is there is removed
    first, as it is not that of the new files; the new one is last, and what only the old one names goes."""
    before = path.read_bytes() if path.exists() else b""
    children, boxes = [], []
    for block in range(count):
        if not seams.kept_in(block).any():
            continue
        arrays = read(block)
        used, corners = np.unique(seams.triangles(block, arrays), return_inverse=True)
        places, columns, colors = _vertices(arrays, kinds, used)
        box = np.stack([places.min(0), places.max(0)])
        middle, name = box.mean(0), f"{path.stem}-{block:05d}.glb"
        x, y, z = (places - middle).T
        upright = np.stack([x, z, -y], axis=1)
        tile = mesh_bytes(".glb", upright, corners.reshape(-1, 3), attributes=columns, colors=colors)
        write_files({path.with_name(name): tile}, withdrawn=path)
        placed = [*np.eye(4)[:3].ravel().tolist(), *middle.tolist(), 1.0]
        children.append({"transform": placed, "content": {"uri": quote(name)}} | _bounds(box - middle, 0.0))
        boxes.append(box)
    whole = np.stack([np.min(boxes, axis=0)[0], np.max(boxes, axis=0)[1]])
    size = float(np.linalg.norm(np.ptp(whole, axis=0)))
    root = _bounds(whole, size) | {"refine": "ADD", "children": children}
    tileset = {"asset": {"version": "1.1"}, "geometricError": size, "root": root}
    write_bytes(path, after := json.dumps(tileset, indent=1).encode())
    for tile in path.parent.glob(f"{glob.escape(path.stem)}-*.glb"):
        if quote(tile.name).encode() in before and quote(tile.name).encode() not in after:
            tile.unlink(missing_ok=True)


def _bounds(box: Float[np.ndarray, "2 3"], error: float) -> dict[str, Any]:
    """The bounding volume of a tile, and what is missing while it is not shown."""
    half = np.diag(np.ptp(box, axis=0) / 2)
    return {"boundingVolume": {"box": [*box.mean(0).tolist(), *half.ravel().tolist()]}, "geometricError": error}


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

    def triangles(self, block: int, arrays: dict[str, np.ndarray]) -> Int[np.ndarray, "f 3"]:
        """The triangles of a block that belong to no crumb."""
        return arrays["faces"][self.kept_in(block)[arrays["label"][arrays["faces"][:, 0]]]]

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


def _vertices(
    arrays: dict[str, np.ndarray], kinds: dict[str, np.ndarray], rows: Any
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray | None]:
    """Places, named columns and colors of some vertices of a piece, of types that files have."""
    told = {name.removeprefix("attribute."): arrays[name][rows].astype(kind.dtype) for name, kind in kinds.items()}
    confidence, colors = {"confidence": told.pop("confidence")}, told.pop("colors", None)
    return arrays["vertices"][rows], confidence | named_columns(told, confidence), colors
