"""The unit frame that everything is fitted in, and the stray points that must not decide it.

Clouds come in millimeters or kilometers, far from the origin, with points that belong to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from .neighbors import Neighbors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NEIGHBORS = 12
"""Nearest points whose distance says how dense a cloud is at a place."""

SPARSE = 4.0
"""Points this many times sparser than the median are looked at more closely."""

PART = 40
"""Fewest points of a surface among scattered ones."""

SAMPLE = 300_000
"""Larger clouds are judged by so many of their points, and by those that lie apart from them."""


@dataclass(frozen=True, eq=False)
class Frame:
    """The similarity between the input's frame and the unit frame: unit = (x - center) / scale.

    >>> frame = Frame(np.array([10.0, 20.0]), 4.0)
    >>> frame.to_unit(np.array([[12.0, 20.0]]))
    array([[0.5, 0. ]])
    """

    center: Float[np.ndarray, " d"]
    """The unit frame's origin, in the input's frame and units."""
    scale: float
    """Length of one unit in the input's units; distances in the unit frame times this are in input units."""

    def __repr__(self) -> str:
        return f"Frame(center={np.asarray(self.center).tolist()}, scale={float(self.scale)!r})"

    def to_unit(self, x: Float[np.ndarray, "*batch d"]) -> Float[np.ndarray, "*batch d"]:
        """Positions of the input's frame in the unit frame, float64."""
        return (np.asarray(x, np.float64) - self.center) / self.scale

    def to_input(self, u: Float[np.ndarray, "*batch d"]) -> Float[np.ndarray, "*batch d"]:
        """Positions of the unit frame in the input's frame, float64; undoes `to_unit` to rounding."""
        return np.asarray(u, np.float64) * self.scale + self.center


def sides(points: Float[np.ndarray, "n d"]) -> str:
    """The sides of the box of some points, to read.

    >>> sides(np.array([[0.0, 0.0], [61.0, 2.5]]))
    '61 × 2.5'
    """
    return " × ".join(f"{side:.4g}" for side in np.ptp(points, axis=0))


def unit_frame(
    points: Float[np.ndarray, "n d"], *, radius: float = 0.9, strays: Bool[np.ndarray, " n"] | None = None
) -> Frame:
    """The frame in which a cloud lies around the origin and reaches to `radius`.

    The center is the middle of the box of the points, and the farthest of them from it is at `radius`; strays
    have no say.

    Args:
        points: positions, any units.
        radius: where the farthest point comes to lie.
        strays: what `stray_points` says of the points, if it has been asked already.
    """
    kept = points[~(stray_points(points) if strays is None else strays)]
    center = (kept.min(axis=0) + kept.max(axis=0)) / 2
    reach = np.sqrt(np.square(kept - center).sum(axis=1).max())
    return Frame(center, float(reach / radius))


def stray_points(points: Float[np.ndarray, "n d"], near: Neighbors | None = None) -> Bool[np.ndarray, " n"]:
    """Points that lie apart from everything else, singly or scattered through space: nothing to fit.

    A point is a stray if it is four times sparser than the median of the cloud (distance to the 12th
    neighbor), and no surface accounts for that:

    - equally sparse points around it form no surface either: there are few, or they fill space (intrinsic
      dimension by Levina and Bickel 2004) and surround the cloud on all sides, or others do; and
    - it is no outpost of the denser surface beside it: it stands off its plane, or far away.

    Meant to leave clean clouds alone, sparse, uneven or in parts, at the price of missing some: it finds single
    strays and small clumps far away in any cloud, and scattered points from about 5,000 points on.
    """
    if len(points) <= SAMPLE:
        return _stray_points(near or Neighbors(points))
    chosen = np.zeros(len(points), bool)
    chosen[np.random.default_rng(0).choice(len(points), SAMPLE, replace=False)] = True
    few = Neighbors(points[chosen])
    spacing = few.of(np.arange(min(10_000, len(few.points))), 1)[0][:, 1]
    apart = few.at(points[~chosen])[0] > 2 * SPARSE * np.median(spacing)
    chosen[np.flatnonzero(~chosen)[apart]] = True
    strays = np.zeros(len(points), bool)
    strays[chosen] = _stray_points(Neighbors(points[chosen]))
    return strays


