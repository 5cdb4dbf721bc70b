"""Points on disk: positions on a lattice, normals in two numbers, attributes as they are.

While a cloud is sorted the points of each block are appended to a file of its own (`scatter`); then each such file
becomes one of pages, in which points that are near each other stand together (`finish`).
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ..cloud.clean import duplicates
from ..cloud.neighbors import near_order
from ..errors import InputError
from ..formats.table import Table
from ..store.atomic import check_file
from ..store.pages import packed, unpacked
from .chunks import Tiles

PAGE = 1 << 14
"""Rows of a page of a finished block."""
FINE = 1e-4
"""Step of the lattice, in spacings of the points."""
FARTHEST = 2.0**40
"""Steps between the origins of files that are taken for one lattice, at most."""
FINEST = 2.0**-52
"""Step of the lattice, as a share of the largest coordinate, at least."""


@dataclass(frozen=True)
class Lattice:
    """Where positions are: whole numbers of steps from an origin."""

    origin: Float[np.ndarray, " 3"]
    step: float

    def rows(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """The nearest place of the lattice, in steps."""
        return np.rint((points - self.origin) / self.step)

    def points(self, rows: np.ndarray) -> Float[np.ndarray, "n 3"]:
        """Positions of places of the lattice."""
        return rows * self.step + self.origin


def fine_lattice(box: Float[np.ndarray, "2 3"], spacing: float) -> Lattice:
    """A lattice that is fine for points so far apart; its step is a power of two, so that its places are exact."""
    step = 2.0 ** np.floor(np.log2(max(FINE * spacing, FINEST * np.abs(box).max(), 1e-300)))
    return Lattice(np.floor(box[0] / step) * step, float(step))


def source_of(
    paths: Sequence[str | os.PathLike[str]], block_points: int, seed: int = 0, columns: str | None = None
) -> str:
    """What blocks are sorted from, and how: the same only for files that were not changed meanwhile.

    Raises:
        InputError: a file is missing.
    """
    files = []
    for path in sorted(str(path) for path in paths):
        check_file(path)
        status = os.stat(path)
        files.append([os.path.abspath(path), status.st_size, status.st_mtime_ns])
    return json.dumps({"files": files, "block_points": block_points, "seed": seed, "columns": columns})


def declared(paths: Sequence[str | os.PathLike[str]]) -> Float[np.ndarray, "2 3"] | None:
    """The box of the points, if all are in las or laz files, by what their headers say, which need not be true."""
    heads = [_las_header(Path(path)) for path in paths]
    known = [head[2] for head in heads if head is not None]
    if not known or len(known) < len(heads):
        return None
    boxes = np.stack(known)
    box = np.stack([boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)])
    return box if (box[1] >= box[0]).all() and (np.abs(box) < 1e100).all() else None


def rows_in(path: str | os.PathLike[str]) -> int:
    """Points that a las, laz, npy or binary PLY file says it has, which need not be true; 0 of others."""
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".las", ".laz", ".npy", ".ply") or not path.is_file():
        return 0
    with path.open("rb") as stream:
        head = stream.read(4096)
    if kind in (".las", ".laz") and len(head) >= 375:
        recent = head[:4] == b"LASF" and head[25] >= 4
        return int.from_bytes(head[247:255] if recent else head[107:111], "little")
    found = re.search(rb"element vertex (\d+)|'shape': \((\d+),", head) if b"format ascii" not in head else None
    return 0 if found is None else int(found[1] or found[2])


def shared_lattice(paths: Sequence[Path]) -> Lattice | None:
    """The lattice that all coordinates are on, if they are all in las or laz files of one."""
    heads = [_las_header(path) for path in paths]
    known = [head for head in heads if head is not None]
    if not known or len(known) < len(heads):
        return None
    step, origin = float(known[0][0][0]), known[0][1]
    shifts = np.array([(head[1] - origin) / step for head in known])
    fits = all((head[0] == step).all() for head in known) and (np.abs(shifts - np.rint(shifts)) < 1e-3).all()
    fits = fits and np.abs(shifts).max() < FARTHEST
    return Lattice(origin.copy(), step) if fits and step > 0 else None


def _las_header(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Step (3,), origin (3,) and box (2, 3) of the coordinates of a las or laz file; None of others."""
    if path.suffix.lower() not in (".las", ".laz"):
        return None
    try:
        with path.open("rb") as stream:
            head = stream.read(227)
    except OSError as problem:
        raise InputError(f"{path} cannot be read: {problem.strerror or problem}.") from None
    if len(head) < 227:
        return None
    numbers = np.frombuffer(head, "<f8", 12, offset=131)
    return numbers[:3], numbers[3:6], numbers[6:].reshape(3, 2).T[::-1]


def row_type(tiles: Tiles, lattice: Lattice) -> np.dtype:
    """A row as it is stored: `at` on the lattice, `normal`, `view`, and attributes by their numbers in order."""
    largest = np.abs(lattice.rows(tiles.box)).max()
    fields: list[tuple] = [("at", "<i4" if largest < 2**31 - 1 else "<i8", (3,))]
    fields += [("normal", "<i2", (2,))] if tiles.shortest is not None else []
    fields += [("view", "<i4")] if tiles.viewpoints is not None else []
    for number, (name, kind) in enumerate(tiles.attributes.items()):
        fields.append((str(number), kind.newbyteorder("<"), tiles.widths[name]))
    return np.dtype(fields)


