"""Files that are the tiles of one cloud, read some rows at a time: never a whole one in memory.

What columns mean, in how many bits colors are and what is left aside is decided once, for all chunks of all tiles,
by a first reading of them all (`survey`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ..cloud.clean import LOST_NORMALS, many
from ..cloud.read import read_chunks
from ..errors import InputError
from ..formats.lidar import KEPT, LIDAR_FORMATS, eight_bits
from ..formats.table import Table, as_colors

ROWS = 1 << 20
"""Rows of a chunk."""
FAR = 10.0
"""Tiles that are farther apart than so many times their size are told of."""
NO_LENGTH = 27
"""A normal shorter than the median one by so many powers of two has no direction."""
EXPONENTS = 2200
"""Powers of two that a number can have, and a place for those that are none."""


class _Column:
    """What the chunks of a tile hold in an attribute."""

    def __init__(self, values: np.ndarray) -> None:
        self.dtype, self.width = values.dtype, values.shape[1:]
        self.first, self.varies = values[:1].copy(), False
        self.reach = (np.inf, -np.inf)

    def see(self, values: np.ndarray, *, colors: bool) -> None:
        self.dtype = np.promote_types(self.dtype, values.dtype)
        self.varies = self.varies or bool((values != self.first).any())
        if colors and values.dtype != np.uint8:
            numbers = np.nan_to_num(values.astype(np.float64), posinf=-1)
            self.reach = min(self.reach[0], numbers.min()), max(self.reach[1], numbers.max())


@dataclass
class Tile:
    """A file of the cloud, and what the first reading found in it."""

    path: Path
    rows: int = 0
    missing: int = 0
    """Rows with NaN or infinity."""
    box: Float[np.ndarray, "2 3"] = field(default_factory=lambda: np.array([[np.inf] * 3, [-np.inf] * 3]))
    columns: dict[str, _Column] = field(default_factory=dict)
    chunks: dict[str, int] = field(default_factory=dict)
    """How many chunks had each attribute."""
    lengths: np.ndarray | None = None
    """How many normals have a length of each power of two; those of no length last."""
    viewpoints: Float[np.ndarray, "k 3"] | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_lidar(self) -> bool:
        """Whether columns in which all rows are the same are left out, as of las files, which have many."""
        return self.path.suffix.lower() in LIDAR_FORMATS

    def see(self, chunk: Table) -> np.ndarray:
        """Take note of a chunk; its points that were measured."""
        if chunk.points.shape[1] != 3:
            raise InputError(f"{self.path.name} lies in the plane; only clouds in space are cut into blocks.")
        there = np.asarray(np.isfinite(chunk.points).all(axis=1))
        points = chunk.points if there.all() else chunk.points[there]
        self.rows += len(there)
        self.missing += len(there) - len(points)
        low, high = points.min(axis=0, initial=np.inf), points.max(axis=0, initial=-np.inf)
        self.box = np.stack([np.minimum(self.box[0], low), np.maximum(self.box[1], high)])
        for name, values in chunk.attributes.items():
            self.columns.setdefault(name, _Column(values)).see(values, colors=name == "colors")
            self.chunks[name] = self.chunks.get(name, 0) + len(values)
        if self.lengths is None:
            self.lengths = np.zeros(EXPONENTS, np.int64)
            self.viewpoints, self.notes = chunk.viewpoints, chunk.notes if self.is_lidar else ()
        self.lengths += np.bincount(_exponents(chunk)[there], minlength=EXPONENTS)
        return points


def _exponents(chunk: Table) -> np.ndarray:
    """The power of two of each normal's length, from 0; the last place of `EXPONENTS` for those of no length."""
    if chunk.normals is None:
        return np.full(len(chunk.points), EXPONENTS - 1)
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(chunk.normals, axis=1)
    usable = np.isfinite(lengths) & (lengths > 0)
    return np.where(usable, np.frexp(np.where(usable, lengths, 1))[1] + 1100, EXPONENTS - 1)


