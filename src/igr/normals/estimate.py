"""Bare points to oriented normals: directions from neighborhoods, signs from what is open to the outside.

1. *Directions*: the normal of a point is the direction in which its neighbors vary least (`directions.py`).
2. *Votes*: the outside is where much of the space around sees the border (`openness.py`). For points that
   nothing sees, on the walls of closed cavities, the sheets between them and the border are counted instead.
   On an open sheet both sides are seen: there only what is hidden votes, or the sensor, where all was seen from
   one place. Where it is known from where points were seen, that alone votes (`views.py`).
3. *Patches*: points on one smooth patch of the surface decide together (`patches.py`).
4. What nothing decided faces up, where it lies flat, else the more open side.

A few points in the plane are joined to curves instead (`curves.py`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..cloud.frame import unit_frame
from ..cloud.neighbors import Neighbors
from ..cloud.pointcloud import positions
from ..errors import usual_arithmetic
from .curves import outline_normals
from .directions import estimate_directions
from .openness import Indicator, closedness, decisive, openness, outsideness
from .patches import Signs, patch_signs
from .views import seen_from, told

ENOUGH = 100_000
"""Points that are oriented themselves; those of larger clouds follow the nearest of so many."""
HIDDEN = 0.02
"""A point both of whose sides see the border in less than that share of directions is hidden."""
CAVITY = 0.01
"""Share of hidden points from which on sheets are counted for them."""
SWEEPS = 12
"""How often neighbors share their votes."""
ONE_SIDED = 0.5
"""The more open side is outside where the sides of most points differ by more than that share of its openness, as
on bodies and around corners (thin or flat sheets have up to .45); or where it is the same all along a surface that
turns: that share of the differences counts, each less the flatter its piece (sheets to .33, catenoids .99)."""
FILLED = 0.7
"""Thickness from which on there is no surface to be seen: clouds with 3 % noise have up to .7, those of thin
parts more, points that fill a cube .75 and more."""
WEAK = 0.1
"""On open clouds: mean vote of a patch or piece up to which it is undecided."""
UNVOTED = 0.8
"""Confidence of normals whose side is only that of their neighbors."""


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
    closed: float
    """Closedness of the cloud, see `openness.closedness`."""
    faces: str
    """What the sides of an open cloud face, for the user; empty for closed ones."""
    seen: bool
    """Whether they face positions that came along."""
    errs_at_random: bool
    """Whether noise, not curvature, is what the directions err by: neighboring normals then err differently, and a
    fit to all of them is better than each."""
    thickness: float
    """How thick neighborhoods are at least, over those of points that fill a ball."""

    def sentence(self) -> str:
        """What there is to say to the user."""
        told = f"its normals are estimated, {self.quality:.0%} of them with a clear side"
        if self.faces:
            told += f"; {'' if self.seen else 'the cloud is open, and '}they face {self.faces}"
        if self.thickness > FILLED:
            told += (
                "; the points fill a volume or a thick layer rather than lie on a surface: neighborhoods of any "
                f"size are {min(self.thickness, 1):.0%} as thick as if there were none"
            )
        return told


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
        InputError: not such an array, NaN or infinity, or points that all lie on one line.

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


def orient(
    points: Float[np.ndarray, "n d"],
    near: Neighbors | None = None,
    sight: Float[np.ndarray, "n d"] | None = None,
) -> Orientation:
    """The normals of bare points; see the module's text for the method.

    Args:
        points: positions in any frame and units; strays should have been left out.
        near: their neighbors, where they are in the unit frame and somebody has asked for them already.
        sight: unit vectors from the points to where they were seen from; None where that is not known.
    """
    scale = 1.0
    if near is None:
        frame = unit_frame(points, strays=np.zeros(len(points), bool))
        near, scale = Neighbors(points).in_frame(frame), frame.scale
    if len(points) > ENOUGH:
        return _by_nearest(near, scale, sight)
    unit, d = near.points, points.shape[1]
    normals, flatness, neighbors, spacing, adjoining, errs_at_random, thickness = estimate_directions(near)
    front, back = openness(unit, normals, adjoining)
    is_open = sight is not None or not _one_sided(unit, normals, front, back, neighbors)
    view = None if sight is None else told(sight)
    if view is None and d == 3 and is_open:
        view = seen_from(unit, near.origin)
    if view is not None:
        votes = view.votes(normals)
    else:
        votes = decisive(front, back) if is_open else _votes(unit, normals, front, back, spacing)
    found = patch_signs(unit, normals, votes, neighbors, weak=WEAK * is_open, links_tell=is_open or errs_at_random)
    sign, faces = found.sign, "" if view is None else view.name
    if is_open and view is None:
        sign, faces = _undecided(found, normals, votes, front - back)
    normals, votes = normals * sign[:, None], votes * sign
    typical = max(float(np.median(np.abs(votes))), 1e-12)
    clear = _shared(np.clip(votes / typical, -1, 1), unit, normals, neighbors)
    sure, decided = np.clip(1.5 * clear - 0.2, 0, 1) * found.agreement, clear > 0.2
    if is_open and view is None:
        decided = np.abs(votes) > WEAK
        sure = np.where(decided, np.clip(0.6 + 0.4 * votes, 0, 1), UNVOTED)
    outline = outline_normals(unit) if d == 2 and sight is None else None
    if outline is not None and outline[1].mean() > sure.mean():
        normals, sure, decided, flatness = outline[0], outline[1], outline[1] > 0.5, np.ones(len(unit))
        errs_at_random = False
    quality = float(decided.mean())
    closed = closedness(front, back)
    return Orientation(
        normals,
        sure * flatness,
        quality,
        spacing * scale,
        closed,
        faces,
        sight is not None,
        errs_at_random,
        thickness,
    )


def _one_sided(
    points: np.ndarray, normals: np.ndarray, front: np.ndarray, back: np.ndarray, neighbors: np.ndarray
) -> bool:
    """Whether openness tells the outside, see `ONE_SIDED`."""
    more = front - back
    if np.median(np.abs(more) / np.maximum(np.maximum(front, back), 1e-12)) > ONE_SIDED:
        return True
    linked = patch_signs(points, normals, 0 * more, neighbors)
    piece = np.unique(linked.piece, return_inverse=True)[1]
    sides = np.stack([np.bincount(piece, axis * linked.sign) for axis in normals.T], axis=1)
    flat = np.linalg.norm(sides, axis=1) / np.bincount(piece)
    held = (1 - flat) * np.abs(np.bincount(piece, more * linked.sign))
    return bool(held.sum() > ONE_SIDED * np.abs(more).sum())


def _undecided(
    found: Signs, normals: np.ndarray, votes: np.ndarray, opener: np.ndarray
) -> tuple[Float[np.ndarray, " n"], str]:
    """The signs, those of pieces that no vote decided by what else there is to go by; and what they face."""
    piece = np.unique(found.piece, return_inverse=True)[1]
    count, up = np.bincount(piece), normals[:, -1]
    undecided = np.abs(np.bincount(piece, votes * found.sign)) < WEAK * count
    flat = np.bincount(piece, np.abs(up)) > 0.5 * count
    side = np.where(flat, np.bincount(piece, up * found.sign), np.bincount(piece, opener * found.sign))
    turned = np.where(undecided & (side < 0), -1.0, 1.0)
    upward = float(count[undecided & flat].sum() / len(votes))
    return found.sign * turned[piece], "up" if upward > 0.5 else "the more open side"


def _votes(
    points: np.ndarray, normals: np.ndarray, front: np.ndarray, back: np.ndarray, spacing: float
) -> Float[np.ndarray, " n"]:
    """Votes for the sign of each normal: from openness, and from counting sheets where nothing is open."""
    votes, hidden = front - back, np.maximum(front, back) < HIDDEN
    if hidden.mean() > CAVITY:
        side = outsideness(points, spacing)
        counted = _difference(side, points[hidden], normals[hidden], np.array([1.2, 1.8]) * side.cell)
        votes[hidden] = (
            np.median(np.abs(votes[~hidden])) * np.clip(counted, -1, 1) if not hidden.all() else counted
        )
    return votes


def _by_nearest(near: Neighbors, scale: float, sight: np.ndarray | None) -> Orientation:
    """The orientation of a large cloud: that of enough of its points, each other one like the nearest of them."""
    chosen = np.random.default_rng(0).choice(len(near.points), ENOUGH, replace=False)
    few = Neighbors(near.points[chosen])
    few.origin = near.origin
    found = orient(few.points, few, None if sight is None else sight[chosen])
    nearest = few.at(near.points)[1]
    thinned = found.spacing * scale * np.sqrt(ENOUGH / len(near.points))
    return dataclasses.replace(
        found, normals=found.normals[nearest], confidence=found.confidence[nearest], spacing=thinned
    )


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