def stored(table: Table, places: Float[np.ndarray, "n 3"], kind: np.dtype) -> np.ndarray:
    """The rows of a table at places of the lattice."""
    rows = np.empty(len(places), kind)
    rows["at"] = places
    if table.normals is not None:
        rows["normal"] = in_two(table.normals)
    if table.views is not None and "view" in (kind.names or ()):
        rows["view"] = table.views
    for number, values in enumerate(table.attributes.values()):
        rows[str(number)] = values
    return rows


def in_two(normals: Float[np.ndarray, "n 3"]) -> np.ndarray:
    """Unit vectors as places (n, 2) on an octahedron laid flat (Meyer et al. 2010), to 6e-5 of the direction."""
    flat = normals / np.abs(normals).sum(axis=1, keepdims=True)
    turned = (1 - np.abs(flat[:, 1::-1])) * np.where(flat[:, :2] >= 0, 1, -1)
    return np.rint(32767 * np.where(flat[:, 2:] < 0, turned, flat[:, :2])).astype(np.int16)


def in_three(flat: np.ndarray) -> Float[np.ndarray, "n 3"]:
    """Undoes `in_two`."""
    xy = flat / 32767.0
    z = 1 - np.abs(xy).sum(axis=1, keepdims=True)
    xy = np.where(z < 0, (1 - np.abs(xy[:, ::-1])) * np.where(xy >= 0, 1, -1), xy)
    normals = np.concatenate([xy, z], axis=1)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def block_file(folder: Path, block: int) -> Path:
    """The file of a block's pages."""
    return folder / f"block_{block:06d}.bin"


def scatter(folder: Path, rows: np.ndarray, leaves: Int[np.ndarray, " n"]) -> None:
    """Append rows to what there is of the blocks that they belong to, in their order."""
    order = np.argsort(leaves.astype(np.uint16) if leaves.max(initial=0) < 1 << 16 else leaves, kind="stable")
    starts = np.flatnonzero(np.diff(leaves[order], prepend=-1))
    for part, start in zip(np.split(order, starts[1:]), starts, strict=True):
        page = packed(rows[part])
        with block_file(folder, int(leaves[order[start]])).with_suffix(".part").open("ab") as file:
            file.write(np.array([len(page), len(part)], "<u8").tobytes() + page)


def _scattered(path: Path, kind: np.dtype) -> Iterator[np.ndarray]:
    yield np.empty(0, kind)
    if path.exists():
        with path.open("rb") as file:
            while head := file.read(16):
                size, count = np.frombuffer(head, "<u8").tolist()
                yield unpacked(file.read(size), count, kind)


@dataclass(frozen=True)
class Finished:
    """What there is to know of a block's file."""

    pages: dict[str, np.ndarray]
    """A row a page: its `block`, `begin` and `size` there, `rows`, `low` and `high` on the lattice, `checksum`."""
    count: int
    doubles: int
    """Rows that were left out because others are at their places."""
    chosen: np.ndarray
    """Rows for the sample of the whole."""
    keys: Int[np.ndarray, " m"]
    """Random numbers that put the rows of the sample in order."""


def finish(folder: Path, kind: np.dtype, share: float, seed: int, block: int) -> Finished:
    """Write the file of a block from what was scattered to it, near points together, without duplicates.

    Args:
        folder: of the blocks.
        kind: the type of a row.
        share: of the rows that the sample of the whole gets.
        seed: of that choice.
        block: its number.
    """
    path = block_file(folder, block)
    rows = np.concatenate(list(_scattered(path.with_suffix(".part"), kind)))
    again = duplicates(rows["at"].astype(np.float64))
    rows = np.delete(rows, again)
    if len(rows):
        rows = rows[near_order(rows["at"].astype(np.float64))]
    parts = [rows[start : start + PAGE] for start in range(0, len(rows), PAGE)]
    data = [packed(part) for part in parts]
    with path.open("wb") as file:
        file.writelines(data)
    path.with_suffix(".part").unlink(missing_ok=True)
    sizes = np.array([len(page) for page in data], np.int64)
    pages = {
        "block": np.full(len(parts), block, np.int32),
        "begin": np.cumsum(sizes) - sizes,
        "size": sizes,
        "rows": np.array([len(part) for part in parts], np.int32),
        "low": np.array([part["at"].min(axis=0) for part in parts], np.int64).reshape(-1, 3),
        "high": np.array([part["at"].max(axis=0) for part in parts], np.int64).reshape(-1, 3),
        "checksum": np.array([zlib.crc32(page) for page in data], np.int64),
    }
    keys = _random(np.arange(len(rows), dtype=np.uint64), (seed << 32) + block)
    chosen = np.flatnonzero(keys <= np.uint64(share * (2**64 - 1025)))
    return Finished(pages, len(rows), len(again), rows[chosen], keys[chosen])


def _random(numbers: np.ndarray, stream: int) -> np.ndarray:
    """A random number of 64 bits for each number (SplitMix64, Steele et al. 2014)."""
    state = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state ^= np.uint64(stream * 0xD1B54A32D192ED03 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return state ^ (state >> np.uint64(31))
