"""Bare points to oriented normals: directions from neighborhoods, signs from what is open to the outside.

1. *Directions*: the normal of a point is the direction in which its neighbors vary least, in a neighborhood as
   small as the noise allows.
2. *Votes*: the outside is where much of the space around sees the border (`openness.py`). For points that
   nothing sees, on the walls of closed cavities, the sheets between them and the border are counted instead.
3. *Patches*: points on one smooth patch of the surface decide together (`patches.py`).

A few points in the plane are joined to curves instead (`curves.py`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ..cloud.frame import unit_frame
from ..cloud.neighbors import Neighbors
from ..cloud.pointcloud import positions
from ..errors import usual_arithmetic
from .curves import outline_normals
from .openness import Indicator, openness_votes, outsideness
from .patches import patch_signs

if TYPE_CHECKING:
    pass

NEIGHBORHOODS = {
    2: {4: 0.204, 8: 0.306, 16: 0.373, 32: 0.413},
    3: {10: 0.148, 32: 0.233, 64: 0.263, 128: 0.283, 256: 0.298},
}
"""Neighbors that a normal is estimated from, by dimension: the first that are flat enough, or the flattest. Small
ones err more, but each differently, and a fit averages that; large ones round off edges, which no fit undoes.
Beside each, the share of the variance that its smallest direction has where points fill a ball."""
AT_RANDOM = 64
"""Neighbors, below which the errors of normals next to each other have little in common."""
ENOUGH = 100_000
"""Points that are oriented themselves; those of larger clouds follow the nearest of so many."""
FLAT = 0.25
"""Share of the variance across a neighborhood, over that of points in a ball, up to which it counts as flat."""
HIDDEN = 0.02
"""A point both of whose sides see the border in less than that share of directions is hidden."""
CAVITY = 0.01
"""Share of hidden points from which on sheets are counted for them."""
PARTNERS = {2: 4, 3: 12}
"""Neighbors that a point shares its vote with, by dimension."""
SWEEPS = 12
"""How often they share."""
ADJOINING = {2: 2, 3: 4}
"""The neighbor at whose distance the surface goes on, by dimension: on a curve one on each side."""


@dataclass(frozen=True)
class Orientation:
    """Normals of bare points, and how far they can be trusted."""

    normals: Float[np.ndarray, "n d"]
    """Outward unit normals."""
    confidence: Float[np.ndarray, " n"]
    """Trust in each normal, in [0, 1]: how clearly its sides differ and how flat its neighborhood is."""
    quality: float
    """Share of the points whose sides differ clearly; below 0.9 the result deserves a look."""
    spacing: float
    """Median distance to the sixth neighbor, in the points' units."""
    errs_at_random: bool
    """Whether noise, not curvature, is what the directions err by: neighboring normals then err differently, and a
    fit to all of them is better than each."""


@usual_arithmetic
def orient_normals(
    points: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " n"]]:
    """Outward unit normals of bare points of a closed surface or outline, and the trust in each.

    Args:
        points: positions (n, 2) or (n, 3), in any units, at least ten.

    Returns:
        Normals (n, d) and confidence (n,) in [0, 1].

    Raises:
        InputError: not such an array, NaN or infinity, or no cloud with an extent in every direction.

    Example:
        >>> import numpy as np, igr
        >>> angle = np.linspace(0, 2 * np.pi, 300, endpoint=False)
        >>> circle = np.c_[np.cos(angle), np.sin(angle)]
        >>> normals, confidence = igr.orient_normals(5 * circle + 100)
        >>> bool(np.allclose(normals, circle, atol=0.05))
        True
    """
    found = orient(positions(points))
    return found.normals, found.confidence


def orient(points: Float[np.ndarray, "n d"], near: Neighbors | None = None) -> Orientation:
    """The normals of bare points; see the module's text for the method.

    Args:
        points: positions in any frame and units; strays should have been left out.
        near: their neighbors, where they are in the unit frame and somebody has asked for them already.
    """
    if len(points) > ENOUGH:
        return _by_nearest(points)
    scale = 1.0
    if near is None:
        frame = unit_frame(points, strays=np.zeros(len(points), bool))
        near, scale = Neighbors(frame.to_unit(points)), frame.scale
    unit, d = near.points, points.shape[1]
    normals, flatness, spacing, errs_at_random = estimate_normals(near)
    neighbors = near.table(PARTNERS[d])[1][:, 1:]
    votes = _votes(unit, normals, float(np.median(near.spacing(ADJOINING[d]))), spacing)
    sign, agreement = patch_signs(unit, normals, votes, neighbors)
    normals, votes = normals * sign[:, None], votes * sign
    typical = max(float(np.median(np.abs(votes))), 1e-12)
    clear = _shared(np.clip(votes / typical, -1, 1), unit, normals, neighbors)
    sure = np.clip(1.5 * clear - 0.2, 0, 1) * agreement
    outline = outline_normals(unit) if d == 2 else None
    if outline is not None and outline[1].mean() > sure.mean():
        quality = float((outline[1] > 0.5).mean())
        return Orientation(*outline, quality, spacing * scale, errs_at_random=False)
    quality = float((clear > 0.2).mean())
    return Orientation(normals, sure * flatness, quality, spacing * scale, errs_at_random)