@dataclass(frozen=True)
class Tiles:
    """The files of one cloud, and what holds for all chunks of them; made by `survey`."""

    tiles: tuple[Tile, ...]
    """In the order of their paths."""
    attributes: dict[str, np.dtype]
    """Types of the attributes that all tiles have."""
    widths: dict[str, tuple[int, ...]]
    shortest: int | None
    """Power of two from which on a normal has a direction; None where the cloud has no normals."""
    in_bytes: dict[tuple[bool, str], Callable[[np.ndarray], Any] | None]
    """What makes bytes of colors, by whether a scanner's format stores them and in which type."""
    notes: tuple[str, ...]
    """What was decided, a phrase each, for the user."""
    columns: str | None = None

    @property
    def rows(self) -> int:
        """Rows of all files, those without a point too."""
        return sum(tile.rows for tile in self.tiles)

    @property
    def box(self) -> Float[np.ndarray, "2 3"]:
        """Low and high corner of all points."""
        boxes = np.stack([tile.box for tile in self.tiles])
        return np.stack([boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)])

    @property
    def viewpoints(self) -> Float[np.ndarray, "k 3"] | None:
        """From where the points were seen, of all tiles."""
        known = [tile.viewpoints for tile in self.tiles if tile.viewpoints is not None]
        return np.concatenate(known) if known else None

    def chunks(self, rows: int = ROWS) -> Iterator[Table]:
        """All points, tile after tile, at most so many rows at a time: finite, normals of unit length or None,
        the same attributes in the same types everywhere.

        Raises:
            InputError: a file cannot be read to its end, or is no longer as it was surveyed.
        """
        seen = 0
        for tile in self.tiles:
            done = 0
            for chunk in read_chunks(tile.path, rows, self.columns):
                done += len(chunk.points)
                if done > tile.rows or not set(self.attributes) <= set(chunk.attributes):
                    break
                yield self._decided(tile, chunk, seen)
            if done != tile.rows:
                raise InputError(f"{tile.path.name} has changed while it was read.")
            seen += 0 if tile.viewpoints is None else len(tile.viewpoints)

    def _decided(self, tile: Tile, chunk: Table, seen: int) -> Table:
        """A chunk by what was decided for all; `seen` is the number of viewpoints of the tiles before."""
        keep = np.asarray(np.isfinite(chunk.points).all(axis=1))
        withheld = chunk.attributes.get("withheld") if tile.is_lidar else None
        if withheld is not None and tile.columns["withheld"].varies:
            keep &= withheld == 0
        if self.shortest is not None:
            exponents = _exponents(chunk)
            keep &= (exponents >= self.shortest) & (exponents < EXPONENTS - 1)
        attributes = {}
        for name, dtype in self.attributes.items():
            values = chunk.attributes[name]
            if name == "colors":
                convert = self.in_bytes[tile.is_lidar, values.dtype.str]
                values = values if convert is None else convert(values)
            attributes[name] = values.astype(dtype, copy=False)
        views = chunk.views
        if self.viewpoints is not None:
            views = np.full(len(keep), -1) if views is None else np.where(views < 0, -1, views + seen)
        table = Table(chunk.points, None if self.shortest is None else chunk.normals, attributes, views=views)
        table = table if keep.all() else table.rows(keep)
        if table.normals is None:
            return table
        lengths = np.linalg.norm(table.normals, axis=1, keepdims=True)
        return replace(table, normals=table.normals / lengths)


def survey(
    paths: Sequence[str | os.PathLike[str]],
    *,
    rows: int = ROWS,
    columns: str | None = None,
    see: Callable[[Float[np.ndarray, "n 3"]], None] | None = None,
) -> Tiles:
    """Read all files once, and decide what holds for all of them.

    Args:
        paths: las, laz, e57, pcd, npy or binary PLY files, in any order: the tiles of one cloud, in one frame.
        rows: of a chunk; nothing depends on it but memory.
        columns: what the columns of plain npy arrays are, as for `read_points`.
        see: is shown the points of each chunk.

    Raises:
        InputError: no files; one that is damaged or of a format that is only read whole; or no points.
    """
    tiles = [Tile(Path(path)) for path in sorted(str(path) for path in paths)]
    if not tiles:
        raise InputError("there is no file to read.")
    for tile in tiles:
        with np.errstate(all="ignore"):  # infinities and NaN are dealt with later
            for chunk in read_chunks(tile.path, rows, columns):
                points = tile.see(chunk)
                if see is not None and len(points):
                    see(points)
    return _agreed(tiles, columns)


def _agreed(tiles: list[Tile], columns: str | None) -> Tiles:
    if not any(tile.rows - tile.missing for tile in tiles):
        raise InputError(f"{tiles[0].path.name} has no usable point.")
    notes = list(dict.fromkeys(note for tile in tiles for note in tile.notes))
    if missing := sum(tile.missing for tile in tiles):
        notes.append(f"removed {many(missing, 'row')} with NaN or infinity")
    shortest, told = _shortest_normal(tiles)
    in_bytes = _in_bytes(tiles)
    names = _shared_names(tiles) - ({"colors"} if None in in_bytes.values() else set())
    kinds = {name: [tile.columns[name] for tile in tiles] for name in sorted(names)}
    attributes = {name: np.result_type(*(one.dtype for one in kind)) for name, kind in kinds.items()}
    attributes |= {"colors": np.dtype(np.uint8)} if "colors" in attributes else {}
    widths = {name: kind[0].width for name, kind in kinds.items()}
    notes += told + [f"left {name} aside, which not all files have" for name in _lacked(tiles)]
    if None in in_bytes.values():
        notes.append("left the colors aside: they are not numbers from 0 to 255, or to 1")
    if any(tile.is_lidar and "withheld" in tile.columns and tile.columns["withheld"].varies for tile in tiles):
        notes.append("left out the points marked as withheld")
    notes += _far_apart(tiles)
    return Tiles(tuple(tiles), attributes, widths, shortest, in_bytes, tuple(notes), columns)


