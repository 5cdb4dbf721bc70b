"""Normals that came with a cloud: used as they are, turned, trusted less, or left out, as a sample of them shows.

Three figures decide, measured at a sample of the points:

- *angle*: median angle between a normal, whatever its sign, and the normal of the plane through its neighbors;
- *roughness*: median angle between a normal and the main direction of its neighbors' normals;
- *sides*: share of points whose normal points to the side that the orientation of bare points finds, where that is
  sure; and share of neighbors whose normals point to opposite sides.

Noise of the points alone disturbs the first and not the second, strong curvature mostly the second: only where
both are large are the normals themselves at fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from ..cloud.neighbors import Neighbors
from .estimate import Orientation, neighborhood, orient, smallest_direction

SAMPLE = 3000
"""Points whose sides are looked at."""
CENTERS = 1000
"""Points whose angle, roughness and neighbors are looked at."""
NEIGHBORS = 8
"""Neighbors that a normal is compared with."""
USELESS = 45.0
"""Degrees of angle from which on normals are left out: random ones are at 60 in space."""
NOISY = 18.0
"""Degrees of both angle and roughness from which on normals are trusted less."""
MIXED = 0.1
"""Share of neighbors on opposite sides from which on the signs are found anew: thin walls have up to 7 %."""
UNSURE = 0.8
"""Share of points with the right side below which (and above its complement) the signs are found anew."""

FEW = 60
"""Of fewer points the neighborhoods are no planes: it is only asked whether all normals point inward."""

Use = Literal["given", "turned", "re-oriented", "down-weighted", "ignored"]


@dataclass(frozen=True)
class Judgement:
    """What is done with given normals, and why."""

    use: Use
    """given: as they are; turned: all to the other side; re-oriented: each to the side found for bare points;
    down-weighted: each trusted by how well it agrees with its neighbors'; ignored: left out."""
    sentence: str
    """The same for the user, with its reason."""
    normals: Float[np.ndarray, "n d"] | None
    """What to use, None when ignored."""
    trust: Float[np.ndarray, " n"] | None
    """How far each is trusted in [0, 1], None for entirely."""
    angle: float
    """See the module's text, in degrees."""
    roughness: float
    """The same."""
    opposed: float
    """Share of neighbors on opposite sides."""
    right: float
    """Share of points on the side that is found for bare points, weighted by how surely."""


def judge_normals(
    points: Float[np.ndarray, "n d"],
    normals: Float[np.ndarray, "n d"],
    near: Neighbors | None = None,
    *,
    seed: int = 0,
) -> Judgement:
    """Decide what to do with the unit normals of a cloud (unit frame, strays left out)."""
    if len(points) < FEW:
        return _judged_as_a_whole(points, normals)
    near = near or Neighbors(points)
    angle, roughness, opposed = _local_figures(near, normals, seed)
    if angle > USELESS:
        sentence = f"left out the normals: they are {angle:.0f}° off the planes of their neighborhoods"
        return Judgement("ignored", sentence, None, None, angle, roughness, opposed, 0.5)
    found = orient(points, near) if len(points) <= SAMPLE else None
    right = _right_sides(points, normals, seed, found)
    use, trust, sentence = "given", None, ""
    if opposed > MIXED or 1 - UNSURE < right < UNSURE:
        found = found or orient(points, near)
        normals = normals * np.where((normals * found.normals).sum(1) < 0, -1.0, 1.0)[:, None]
        use, trust = "re-oriented", found.confidence
        cause = f"{opposed:.0%} of neighbors" if opposed > MIXED else f"{min(right, 1 - right):.0%} of them"
        sentence = f"found the sides of the normals anew: {cause} point to opposite sides"
    elif right < 0.5:
        use, normals, sentence = "turned", -normals, "the normals point inward; turned them around"
    if min(angle, roughness) > NOISY:
        own = _agreement(near, normals)
        trust = own if trust is None else own * trust
        use = "down-weighted" if use == "given" else use
        sentence += "; " * bool(sentence) + f"trust the normals less: neighbors differ by {roughness:.0f}°"
    return Judgement(use, sentence, normals, trust, angle, roughness, opposed, right)


def _judged_as_a_whole(points: np.ndarray, normals: np.ndarray) -> Judgement:
    inward = inward_normals(points, normals)
    sentence = "the normals point inward; turned them around" if inward else ""
    use, right = ("turned", 0.0) if inward else ("given", 1.0)
    return Judgement(use, sentence, -normals if inward else normals, None, 0.0, 0.0, 0.0, right)


