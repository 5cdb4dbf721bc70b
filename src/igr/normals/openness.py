"""From where the outside is seen: which side of bare points faces outward, and whether the cloud is closed.

Space is cut into voxels, and along many directions it is asked which free voxels see the border past the occupied
ones. The share of directions that do is high outside and low inside, also of scans with holes and thin walls.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float

from ..machine import threads

VOXEL_SPACINGS = 1.5
"""Edge of a voxel in spacings of the cloud."""
VOXELS = {2: 512, 3: 128}
"""Most voxels along an edge of the grid, by dimension."""
BORDER = 6
"""Free voxels around the cloud."""
ROTATIONS = {2: 8, 3: 4}
"""Times that the cloud is turned and asked again, by dimension."""
ONE_SIDED = 0.35
"""A point has a side as long as its other one is open by less than this share of it."""
SEEN = 0.04
"""Openness from which on a side is seen by the outside."""
SHEET = 0.5
"""Closedness below which a cloud is open, see `closedness`."""
REACH = (1.0, 2.0)
"""Distances from a point, in voxels, at which its two sides are compared."""


def openness(
    points: Float[np.ndarray, "n d"], normals: Float[np.ndarray, "n d"], spacing: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """How open the space is in front of each point, and behind it.

    Args:
        points: positions, any frame.
        normals: unit normals of any sign.
        spacing: median distance to the neighbors that adjoin (see `orientation.ADJOINING`).

    Returns:
        The openness (n,) in [0, 1] of the side that the normal points to, and of the other one.
    """
    d, middle = points.shape[1], points.mean(0)

    def sides(turn: np.ndarray) -> np.ndarray:
        """The openness of both sides at each distance (r, 2, n) after one rotation."""
        at, across = (points - middle) @ turn, normals @ turn
        low, high = at.min(0), at.max(0)
        cell = max(VOXEL_SPACINGS * spacing, float((high - low).max()) / (VOXELS[d] - 2 * BORDER))
        cells = int(np.ceil((high - low).max() / cell)) + 2 * BORDER
        place = (at - (low + high) / 2) / cell + cells / 2
        seen = _openness(place, cells)
        found = [[_read(seen, place + side * reach * across) for side in (1, -1)] for reach in REACH]
        return np.array(found, float)

    with ThreadPoolExecutor(threads()) as pool:  # numpy lets others compute meanwhile
        front, back = np.concatenate(list(pool.map(sides, _rotations(d)))).mean(0)
    return front, back


def decisive(front: Float[np.ndarray, " n"], back: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Votes in [-1, 1] for the side of each point: as strong as its other side is hidden. What is open to both
    sides says nothing, and what sees nothing on either."""
    least, most = np.minimum(front, back), np.maximum(front, back)
    hidden = np.clip(1 - least / np.maximum(most, 0.02) / ONE_SIDED, 0, 1)
    return np.sign(front - back) * hidden * np.clip(most / SEEN, 0, 1)


def closedness(front: Float[np.ndarray, " n"], back: Float[np.ndarray, " n"]) -> float:
    """Share of the points with a side from which nothing outside is seen: .8 to 1 for bodies (sparse ones from
    .63), up to .3 for sheets."""
    unseen = np.maximum(front, back) < SEEN
    return float(((np.abs(decisive(front, back)) > 0.3) | unseen).mean())


def _rotations(d: int) -> Iterator[np.ndarray]:
    """No rotation, and random ones, always the same."""
    rng = np.random.default_rng(0)
    yield np.eye(d)
    for _ in range(ROTATIONS[d] - 1):
        yield np.linalg.qr(rng.normal(size=(d, d)))[0]


def _openness(place: np.ndarray, cells: int) -> np.ndarray:
    """Share of the directions in which each voxel sees the border, smoothed; 0 where the points are."""
    from scipy.ndimage import binary_dilation, gaussian_filter

    d = place.shape[1]
    occupied = np.zeros((cells,) * d, bool)
    occupied[tuple(place.astype(int).T)] = True
    free = ~np.asarray(binary_dilation(occupied), bool)
    seen = np.zeros(free.shape, np.float32)
    directions = [step for step in product((-1, 0, 1), repeat=d) if any(step)]
    for step in directions:
        for slab, visible in _visible(free, step):
            seen[slab] += visible
    return gaussian_filter(seen / len(directions), 1.0)


def _read(grid: np.ndarray, place: np.ndarray) -> np.ndarray:
    from scipy.ndimage import map_coordinates

    return map_coordinates(grid, place.T - 0.5, order=1)


