"""A cloud sorted once into blocks on disk: boxes of about equally many points, read one by one.

A folder of blocks holds a file of pages for each, `sample.safetensors`, and `blocks.safetensors` (boxes, counts,
where each page stands, what it was sorted from), which is written last. Nothing in it depends on the order of the
files, or on how much was read at a time.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..cloud.clean import MINIMUM_POINTS, check_extent, many
from ..cloud.pointcloud import PointCloud
from ..cloud.select import in_box
from ..errors import InputError, OutputError
from ..machine import threads
from ..store.atomic import locked, make_folder
from ..store.pages import unpacked
from ..store.tensors import read_tensors, write_tensors
from .chunks import ROWS, Tiles
from .cut import STRAYS, Cut, counted
from .records import (
    Lattice,
    block_file,
    fine_lattice,
    finish,
    in_three,
    row_type,
    scatter,
    shared_lattice,
    source_of,
    stored,
)

logger = logging.getLogger(__name__)

INDEX, SAMPLE_FILE = "blocks.safetensors", "sample.safetensors"
SAMPLE = 1 << 20
"""Points of the sample of the whole, about; all of a smaller cloud."""
LOOKED_AT = 100_000
"""Points of it by which it is seen whether a cloud lies on a line or in a plane."""
MOST = 4
"""Blocks that are finished at a time."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """A cloud in blocks; see `sort` and `opened`."""

    folder: Path
    origin: Float[np.ndarray, " 3"]
    """Of the lattice that positions are on; what is stored is added to it."""
    step: float
    """Of that lattice, in the cloud's units: the scale of las files, else below 1e-4 of the points' spacing."""
    boxes: Float[np.ndarray, "b 2 3"]
    """Low and high corner of each block, which fill the box of the cloud: its points are from the low one on, and
    below the high one."""
    reaches: Float[np.ndarray, "b 2 3"]
    """Least and largest coordinates of the points of each block."""
    counts: Int[np.ndarray, " b"]
    """Points of each block."""
    name: str
    """What to call the cloud in messages."""
    row: np.dtype
    """A point as it is stored."""
    attributes: tuple[str, ...]
    viewpoints: Float[np.ndarray, "k 3"] | None
    source: str
    """What it was sorted from, and how, as JSON: paths, sizes and times of change of the files."""
    pages: dict[str, np.ndarray]
    """A row a page; see `Finished`."""

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def has_normals(self) -> bool:
        """Whether points have normals."""
        return "normal" in (self.row.names or ())

    def points(self, block: int) -> PointCloud:
        """The points of a block, always in the same order.

        Raises:
            InputError: its file is damaged or gone.
        """
        return self._cloud(np.concatenate([np.empty(0, self.row), *self._pages(block)]), str(block))

    def around(self, block: int, margin: float) -> PointCloud:
        """The points of a block, and behind them those of others in its box grown by `margin`, in the units of the
        cloud, on all sides; always in the same order.

        Raises:
            InputError: as `points`.
        """
        low, high = self.boxes[block] + np.array([[-margin], [margin]])
        below, above = (np.clip((side - self.origin) / self.step, -(2**62), 2**62) for side in (low, high))
        near = (self.reaches[:, 0] <= high).all(axis=1) & (self.reaches[:, 1] >= low).all(axis=1)
        parts = [np.empty(0, self.row), *self._pages(block)]
        for other in np.flatnonzero(near):
            if other != block:
                for rows in self._pages(int(other), below, above):
                    parts.append(rows[((rows["at"] >= below) & (rows["at"] <= above)).all(axis=1)])
        return self._cloud(np.concatenate(parts), f"{block} and around")

    def sample(self, count: int) -> PointCloud:
        """Points of the whole, uniformly at random, always the same: at most as many as were drawn while sorting,
        about a million."""
        tensors, _ = read_tensors(self.folder / SAMPLE_FILE)
        return self._cloud(tensors["rows"].reshape(-1).view(self.row)[:count], "sample")

    def save(self) -> None:
        """Write the index, which makes the folder one of blocks."""
        tensors = {"origin": self.origin, "step": np.array([self.step]), "boxes": self.boxes}
        tensors |= {"reaches": self.reaches, "counts": self.counts}
        tensors |= {} if self.viewpoints is None else {"viewpoints": self.viewpoints}
        tensors |= {f"page_{name}": values for name, values in self.pages.items()}
        fields = [(name, self.row[name].base.str, self.row[name].shape) for name in self.row.names or ()]
        told = {"row": json.dumps(fields), "attributes": json.dumps(self.attributes)}
        write_tensors(self.folder / INDEX, tensors, told | {"name": self.name, "source": self.source})

    def _pages(self, block: int, below: Any = -np.inf, above: Any = np.inf) -> Iterator[np.ndarray]:
        """The rows of the pages of a block that reach into a box on the lattice."""
        own = np.flatnonzero(self.pages["block"] == block)
        low, high = self.pages["low"][own], self.pages["high"][own]
        path = block_file(self.folder, block)
        try:
            with path.open("rb") as file:
                for page in own[((low <= above) & (high >= below)).all(axis=1)].tolist():
                    file.seek(int(self.pages["begin"][page]))
                    data = file.read(int(self.pages["size"][page]))
                    if zlib.crc32(data) != self.pages["checksum"][page]:
                        raise InputError(f"{path} is damaged: it is not what was sorted; sort the cloud again.")
                    yield unpacked(data, int(self.pages["rows"][page]), self.row)
        except OSError as problem:
            raise InputError(f"{path} cannot be read: {problem.strerror}; sort the cloud again.") from None

    def _cloud(self, rows: np.ndarray, part: str) -> PointCloud:
        points = Lattice(self.origin, self.step).points(rows["at"])
        normals = in_three(rows["normal"]) if self.has_normals else None
        native = [np.ascontiguousarray(rows[str(number)]) for number in range(len(self.attributes))]
        attributes = {
            name: values.astype(values.dtype.newbyteorder("="), copy=False)
            for name, values in zip(self.attributes, native, strict=True)
        }
        views = None if self.viewpoints is None else rows["view"].astype(np.int64)
        return PointCloud(points, normals, f"{self.name}, block {part}", (), attributes, self.viewpoints, views)


def sort(
    paths: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    block_points: int,
    *,
    seed: int = 0,
    columns: str | None = None,
    rows: int = ROWS,
    notify: Callable[[str], None] = logger.info,
) -> Blocks:
    """Sort the points of files that are one cloud into blocks on disk, reading them twice or a little more.

    Removed, as by `as_cloud` and told: rows with NaN or infinity, exact duplicates, and up to 5 % of points whose
    normal has no direction.

    Args:
        paths: the files; see `survey`. Their order does not matter.
        folder: where the blocks go; what is there of others is replaced.
        block_points: points of a block: at most 1.2 times as many, about .6 times at least in larger clouds.
        seed: what the sample is drawn with.
        columns: what the columns of plain npy arrays are, as for `read_points`.
        rows: read at a time; nothing depends on it but memory.
        notify: told, in one sentence each, what was noticed and done about it.

    Raises:
        InputError: files that cannot be read or used, each in one sentence; or another process sorts there.
        OutputError: the folder cannot be written to, or the disk is full. What was written is no `opened` cloud.
    """
    if block_points < MINIMUM_POINTS:
        raise InputError(f"blocks of {block_points:,} points are too small; {MINIMUM_POINTS} at least.")
    place = make_folder(folder)
    with locked(place / "lock", f"the folder of blocks {place}"):
        for old in (place / INDEX, place / SAMPLE_FILE, *place.glob("block_*.*")):
            old.unlink(missing_ok=True)
        source = source_of(paths, block_points, seed, columns)
        tiles, cut = counted(paths, block_points, columns=columns, rows=rows)
        for note in tiles.notes:
            notify(note)
        try:
            return _sorted(place, tiles, cut, rows, seed, source, notify)
        except OSError as problem:
            raise OutputError(f"{place} cannot be written to ({problem.strerror or problem})") from None


def opened(folder: str | os.PathLike[str], source: str | None = None) -> Blocks:
    """Blocks that were sorted before.

    Args:
        folder: where they are.
        source: what they must have been sorted from; see `source_of`. None: whatever it was.

    Raises:
        InputError: nothing was sorted there to its end, or something else; or files are gone or cut short.
    """
    place = Path(folder)
    if not (place / INDEX).exists():
        raise InputError(f"{place} holds no sorted cloud, or its sorting was cut short; sort the cloud again.")
    tensors, told = read_tensors(place / INDEX)
    if source is not None and told["source"] != source:
        raise InputError(f"{place} holds blocks of other files, or of other options; choose another folder.")
    pages = {name.removeprefix("page_"): values for name, values in tensors.items() if name.startswith("page_")}
    kind = np.dtype([(name, form, tuple(width)) for name, form, width in json.loads(told["row"])])
    blocks = Blocks(
        place,
        tensors["origin"],
        float(tensors["step"][0]),
        *(tensors[name] for name in ("boxes", "reaches", "counts")),
        name=told["name"],
        row=kind,
        attributes=tuple(json.loads(told["attributes"])),
        viewpoints=tensors.get("viewpoints"),
        source=told["source"],
        pages=pages,
    )
    ends = np.zeros(len(blocks), np.int64)
    np.maximum.at(ends, pages["block"], pages["begin"] + pages["size"])
    for block, end in enumerate(ends):
        path = block_file(place, block)
        if not path.exists() or path.stat().st_size != end:
            raise InputError(f"{path} is gone or cut short; sort the cloud again.")
    return blocks


def _sorted(
    place: Path, tiles: Tiles, cut: Cut, rows: int, seed: int, source: str, notify: Callable[[str], None]
) -> Blocks:
    """The blocks, written to the folder."""
    lattice = shared_lattice([tile.path for tile in tiles.tiles]) or fine_lattice(tiles.box, cut.spacing)
    cut.snap(tiles.box, lattice)
    kind = row_type(tiles, lattice)
    for chunk in tiles.chunks(rows):
        places = lattice.rows(chunk.points)
        scatter(place, stored(chunk, places, kind), cut.leaf(lattice.points(places)))
    work = partial(finish, place, kind, min(1.0, SAMPLE / max(tiles.rows, 1)), seed)
    with ThreadPoolExecutor(min(threads(), MOST)) as pool:
        done = list(pool.map(work, range(len(cut.boxes))))
    order = np.argsort(np.concatenate([one.keys for one in done]), kind="stable")
    sample = np.concatenate([one.chosen for one in done])[order]
    write_tensors(place / SAMPLE_FILE, {"rows": sample.view(np.uint8)}, {})
    pages = {name: np.concatenate([one.pages[name] for one in done]) for name in done[0].pages}
    reaches = np.tile([[[np.inf] * 3, [-np.inf] * 3]], (len(done), 1, 1))
    np.minimum.at(reaches[:, 0], pages["block"], lattice.points(pages["low"]))
    np.maximum.at(reaches[:, 1], pages["block"], lattice.points(pages["high"]))
    blocks = Blocks(
        place,
        lattice.origin,
        lattice.step,
        cut.boxes,
        reaches,
        counts=np.array([one.count for one in done], np.int64),
        name=tiles.tiles[0].path.name if len(tiles.tiles) == 1 else f"{len(tiles.tiles)} files",
        row=kind,
        attributes=tuple(tiles.attributes),
        viewpoints=tiles.viewpoints,
        source=source,
        pages=pages,
    )
    for note in _noticed(blocks, sum(one.doubles for one in done)):
        notify(note)
    blocks.save()
    return blocks


def _noticed(blocks: Blocks, doubles: int) -> list[str]:
    """What there is to say of the points of all blocks.

    Raises:
        InputError: they are too few, or lie on a line.
    """
    notes = [f"removed {many(doubles, 'duplicate point')}"] if doubles else []
    if blocks.counts.sum() < MINIMUM_POINTS:
        found = many(int(blocks.counts.sum()), "usable point")
        raise InputError(f"{blocks.name} has {found}, at least {MINIMUM_POINTS} are needed.")
    points = blocks.sample(LOOKED_AT).points
    inside = in_box(points, np.quantile(points, (STRAYS, 1 - STRAYS), axis=0))
    return notes + check_extent(points[inside] if inside.sum() > MINIMUM_POINTS else points, blocks.name)