def _shortest_normal(tiles: list[Tile]) -> tuple[int | None, list[str]]:
    """From which power of two on normals have a direction (None: there are none), and what there is to say."""
    lengths = np.stack([tile.lengths for tile in tiles if tile.lengths is not None])
    there = lengths[:, :-1].any(axis=1)
    if not there.all():
        return None, ["left the normals aside, which not all files have"] if there.any() else []
    every = lengths.sum(axis=0)
    median = int(np.searchsorted(np.cumsum(every[:-1]), every[:-1].sum() / 2))
    shortest, total = max(median - NO_LENGTH, 0), int(every.sum())
    lost = int(every[-1] + every[:shortest].sum())
    if lost > LOST_NORMALS * total:
        return None, [f"left the normals aside, as {lost:,} of {total:,} have no direction"]
    return shortest, [f"removed {many(lost, 'point')} whose normal has no direction"] if lost else []


def _in_bytes(tiles: list[Tile]) -> dict[tuple[bool, str], Callable[[np.ndarray], Any] | None]:
    """What makes bytes of colors; those that are stored alike are decided alike. None where they are no colors."""
    known = [(tile.is_lidar, column) for tile in tiles if (column := tile.columns.get("colors")) is not None]
    made: dict[tuple[bool, str], Callable[[np.ndarray], Any] | None] = {}
    for lidar, kind in {(lidar, column.dtype.str) for lidar, column in known}:
        alike = [column.reach for by, column in known if (by, column.dtype.str) == (lidar, kind)]
        low, high = min(reach[0] for reach in alike), max(reach[1] for reach in alike)
        convert = partial(as_colors, reach=(low, high))
        if lidar and kind != "|u1":
            convert = partial(eight_bits, top=int(high))
        made[lidar, kind] = None if convert(np.zeros((0, 3), kind)) is None else convert
    return made


def _shared_names(tiles: list[Tile]) -> set[str]:
    """The attributes of all rows of all tiles, but those in which scanners' files say the same of all."""
    whole = [{name for name, count in tile.chunks.items() if count == tile.rows} for tile in tiles]
    names = {name for name in set.intersection(*whole) if len({tile.columns[name].width for tile in tiles}) == 1}
    if not all(tile.is_lidar for tile in tiles):
        return names
    return {name for name in names if name in KEPT or _says_something(name, tiles)} - {"withheld"}


def _says_something(name: str, tiles: list[Tile]) -> bool:
    """Whether an attribute differs anywhere."""
    columns = [tile.columns[name] for tile in tiles if name in tile.columns]
    return any(one.varies or bool((one.first != columns[0].first).any()) for one in columns)


def _lacked(tiles: list[Tile]) -> list[str]:
    """Attributes that say something and that some of the tiles lack."""
    names = sorted({name for tile in tiles for name in tile.columns} - _shared_names(tiles) - {"withheld"})
    return [name for name in names if any(name not in t.columns for t in tiles) and _says_something(name, tiles)]


def _far_apart(tiles: list[Tile]) -> list[str]:
    """What there is to say of a tile that lies far from all others."""
    known = [tile for tile in tiles if np.isfinite(tile.box).all()]
    boxes = np.stack([tile.box for tile in known])
    size = np.linalg.norm(boxes[:, 1] - boxes[:, 0], axis=1)
    for number, box in enumerate(boxes):
        gap = np.linalg.norm(np.maximum(0, np.maximum(boxes[:, 0] - box[1], box[0] - boxes[:, 1])), axis=1)
        gap[number] = np.inf
        near = int(np.argmin(gap))
        if 0 < FAR * max(size[number], size[near]) < gap[near] < np.inf:
            return [
                f"{known[number].path.name} lies {gap[near]:.4g} from {known[near].path.name}, the nearest of the "
                f"other files, and is {size[number]:.4g} large: are they in one frame, one coordinate system?"
            ]
    return []