def _visible(free: Bool[np.ndarray, ...], step: tuple[int, ...]) -> Iterator[tuple[tuple, np.ndarray]]:
    """Slab by slab along `step`, which voxels see the border that they are approached from."""
    axis = next(k for k, direction in enumerate(step) if direction)
    cells = free.shape[axis]
    sideways = step[:axis] + step[axis + 1 :]
    to = tuple(slice(max(o, 0), cells + min(o, 0)) for o in sideways)
    source = tuple(slice(max(-o, 0), cells + min(-o, 0)) for o in sideways)
    visible = np.ones((cells,) * len(sideways), bool)
    for index in range(cells) if step[axis] > 0 else range(cells - 1, -1, -1):
        slab = (slice(None),) * axis + (index,)
        here = np.ones_like(visible)
        here[to] = visible[source]
        visible = here & free[slab]
        yield slab, visible


SHEET_VOXELS = {2: (64, 400), 3: (48, 200)}
"""Fewest and most voxels along an edge of the grid that sheets are counted on, by dimension."""
OPEN, CLOSED = 0.4, 0.04
"""Seeing the border in more than the first share of directions is outside, in less than the second not."""


def outsideness(points: Float[np.ndarray, "n d"], spacing: float, *, bound: float = 1.1) -> Indicator:
    """How much each place of [-bound, bound]^d is outside what the points enclose, in [-1, 1], from counting the
    runs of occupied voxels between it and the border, in many directions.

    Args:
        points: positions within [-bound, bound]^d.
        spacing: median distance to the sixth neighbor.
        bound: half the edge of the grid's cube.
    """
    from scipy.ndimage import gaussian_filter

    d = points.shape[1]
    cells = int(np.clip(2 * bound / (spacing), *SHEET_VOXELS[d]))
    occupied = np.zeros((cells,) * d, bool)
    occupied[tuple(np.clip(((points + bound) / (2 * bound) * cells).astype(int), 0, cells - 1).T)] = True
    odd, escaped = np.zeros((2, *occupied.shape), np.float32)
    directions = [step for step in product((-1, 0, 1), repeat=d) if any(step)]
    for step in directions:
        for slab, runs in _runs(occupied, step):
            odd[slab] += runs & 1
            escaped[slab] += runs == 0
    side = 1 - 2 * odd / len(directions)
    escaped /= len(directions)
    side = np.where(escaped > OPEN, 1.0, np.where(escaped < CLOSED, np.minimum(side, 0.0), side))
    free = (~occupied).astype(np.float32)
    smooth = gaussian_filter(side * free, 1.0) / np.maximum(gaussian_filter(free, 1.0), 1e-3)
    edge = bound * (cells - 1) / cells  # values live at the middles of the voxels
    return Indicator(np.pad(smooth, (0, 1), mode="edge").astype(np.float32), edge + edge / (cells - 1))


def _runs(occupied: Bool[np.ndarray, ...], step: tuple[int, ...]) -> Iterator[tuple[tuple, np.ndarray]]:
    """Slab by slab along `step`, the number of runs of occupied voxels between each voxel and the border it came
    from, the voxel itself not counted."""
    axis = next(k for k, direction in enumerate(step) if direction)
    order = range(occupied.shape[axis]) if step[axis] > 0 else range(occupied.shape[axis] - 1, -1, -1)
    sideways = step[:axis] + step[axis + 1 :]
    count = np.zeros(occupied.shape[:axis] + occupied.shape[axis + 1 :], np.uint8)
    within = np.zeros(count.shape, bool)
    for place in order:
        slab = (slice(None),) * axis + (place,)
        count, within = _shifted(count, sideways), _shifted(within, sideways)
        here = occupied[slab]
        yield slab, count
        count = count + (here & ~within)
        within = here


def _shifted(values: np.ndarray, offset: tuple[int, ...]) -> np.ndarray:
    """`values` moved by `offset`, zeros coming in from the border."""
    out = np.zeros_like(values)
    to = tuple(slice(max(o, 0), n + min(o, 0)) for o, n in zip(offset, values.shape, strict=True))
    source = tuple(slice(max(-o, 0), n + min(-o, 0)) for o, n in zip(offset, values.shape, strict=True))
    out[to] = values[source]
    return out


@dataclass(frozen=True)
class Indicator:
    """A smoothed indicator function on a grid over [-bound, bound]^d: negative inside, positive outside."""

    values: np.ndarray
    bound: float

    @property
    def cell(self) -> float:
        """Edge of a cell."""
        return 2 * self.bound / len(self.values)

    def __call__(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Value at `x`, multilinear between the grid's corners."""
        from scipy.ndimage import map_coordinates

        return map_coordinates(self.values, ((x + self.bound) / self.cell).T, order=1, mode="nearest")

    def membrane(self) -> Float[np.ndarray, "m d"]:
        """The places on the grid's edges where the sign changes."""
        places = []
        for axis in range(self.values.ndim):
            values = np.moveaxis(self.values, axis, 0)
            rows = np.argwhere((values[1:] > 0) != (values[:-1] > 0))
            before, after = values[tuple(rows.T)], values[(rows[:, 0] + 1, *rows.T[1:])]
            index = rows.astype(float)
            index[:, 0] += before / (before - after)
            places.append(np.insert(index[:, 1:], axis, index[:, 0], axis=1))
        return np.concatenate(places) * self.cell - self.bound
