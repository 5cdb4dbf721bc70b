"""What an oriented cloud tells about the space right beside it: the distance, to second order.

The surface between two points with normals n and m bends evenly from one to the other. So a place x whose foot has
the normal m is (x − p)·(n + m) / (1 + n·m) away from the surface through p, up to the third order of its distance
to p along the surface; with n alone, the plane through p, up to the second. m is the mean of the normals around.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float

from ..cloud.neighbors import Neighbors
from ..cloud.pointcloud import PointCloud
from ..config import Config, SamplingConfig
from .far import MARGIN, far_space, inside_of
from .sampling import Known, KnownSpace

AROUND = 4
"""Points that tell the distance of a place: those about one cell of a surface in space."""
PLACES, EACH = 100_000, 4
"""Places drawn at most, and for each point: a run asks for about as many."""
NARROW = 0.5
"""In distances to the `neighbor`-th point: how much farther than the nearest, or how far along the surface,
another point still has a say; and how far the surface passes from the points."""
AGREED = 0.1
"""In the same distances: what the points around a place may differ by and still tell its distance. Points of a
smooth surface differ by a small share of what they are apart, those of two surfaces by as much as that."""


class Sides(Protocol):
    """What tells the side of places that are not too close to the surface, as an `Indicator` does."""

    @property
    def cell(self) -> float:
        """How close that is, about."""
        ...

    def __call__(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """A value (n,) at places (n, d), negative inside."""
        ...


def known_around(
    cloud: PointCloud, trust: Float[np.ndarray, " n"] | None, config: Config, near: Neighbors
) -> Known:
    """What a cloud in the unit frame tells about the space around it, as far as the objective asks for it.

    Args:
        cloud: points and normals; without these nothing is known.
        trust: weight of each normal in [0, 1]; all 1 when None.
        config: which terms act, and where they look.
        near: the neighbors of the points.
    """
    weights, sampling, seed = config.objective, config.sampling, config.seed
    anywhere = bool(weights.warm_start or weights.far_sign)
    beside = bool(weights.near_distance) and cloud.dimension == 3  # along a curve, a dozen neighbors reach far
    if cloud.normals is None or weights.kind != "igr" or not (anywhere or beside):
        return Known()
    inside = inside_of(cloud.points, cloud.normals, near, seed=seed, trust=trust)
    far = far_space(cloud.points, near, inside, extent=sampling.extent, seed=seed) if anywhere else None
    if not beside:
        return Known(far=far)
    told = near_space(cloud.points, cloud.normals, near, inside, config=sampling, seed=seed)
    return Known(told if len(told.points) else None, far)


def near_space(
    points: Float[np.ndarray, "n d"],
    normals: Float[np.ndarray, "n d"],
    near: Neighbors,
    inside: Sides,
    *,
    config: SamplingConfig,
    seed: int,
) -> KnownSpace:
    """Random places beside the cloud, as the paper draws them, with signed distances; without those whose distance
    the points around do not tell, and those so far from the surface that all points together know the side,
    and know it otherwise. Few points are wide apart: on the other side of a limb, or past an edge, the nearest of
    them tell a wrong distance.

    Args:
        points: the cloud, unit frame.
        normals: outward unit normals.
        near: the neighbors of the points.
        inside: tells the side: the indicator of the cloud, or a coarse fit.
        config: how far the places lie from the points.
        seed: seed of the places.
    """
    rng = np.random.default_rng([seed, 10])
    rows = rng.integers(0, len(points), min(EACH * len(points), PLACES))
    reach = config.spread * near.of(rows, config.neighbor)[0][:, -1:]
    places = points[rows] + reach * rng.standard_normal((len(rows), points.shape[1]))
    told, known, sure = distances(places, points, normals, near, neighbor=config.neighbor)
    known &= (abs(told) < MARGIN * inside.cell) | ((inside(places) > 0) == (told > 0))
    return KnownSpace(places[known].astype(np.float32), told[known].astype(np.float32), sure[known])


def distances(
    places: Float[np.ndarray, "m d"],
    points: Float[np.ndarray, "n d"],
    normals: Float[np.ndarray, "n d"],
    near: Neighbors,
    *,
    neighbor: int,
) -> tuple[Float[np.ndarray, " m"], Bool[np.ndarray, " m"], Bool[np.ndarray, " m"]]:
    """Signed distances of places (m,) from the oriented points around each of them, whether those tell one, and
    whether it is sure: they agree, and one lies close to the foot of the place. How dense they are there, the
    distance to the `neighbor`-th says.

    Points on both sides of an edge, or of a thin wall, differ on the distance. Where they have the place on the
    same side and it is farther from all of them than the surface passes, that bounds it: at a distance r of the
    nearest, and the surface up to s from it, √(r² − s²). In such corners nothing else keeps a ghost away."""
    distance, index = near.at(places, min(AROUND, len(points)))
    step, n = places[:, None] - points[index], normals[index]
    height = (step * n).sum(2)
    along = np.sqrt(np.maximum(distance**2 - height**2, 0))
    dense = np.maximum(near.of(index[:, 0], neighbor)[0][:, -1:], 1e-12)
    width = NARROW * dense
    weight = np.exp(-(((distance - distance[:, :1]) / width) ** 2) - (along / width) ** 2) + 1e-9
    weight /= weight.sum(1, keepdims=True)
    mean = np.einsum("mk,mkd->md", weight, n)
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)
    alike = np.maximum(1 + np.einsum("mkd,md->mk", n, mean), 0.5)
    told = (height + np.einsum("mkd,md->mk", step, mean)) / alike
    known = (weight * told).sum(1)
    differ = np.sqrt((weight * (told - known[:, None]) ** 2).sum(1))
    agreed, clear = differ < AGREED * dense[:, 0], distance[:, 0] > width[:, 0]
    side = np.sign(height).mean(1)
    known = np.where(agreed, known, side * np.sqrt(np.maximum(distance[:, 0] ** 2 - width[:, 0] ** 2, 0)))
    return known, agreed | ((abs(side) == 1) & clear), agreed & (along[:, 0] < width[:, 0])