def _stray_points(near: Neighbors) -> np.ndarray:
    points = near.points
    strays = np.zeros(len(points), bool)
    if len(points) <= 2 * NEIGHBORS:
        return strays
    distances, neighbors = near.table(NEIGHBORS)
    spacing = distances[:, -1]
    sparse = np.flatnonzero(spacing > SPARSE * np.median(spacing))
    if len(sparse) == 0 or np.median(spacing) == 0:
        return strays
    around = neighbors[sparse, 1:]
    thinness = spacing[sparse] / np.median(spacing[around], axis=1)
    lonely = (thinness > 5) & (_standing_off(points[sparse], points[around]) | (thinness > 12))
    rest = np.delete(points, sparse, axis=0)
    strays[sparse] = _without_company(points[sparse], spacing[sparse], lonely, rest.min(axis=0), rest.max(axis=0))
    return strays if strays.mean() < 0.25 else np.zeros(len(points), bool)


def _standing_off(points: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Whether points (n, d) stand more than 45° off the planes of the points around them (n, k, d)."""
    middle = around.mean(axis=1)
    spread = around - middle[:, None]
    axes = np.linalg.eigh(np.einsum("nki,nkj->nij", spread, spread))[1]
    offset = points - middle
    height = np.abs(np.einsum("ni,ni->n", offset, axes[:, :, 0]))
    return height > 0.7 * np.linalg.norm(offset, axis=1)


def _without_company(
    points: np.ndarray, spacing: np.ndarray, lonely: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Which of the sparse points no surface of equally sparse points accounts for.

    `lonely` says that no denser surface does; `low` and `high` are the box of the other points.
    """
    from scipy.sparse.csgraph import connected_components

    links, company, inverse_dimension = _neighborhoods(points, spacing)
    groups = connected_components(links, directed=False)[1]
    surface, solid = 1 / (points.shape[1] - 1), 1 / points.shape[1]
    locally = inverse_dimension[company].mean(axis=1)[company].mean(axis=1)
    fills = locally < (2 * surface + solid) / 3
    strays, aside, scatter = lonely.copy(), np.zeros(len(points), bool), False
    for group in np.flatnonzero(np.bincount(groups) > NEIGHBORS):
        members = groups == group
        start, stop = np.quantile(points[members], (0.05, 0.95), axis=0)
        if (np.minimum(stop, high) - np.maximum(start, low) < 0.7 * (high - low)).any():
            aside |= members
        elif members.sum() >= PART and inverse_dimension[members].mean() < (surface + solid) / 2:
            scatter = True
            strays[members] = fills[members]
    strays[aside] = scatter & fills[aside]
    if scatter:
        kept = np.flatnonzero(~strays)
        parts = connected_components(links[kept][:, kept], directed=False)[1]
        strays[kept] = np.bincount(parts)[parts] < PART
    return strays


def _neighborhoods(points: np.ndarray, spacing: np.ndarray) -> tuple[csr_array, np.ndarray, np.ndarray]:
    """Which points are near each other for their spacing (n, n), each one's neighbors, and 1 / dimension."""
    from scipy.sparse import csr_array

    n = len(points)
    count = min(16, n - 1)
    if count < 2:
        return csr_array((n, n), dtype=np.int8), np.zeros((n, 1), int), np.zeros(n)
    distances, neighbors = (part[:, 1:] for part in Neighbors(points).table(count))
    linked = distances <= np.maximum(spacing[:, None], spacing[neighbors])
    start, stop = np.nonzero(linked)[0], neighbors[linked]
    links = csr_array((np.ones(len(start), np.int8), (start, stop)), shape=(n, n))
    growth = np.log(distances[:, -1:] / np.maximum(distances[:, :-1], 1e-300))
    return links, neighbors, growth.mean(axis=1)


def strays_left_out(count: int, total: int) -> str:
    """What to say of stray points among so many."""
    if count == 1:
        return "left out 1 stray point, far from all others"
    return f"left out {count:,} stray points ({count / total:.2%}), scattered apart from the surface"