def _local_figures(near: Neighbors, normals: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Angle and roughness in degrees, and the share of neighbors on opposite sides."""
    rng = np.random.default_rng([seed, 8])
    centers = rng.choice(len(near.points), min(CENTERS, len(near.points)), replace=False)
    own, size = normals[centers], max(neighborhood(near)[0], NEIGHBORS)
    index = near.of(centers, size)[1]
    planes = smallest_direction(near.points, index)[0]
    angle = np.degrees(np.arccos(np.clip(np.abs((planes * own).sum(1)), 0, 1)))
    around = normals[index[:, 1 : NEIGHBORS + 1]]
    main = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))[1][:, :, -1]
    rough = np.degrees(np.arccos(np.clip(np.abs((main * own).sum(1)), 0, 1)))
    alike = np.einsum("nkd,nd->nk", around[:, : NEIGHBORS // 2], own)
    return float(np.median(angle)), float(np.median(rough)), float((alike < 0)[np.abs(alike) > 0.5].mean())


def _right_sides(points: np.ndarray, normals: np.ndarray, seed: int, found: Orientation | None) -> float:
    """Share of normals on the side that `found`, or else the orientation of a sample, says, by its confidence."""
    chosen = np.arange(len(points))
    if found is None:
        chosen = np.random.default_rng([seed, 9]).choice(len(points), SAMPLE, replace=False)
        found = orient(points[chosen])
    if found.confidence.sum() < 0.1 * len(chosen):
        return 0.5 + 0.5 * np.sign(outwardness(points, normals) + 0.1)  # as far as the normals know themselves
    return float(np.average((normals[chosen] * found.normals).sum(1) > 0, weights=found.confidence))


def _agreement(near: Neighbors, normals: np.ndarray) -> Float[np.ndarray, " n"]:
    """Trust in each normal from its angle to the mean of its neighbors': 1 at 0°, 0.05 from 60° on."""
    mean = normals[near.table(2 * NEIGHBORS)[1]].sum(1)
    cosine = (mean * normals).sum(1) / np.maximum(np.linalg.norm(mean, axis=1), 1e-12)
    return np.clip(1 - np.degrees(np.arccos(np.clip(cosine, -1, 1))) / 60, 0.05, 1)


def inward_normals(points: Float[np.ndarray, "n d"], normals: Float[np.ndarray, "n d"]) -> bool:
    """Whether the normals of a closed or partly scanned surface point inward as a whole; see `outwardness`."""
    return outwardness(points, normals) < -0.1


def outwardness(
    points: Float[np.ndarray, "n d"],
    normals: Float[np.ndarray, "n d"],
    *,
    seed: int = 0,
) -> float:
    """How surely normals point outward: 1 for a closed surface, 0 undecided, -1 for one turned inside out.

    Twice the median winding number (Barill et al. 2018, equation 5) at points of the surface itself: half of
    what a closed surface has inside. It does not depend on where the shape's middle is, and survives holes,
    thin walls, noise and uneven sampling. A scan of nothing but the inside of a bowl is taken for the outside
    of a dome turned inside out: no more than that can be told from it.

    The sum is our own, for libigl 2.6.3's `fast_winding_number` counts the point itself as well (a body turned
    inside out: 0.05, here -0.96), takes 3.7 times the processor time, and crashes where two points coincide.

    Args:
        points: positions, any units, without strays.
        normals: unit directions.
        seed: for the choice of at most 20,000 points that are looked at.
    """
    dimension, neighbors = points.shape[1], min(8, len(points) - 1)
    order = np.random.default_rng(seed).permutation(len(points))[:20_000]
    points, normals = (points[order] - points[order].mean(axis=0)) / np.ptp(points), normals[order]
    spacing = Neighbors(points).spacing(neighbors)
    weights = (2 / np.pi * spacing if dimension == 2 else spacing**2 / 2) / neighbors  # area over half a sphere's
    lengths, heights = np.square(points).sum(axis=1), (points * normals).sum(axis=1)
    doubled = []
    for queries in np.array_split(np.arange(min(500, len(points))), 125):
        squared = np.maximum(lengths + lengths[queries, None] - 2 * points[queries] @ points.T, 1e-30)
        squared[np.arange(len(queries)), queries] = np.inf
        flux = heights - points[queries] @ normals.T
        doubled.append(flux / (squared if dimension == 2 else squared * np.sqrt(squared)) @ weights)
    return float(np.clip(np.median(np.concatenate(doubled)), -1, 1))
