"""From where a scan was seen: all of its sides that were seen face there.

Where positions of scanners or cameras came along, nothing else is asked. Of an open scan without, one is looked
for: what one sensor sees is single-valued, in its image neighbors lie at about the same depth, except at a few
edges; and it samples its image evenly. Closed bodies, seen whole, are neither from anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..cloud.neighbors import ADJOINING, Neighbors

STEEP = 5.0
"""Neighbors in an image lie at another depth where depth differs by so many times their distance in it."""
SINGLE = 0.12
"""Share of neighbors at another depth up to which a cloud is one image: sheets have up to .09, bodies from .22."""
DOUBTED = 0.04
"""How much better than the vertical, which most sheets are seen along, the origin has to be; the flattest axis by
half of it."""
EVEN, CLEARLY = 0.7, 0.2
"""Spread of the log spacing in the image of a sensor (regular ones, thinned at random: .46; terrain from the
origin of its coordinates: .76 and more), and by how much it is less than along any axis."""
VERY_EVEN = 0.25
"""Spread that no other view leaves."""
FAR = 60.0
"""In radii of the cloud: an origin farther away is that of a map."""
SAMPLE, THINNED = 15_000, 6000
"""Points that the evenness is measured at; and the most that depths are compared of, spread evenly."""
FACING = 0.4
"""Cosine to the view from which on it says all of the side."""


@dataclass(frozen=True)
class View:
    """Where a cloud was seen from."""

    name: str
    """For the user: what the normals point to."""
    directions: Float[np.ndarray, "n d"]
    """Unit vectors from each point to there."""

    def votes(self, normals: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """For the sign of each normal, in [-1, 1]."""
        cosine = (normals * self.directions).sum(1)
        return np.sign(cosine) * np.clip(np.abs(cosine) / FACING, 0, 1)


def told(sight: Float[np.ndarray, "n d"]) -> View:
    """The view from known positions: `sight` are unit vectors from the points to them."""
    return View("where they were seen from", sight)


def seen_from(points: Float[np.ndarray, "n 3"], origin: Float[np.ndarray, " 3"]) -> View | None:
    """The view that an open cloud is the image of; None where it is of none.

    Args:
        points: the cloud, unit frame.
        origin: of the coordinates that the cloud came in, in the same frame: often the sensor.
    """
    axes = np.linalg.eigh(np.cov(points.T))[1]
    flat = axes[:, 0] * (1.0 if axes[:, 0] @ origin >= 0 else -1.0)
    up = np.eye(3)[2]
    sensor = _toward(points, origin)
    along = {"up": np.tile(up, (len(points), 1)), "flat": np.tile(flat, (len(points), 1))}
    from_origin = View("the origin of the coordinates, where the sensor seems to be", sensor)
    if np.linalg.norm(origin) < FAR:
        spread = _spread(_on_a_sphere(points, origin))
        others = min(_spread(_across(points, axis)) for axis in (up, flat))
        if spread < VERY_EVEN or (spread < EVEN and spread < others - CLEARLY):
            return from_origin
    thinned = _thinned(points)
    spacing = float(np.median(Neighbors(thinned).spacing(ADJOINING[3])))
    depth = {
        "up": _gaps(_across(thinned, up), thinned @ up, spacing),
        "flat": _gaps(_across(thinned, flat), thinned @ flat, spacing) + DOUBTED / 2,
        "origin": _gaps(
            _on_a_sphere(thinned, origin), np.linalg.norm(thinned - origin, axis=1), spacing, near=True
        )
        + DOUBTED,
    }
    best = min(depth, key=lambda name: depth[name])
    if depth[best] > SINGLE:
        return None
    if best == "origin":
        return from_origin
    return View("up" if best == "up" else "one side", along[best])


def _toward(points: np.ndarray, place: np.ndarray) -> Float[np.ndarray, "n d"]:
    step = place - points
    return step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-12)


def _across(points: np.ndarray, axis: np.ndarray) -> Float[np.ndarray, "n d"]:
    """The image along an axis."""
    return points - (points @ axis)[:, None] * axis


def _on_a_sphere(points: np.ndarray, place: np.ndarray) -> Float[np.ndarray, "n d"]:
    """The image from a place."""
    return -_toward(points, place)


def _spread(image: np.ndarray) -> float:
    """Spread (10th to 90th percentile) of the log distance to the eighth neighbor in an image."""
    if len(image) > SAMPLE:
        image = image[np.random.default_rng(0).choice(len(image), SAMPLE, replace=False)]
    distance = np.log(np.maximum(Neighbors(image).spacing(8), 1e-9))
    return float(np.subtract(*np.quantile(distance, [0.9, 0.1])))


def _gaps(image: np.ndarray, depth: np.ndarray, spacing: float, *, near: bool = False) -> float:
    """Share of the neighbors in an image that lie at another depth."""
    distance, index = Neighbors(image).table(8)
    lateral = distance[:, 1:]
    if near:
        lateral = lateral * np.minimum(depth[:, None], depth[index[:, 1:]])
    apart = np.abs(depth[index[:, 1:]] - depth[:, None])
    return float((apart > STEEP * np.maximum(lateral, spacing / 2)).mean())


def _thinned(points: np.ndarray) -> Float[np.ndarray, "m d"]:
    """One point of each cell of a grid, so that noise along the view is small beside the spacing."""
    if len(points) <= THINNED:
        return points
    rng, cell = np.random.default_rng(0), float(np.linalg.norm(np.ptp(points, axis=0))) / 40
    shuffled = points[rng.permutation(len(points))]
    chosen = shuffled
    for _ in range(12):
        cells = np.floor((shuffled - shuffled.min(0)) / cell).astype(np.int64)
        chosen = shuffled[np.unique(cells, axis=0, return_index=True)[1]]
        if len(chosen) > THINNED / 2:
            break
        cell *= 0.8
    return chosen
