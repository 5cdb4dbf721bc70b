"""How a cloud is cut into boxes of about equally many points, found by counting them in cells: a k-d tree.

Counting takes a reading of all points. Where cells are too coarse for a good cut (a stray point far away has made
the box large, or the cloud is much denser in places), they are counted again there, in finer ones.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from .chunks import ROWS, Tiles, survey
from .records import Lattice, declared

CELLS = 1 << 22
"""Cells that are counted at once."""
FEWEST = 1 << 12
"""Cells of a part of the tree that is counted again, at least."""
UNEVEN = 0.15
"""A cut may miss its place by so many points, as a share of what a leaf may hold, for each leaf before it."""
OVER = 1.2
"""Leaves may hold so many times the points that were asked for."""
STRAYS = 0.005
"""This share of the points at each end has no say in which side is the longest."""
PASSES = 8
"""Times that the points are counted, at most."""


class _Grid:
    """Cells of one size in a box, and how many points are in each; what lies outside counts in the nearest."""

    def __init__(self, box: Float[np.ndarray, "2 3"], cells: int) -> None:
        whole = max(float((box[1] - box[0]).max()), 1e-12 * float(np.abs(box).max()), 1e-100)
        side = np.maximum((box[1] - box[0]) / whole, 1e-12)
        shape, size = np.ones(3, np.int64), 1.0
        for axes in (np.argsort(side)[i:] for i in range(3)):  # sides shorter than a cell are one
            size = float((side[axes].prod() / cells) ** (1 / len(axes)))
            shape[axes] = np.maximum(1, np.ceil(side[axes] / size * (1 - 1e-9)))
            if side[axes[0]] >= size:
                break
        self.low, self.size = box[0], whole * np.where(shape > 1, size, side)
        self.counts = np.zeros(shape, np.int64)

    def see(self, points: Float[np.ndarray, "n 3"]) -> None:
        top = np.array(self.counts.shape) - 1
        cells = np.clip((points - self.low) / self.size, 0, top).astype(np.int64)
        places = np.ravel_multi_index(tuple(cells.T), self.counts.shape)
        self.counts += np.bincount(places, minlength=self.counts.size).reshape(self.counts.shape)

    def place(self, axis: int, cell: int) -> float:
        """Where a layer of cells begins."""
        return float(self.low[axis] + cell * self.size[axis])


@dataclass
class _Node:
    """A box of the tree: cut in two by a plane, or a leaf."""

    axis: int = 0
    at: float = np.inf
    parts: tuple[_Node, _Node] | None = None
    number: int = -1
    """Of a leaf, among the leaves."""
    spacing: float = np.inf
    """Of the points of a leaf, about, if they lie on a surface."""


@dataclass
class Cut:
    """The tree, while it grows: show it all points, let it `grow`, and again until it is done."""

    box: Float[np.ndarray, "2 3"]
    block_points: int
    top: _Node = field(default_factory=_Node)
    passes: int = 0
    boxes: Float[np.ndarray, "b 2 3"] = field(init=False)
    """Of the leaves, once it is grown: they fill the box, each with its low sides and without its high ones."""

    def __post_init__(self) -> None:
        self._open = [(self.top, _Grid(self.box, CELLS))]
        self._finish()

    def see(self, points: Float[np.ndarray, "n 3"]) -> None:
        """Count points."""
        if self.passes == 0:
            self._open[0][1].see(points)
            return
        leaves = self.leaf(points)
        for node, grid in self._open:
            own = points[leaves == node.number]
            if len(own):
                grid.see(own)

    def grow(self) -> bool:
        """Cut where there are counts; whether it is done, or the points must be counted again."""
        self.passes += 1
        again: list[tuple[_Node, Float[np.ndarray, "2 3"]]] = []
        for node, grid in self._open:
            self._divide(node, grid, [(0, length) for length in grid.counts.shape], again)
        cells = max(CELLS // max(len(again), 1), FEWEST)
        self._open = [(node, _Grid(box, cells)) for node, box in again]
        self._finish()
        return not again or self.passes >= PASSES

    def _divide(self, node: _Node, grid: _Grid, view: list[tuple[int, int]], again: list) -> None:
        counts = grid.counts[tuple(slice(*reach) for reach in view)]
        total = int(counts.sum())
        leaves = -(-total // self.block_points)
        marginals = [counts.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
        reaches = [_reach(marginal, total) for marginal in marginals]
        sides = [(stop - start) * size for (start, stop), size in zip(reaches, grid.size, strict=True)]
        axis = int(np.argmax(sides))
        node.spacing = float(np.sqrt(np.prod(np.sort(sides)[1:]) / max(total, 1)))
        if total <= OVER * self.block_points:
            return
        share = (leaves // 2) / leaves
        below = np.cumsum(marginals[axis])[:-1]
        beside = np.abs(below - share * total)
        if len(below) == 0 or beside.min() > UNEVEN * self.block_points * (leaves // 2):
            low = [grid.place(i, view[i][0] + max(reaches[i][0] - 1, 0)) for i in range(3)]
            high = [grid.place(i, view[i][0] + reaches[i][1] + 1) for i in range(3)]
            finer = _Grid(np.array([low, high]), FEWEST)
            if (finer.size[axis] < 0.9 * grid.size[axis] or len(below) == 0) and self.passes < PASSES:
                again.append((node, np.array([low, high])))
                return
            if len(below) == 0 or not 0 < below[np.argmin(beside)] < total:
                return  # they are all in one place
        cell = view[axis][0] + int(np.argmin(beside)) + 1
        node.axis, node.at, node.parts = axis, grid.place(axis, cell), (_Node(), _Node())
        for part, reach in zip(node.parts, ((view[axis][0], cell), (cell, view[axis][1])), strict=True):
            self._divide(part, grid, [*view[:axis], reach, *view[axis + 1 :]], again)

    def _finish(self) -> None:
        """Number the leaves, neighbors one behind the other, and find their boxes."""
        boxes: list[np.ndarray] = []
        waiting = [(self.top, self.box)]
        while waiting:
            node, box = waiting.pop()
            if node.parts is None:
                node.number = len(boxes)
                boxes.append(box)
                continue
            below, above = box.copy(), box.copy()
            below[1, node.axis] = above[0, node.axis] = node.at
            waiting += [(node.parts[1], above), (node.parts[0], below)]
        self.boxes = np.stack(boxes)

    def leaf(self, points: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
        """The number of the leaf that each point is in; the leaves at the border go on beyond the box."""
        found = np.zeros(len(points), np.int32)
        waiting: list[tuple[_Node, np.ndarray | slice]] = [(self.top, slice(None))]
        while waiting:
            node, rows = waiting.pop()
            if node.parts is None:
                found[rows] = node.number
                continue
            above = points[rows, node.axis] >= node.at
            if above.all() or not above.any():
                waiting.append((node.parts[int(above.all())], rows))
                continue
            for part, side in zip(node.parts, (~above, above), strict=True):
                waiting.append((part, np.flatnonzero(side) if isinstance(rows, slice) else rows[side]))
        return found

    @property
    def spacing(self) -> float:
        """Of the points where they are closest, about, if they lie on a surface."""
        return min(leaf.spacing for leaf in self._leaves())

    def _leaves(self) -> list[_Node]:
        found, waiting = [], [self.top]
        while waiting:
            node = waiting.pop()
            waiting += node.parts or ()
            found += [] if node.parts else [node]
        return found

    def snap(self, box: Float[np.ndarray, "2 3"], lattice: Lattice) -> None:
        """Take this box of all points, and move its sides and all planes to the middle between places of a
        lattice, so that no place is on a plane."""
        rows = lattice.rows(box) + [[-0.5], [0.5]]
        self.box = lattice.points(rows)
        waiting = [self.top]
        while waiting:
            node = waiting.pop()
            if node.parts is not None:
                origin = lattice.origin[node.axis]
                row = np.clip(np.rint((node.at - origin) / lattice.step + 0.5) - 0.5, *rows[:, node.axis])
                node.at = float(row * lattice.step + origin)
                waiting += node.parts
        self._finish()


def _reach(marginal: Int[np.ndarray, " n"], total: int) -> tuple[int, int]:
    """First and last layer, and one, of all but the strays."""
    below = np.cumsum(marginal)
    start, stop = np.searchsorted(below, (STRAYS * total, (1 - STRAYS) * total), side="left")
    return int(start), int(stop) + 1


def counted(
    paths: Sequence[str | os.PathLike[str]], block_points: int, *, columns: str | None = None, rows: int = ROWS
) -> tuple[Tiles, Cut]:
    """The files surveyed, and the cut of their points: they are read once where their headers tell the box, else
    twice, and again where points must be counted more finely.

    Raises:
        InputError: as `survey`.
    """
    box = declared(paths)
    cut = None if box is None else Cut(box, block_points)
    tiles = survey(paths, rows=rows, columns=columns, see=None if cut is None else cut.see)
    near = 1e-6 * np.ptp(tiles.box, axis=0).max()
    if cut is not None and np.allclose(cut.box, tiles.box, rtol=0, atol=near):
        done = cut.grow()
    else:
        cut, done = Cut(tiles.box, block_points), False
    while not done:
        for chunk in tiles.chunks(rows):
            cut.see(chunk.points)
        done = cut.grow()
    return tiles, cut