def _votes(points: np.ndarray, normals: np.ndarray, adjoining: float, spacing: float) -> Float[np.ndarray, " n"]:
    """Votes for the sign of each normal: from openness, and from counting sheets where nothing is open."""
    votes, seen = openness_votes(points, normals, adjoining)
    hidden = seen < HIDDEN
    if hidden.mean() > CAVITY:
        side = outsideness(points, spacing)
        counted = _difference(side, points[hidden], normals[hidden], np.array([1.2, 1.8]) * side.cell)
        votes[hidden] = (
            np.median(np.abs(votes[~hidden])) * np.clip(counted, -1, 1) if not hidden.all() else counted
        )
    return votes


def _by_nearest(points: np.ndarray) -> Orientation:
    """The orientation of a large cloud: that of enough of its points, each other one like the nearest of them."""
    chosen = np.random.default_rng(0).choice(len(points), ENOUGH, replace=False)
    found = orient(points[chosen])
    nearest = Neighbors(points[chosen]).at(points)[1]
    thinned = found.spacing * np.sqrt(ENOUGH / len(points))
    return dataclasses.replace(
        found, normals=found.normals[nearest], confidence=found.confidence[nearest], spacing=thinned
    )


def estimate_normals(
    near: Neighbors,
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " n"], float, bool]:
    """Unsigned normals of points from their neighborhoods.

    Returns:
        Unit normals (n, d) of arbitrary sign, flatness (n,) of the neighborhoods in [0, 1], the spacing (median
        distance to the sixth neighbor), and whether the normals err at random (see `Orientation`).
    """
    points, n = near.points, len(near.points)
    size, errs_at_random = neighborhood(near)
    index = near.table(size)[1]
    parts = [smallest_direction(points, rows) for rows in np.array_split(index, max(1, n // 20_000))]
    normals, variation = (np.concatenate(part) for part in zip(*parts, strict=True))
    spacing = float(np.median(near.spacing(6)))
    return normals, np.clip(1 - variation / 0.15, 0, 1), spacing, errs_at_random


def neighborhood(near: Neighbors, looked_at: int = 3000) -> tuple[int, bool]:
    """How many neighbors normals are estimated from, see `NEIGHBORHOODS`, by about so many points; and whether
    more would be flatter, as they are where noise bends the neighborhoods and not the surface."""
    points, (n, d) = near.points, near.points.shape
    sizes, shapeless = list(NEIGHBORHOODS[d]), NEIGHBORHOODS[d].values()
    index = near.of(np.arange(0, n, max(1, n // looked_at)), sizes[-1])[1]
    across = [np.median(smallest_direction(points, index[:, : size + 1])[1]) for size in sizes]
    rough = [float(share / ball) for share, ball in zip(across, shapeless, strict=True)]
    flat = [place for place, share in enumerate(rough) if share < FLAT]
    chosen = flat[0] if flat else int(np.argmin(rough))
    return sizes[chosen], sizes[chosen] < min(AT_RANDOM, sizes[-1]) and rough[chosen + 1] < rough[chosen]


def _difference(
    side: Indicator, points: np.ndarray, normals: np.ndarray, reach: np.ndarray
) -> Float[np.ndarray, " n"]:
    """Mean difference of `side` in front of and behind each point, over several distances."""
    total = np.zeros(len(points))
    for distance in reach:
        total += side(points + distance * normals) - side(points - distance * normals)
    return total / len(reach)


def _shared(
    vote: np.ndarray, points: np.ndarray, normals: np.ndarray, neighbors: np.ndarray
) -> Float[np.ndarray, " n"]:
    """The votes averaged along the surface: between neighbors that lie in each other's tangent plane and whose
    normals are parallel, up to their sign; not across a thin wall."""
    step = points[neighbors] - points[:, None]
    step /= np.maximum(np.linalg.norm(step, axis=2, keepdims=True), 1e-300)
    parallel = np.einsum("nkd,nd->nk", normals[neighbors], normals)
    tilt = np.abs(np.einsum("nkd,nd->nk", step, normals))
    weight = np.sign(parallel) * np.clip(2 * np.abs(parallel) - 1, 0, 1) * np.clip(1 - 2 * tilt, 0, 1)
    total = 1 + np.abs(weight).sum(1)
    for _ in range(SWEEPS):
        vote = (vote + np.einsum("nk,nk->n", weight, vote[neighbors])) / total
    return vote


def smallest_direction(points: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Direction of least variance of each neighborhood (rows of `index`), and its share of the variance."""
    around = points[index]
    around = around - around.mean(1, keepdims=True)
    values, vectors = np.linalg.eigh(np.swapaxes(around, 1, 2) @ around)
    return vectors[:, :, 0], np.maximum(values[:, 0], 0) / np.maximum(values.sum(1), 1e-300)
