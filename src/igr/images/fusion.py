"""Many depth maps, one body: of all within the hull the one that contradicts least of what is seen, and that the
least surface encloses (Zach, Pock, Bischof 2007; here of occupancy, which makes it a minimal cut).

Each depth says that the space before it is empty and that a little behind it there is the object. Single ones are
wrong, and most places are seen by few. So the body is found as a whole: its occupancy u in [0, 1] minimizes

    ∫ ‖∇u‖ − ∫ e u,   e the votes of the depth maps for "inside" less those for "empty", in each cell

over the hull. That is convex, so nothing depends on a start. The hull's own surface costs nothing: where no depth
is known the hull stays, and a hollow opens where rays pass through it, however few see its floor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from .hull import Hull
from .stereo import DepthMap, looked_up

FAITH = 1.0
"""What the vote of one depth map for a cell weighs, in faces of a cell."""
UNKNOWN = 0.02
"""Votes for "inside" where no view tells anything."""
ROUNDS = 150
"""Steps towards the minimum."""

Grid = Bool[np.ndarray, "a b c"]


class Carved:
    """The hull without the space that depths show to be empty: signed distances, negative inside.

    Args:
        hull: the hull.
        maps: confirmed depths.
        cells: along the longest side of the hull's box.
    """

    def __init__(self, hull: Hull, maps: Sequence[DepthMap], *, cells: int = 96) -> None:
        self.hull, (low, high) = hull, hull.box
        self.low, self.cell = low, float((high - low).max()) / cells
        axes = [np.arange(low[k], high[k] + self.cell, self.cell) for k in range(3)]
        shape = tuple(map(len, axes))
        x = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        inside = hull(x, enough=self.cell) < 0.5 * self.cell
        evidence = np.zeros(len(x), np.float32)
        evidence[inside] = votes(maps, x[inside])
        inside = inside.reshape(shape)
        empty = inside & (occupancy(FAITH * evidence.reshape(shape), inside) < 0.5)
        step = float(np.median([found.step for found in maps])) / self.cell
        self.distance = self.cell * _signed(_deep(_open(empty, inside), inside, step), inside)

    def __call__(self, x: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Signed distance (n,), about right near the surface."""
        from scipy.ndimage import map_coordinates

        place = ((np.asarray(x) - self.low) / self.cell).T
        return np.maximum(self.hull(x), map_coordinates(self.distance, place, order=1, mode="nearest"))


def votes(maps: Sequence[DepthMap], x: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Views that see the object at places or right before them, less those that see through them."""
    total = np.full(len(x), UNKNOWN, np.float32)
    for found in maps:
        ahead = looked_up(found, x) / found.step
        total += np.where(ahead > -1, np.clip(-2 * ahead, -1, 1), 0)  # behind what is seen nothing is known
    return total


def occupancy(evidence: Float[np.ndarray, "a b c"], inside: Grid) -> Float[np.ndarray, "a b c"]:
    """The u in [0, 1] on the cells inside that minimizes ∫ ‖∇u‖ − ∫ evidence u, by the primal-dual steps of
    Chambolle and Pock (2011); where several do, about the largest."""
    step = np.float32(1 / np.sqrt(12))
    ends = [(slice(None),) * axis + (slice(1, None),) for axis in range(3)]
    starts = [(slice(None),) * axis + (slice(-1),) for axis in range(3)]
    within = [step * (inside[a] & inside[b]) for a, b in zip(starts, ends, strict=True)]
    u, push = inside.astype(np.float32), step * evidence
    ahead, flow = u.copy(), [np.zeros_like(u) for _ in range(3)]
    for _ in range(ROUNDS):
        length = np.zeros_like(u)
        for part, near, a, b in zip(flow, within, starts, ends, strict=True):
            part[a] += near * (ahead[b] - ahead[a])
            length += part * part
        np.maximum(np.sqrt(length, out=length), 1, out=length)
        ahead, u = u, u + push
        for part, a, b in zip(flow, starts, ends, strict=True):
            np.divide(part, length, out=part)
            u[a] += step * part[a]
            u[b] -= step * part[a]
        np.clip(u, 0, 1, out=u)
        u *= inside
        ahead = 2 * u - ahead
    return u


def _open(empty: Grid, inside: Grid) -> Grid:
    """What is empty and has a way out of the hull: no photograph shows anything else."""
    from scipy.ndimage import label

    piece = np.asarray(label(empty | ~inside)[0])  # pyright: ignore
    outside = np.unique(piece[~inside])
    return empty & np.isin(piece, outside)


def _deep(empty: Grid, inside: Grid, step: float) -> Grid:
    """What is empty and deeper in the hull than depths are wrong, with what is around it: right below its surface
    the silhouettes know better."""
    from scipy.ndimage import distance_transform_edt

    deep = empty & (np.asarray(distance_transform_edt(inside)) > step)
    return empty & (np.asarray(distance_transform_edt(~deep)) <= step + 1) if deep.any() else deep


def _signed(empty: Grid, inside: Grid) -> Float[np.ndarray, "a b c"]:
    """Signed distance, in cells, to what is empty within the hull, positive there; beyond the hull it goes on as
    it is at the nearest cell within, so that the hull's own surface is left to the hull."""
    from scipy.ndimage import distance_transform_edt

    if not empty.any():
        return np.full(empty.shape, -sum(empty.shape), np.float32)
    outward = np.asarray(distance_transform_edt(~(inside & ~empty))) - 0.5
    inward = np.asarray(distance_transform_edt(~empty)) - 0.5
    nearest = np.asarray(distance_transform_edt(~inside, return_distances=False, return_indices=True))
    return np.where(empty, outward, -inward)[tuple(nearest)].astype(np.float32)
