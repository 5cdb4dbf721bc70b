"""Who is near whom in a cloud: one k-d tree and one table of neighbors, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from ..machine import threads

if TYPE_CHECKING:
    from scipy.spatial import KDTree

    from .frame import Frame

WIDTH = 16
"""Neighbors that the table has at least: what most questions need, found in one go."""
MANY = 10_000
"""Places that are looked up in an order that keeps neighbors together: sorting them costs less than it saves."""
LEAF = 16
"""Points that the tree compares one by one."""
KEPT = 500_000
"""Points of a cloud whose table is kept, at most: larger ones are asked little, and it takes more than they do."""
PART = 20_000
"""Points that are looked at together where each has many neighbors."""
ADJOINING = {2: 2, 3: 4}
"""The neighbor at whose distance the surface goes on, by dimension: on a curve one on each side."""
SPACED = {2: 2, 3: 6}
"""The neighbor at the distance of a cloud's spacing, by dimension."""
SHARE = 8
"""Points that share the area around one."""


def near_order(points: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " n"]:
    """Rows of points along a Z-shaped curve (Morton 1966): queries of trees in this order find their data in the
    cache, and are up to four times as quick."""
    low, high = points.min(0), points.max(0)
    cells = ((points - low) * (1023 / max((high - low).max(), 1e-300))).astype(np.int64)
    d, bits = points.shape[1], np.arange(1024)
    spread = (((bits[:, None] >> np.arange(10)) & 1) << (d * np.arange(10))).sum(1)
    return np.argsort(spread[cells] @ (1 << np.arange(d)[::-1]), kind="stable")


class Neighbors:
    """The points of a cloud and their nearest neighbors; tree and table are made when they are first needed.

    Args:
        points: positions (n, d), any frame and units.
    """

    def __init__(self, points: Float[np.ndarray, "n d"]) -> None:
        self.points = points
        self._tree: KDTree | None = None
        self._table: tuple[np.ndarray, np.ndarray] | None = None
        self._frame: Frame | None = None
        self.origin = np.zeros(self.points.shape[1])
        """Where the origin of the cloud's own coordinates lies: often the sensor."""

    def in_frame(self, frame: Frame) -> Neighbors:
        """The same cloud in the unit frame; what is known of it already is kept."""
        moved = Neighbors(frame.to_unit(self.points))
        moved._tree, moved._frame, moved.origin = self.tree, frame, frame.to_unit(self.origin[None])[0]
        if self._table is not None:
            moved._table = self._table[0] / frame.scale, self._table[1]
        return moved

    @property
    def tree(self) -> KDTree:
        """The k-d tree, in the frame that the cloud was first given in. Its cells are cut in the middle and fill
        space: as quick as others among the points, and four times as quick for places far from all of them."""
        if self._tree is None:
            from scipy.spatial import KDTree

            self._tree = KDTree(self.points, LEAF, balanced_tree=False, compact_nodes=False)
        return self._tree

    def table(self, count: int) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, "n k"]]:
        """Distances to, and rows of, each point's `count` nearest others, in fewer points all others, nearest
        first; column 0 is the point itself."""
        count = min(count, len(self.points) - 1) + 1
        if self._table is None or self._table[0].shape[1] < count:
            if len(self.points) > KEPT:
                return self.at(self.points, count)
            self._table = self.at(self.points, max(count, min(WIDTH + 1, len(self.points))))
        return self._table[0][:, :count], self._table[1][:, :count]

    def parts(self, count: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The rows of `PART` points at a time that lie near each other, all in the end, and the same of them."""
        if len(self.points) <= KEPT:
            self.table(count)
        for rows in np.array_split(near_order(self.points), max(1, len(self.points) // PART)):
            yield rows, *self.of(rows, count)

    def of(self, rows: np.ndarray, count: int) -> tuple[Float[np.ndarray, "m k"], Int[np.ndarray, "m k"]]:
        """The same for some rows only."""
        count = min(count, len(self.points) - 1) + 1
        if self._table is not None and self._table[0].shape[1] >= count:
            return self._table[0][rows, :count], self._table[1][rows, :count]
        return self.at(self.points[rows], count)

    def at(
        self, x: Float[np.ndarray, "m d"], count: int = 1, *, within: float = np.inf
    ) -> tuple[np.ndarray, np.ndarray]:
        """Distances to, and rows of, the nearest points to places.

        Args:
            x: the places.
            count: how many, at most all.
            within: look no farther; where there is nothing the distance is infinite.

        Returns:
            Distances and rows, (m, count), or (m,) for one.
        """
        scale = 1.0 if self._frame is None else self._frame.scale
        places = x if self._frame is None else self._frame.to_input(x)
        order = near_order(places) if len(places) > MANY else slice(None)
        found = self.tree.query(places[order], k=count, workers=threads(), distance_upper_bound=within * scale)
        distance, index = np.empty(np.shape(found[0])), np.empty(np.shape(found[1]), np.int64)
        distance[order], index[order] = found[0] / scale, found[1]
        return (distance, index) if count > 1 else (distance.reshape(len(x)), index.reshape(len(x)))

    def spacing(self, neighbor: int) -> Float[np.ndarray, " n"]:
        """Distance of each point to its `neighbor`-th nearest other, or to the farthest where there are fewer."""
        return self.table(neighbor)[0][:, -1]

    def areas(self) -> Float[np.ndarray, " n"]:
        """Area (in 2D length) of the surface that each point stands for, from the distance to its neighbors."""
        return disk_areas(self.table(SHARE)[0], self.points.shape[1])


def disk_areas(distance: Float[np.ndarray, "n k"], dimension: int) -> Float[np.ndarray, " n"]:
    """Area (in 2D length) that a point stands for, from the distances to its neighbors, itself first: they share
    the disk (in 2D the piece of a line) through the last of the first `SHARE`."""
    k = min(SHARE, distance.shape[1] - 1)
    return np.pi * distance[:, k] ** 2 / k if dimension == 3 else 2 * distance[:, k] / k
