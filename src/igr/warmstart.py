"""Signed distances read off an oriented cloud: what is known of space before anything is fitted.

Far from the cloud the distance to the nearest point is the distance to the surface, and the winding number of
the oriented points tells inside from outside. Fitting these numbers first gives IGR a start without ghosts.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from .sampling import KnownSpace

NEIGHBORS = 8
"""Points that share the area around one: the disk through the farthest of them."""


def point_areas(points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Area (in 2D length) of the surface that each point stands for, from the distance to its neighbors."""
    from scipy.spatial import KDTree

    n, d = points.shape
    k = min(NEIGHBORS, n - 1)
    distance = KDTree(points).query(points, k=k + 1, workers=-1)[0][:, k]
    return np.pi * distance**2 / k if d == 3 else 2 * distance / k


def winding_number(
    points: Float[np.ndarray, "n d"], normals: Float[np.ndarray, "n d"], queries: Float[np.ndarray, "q d"]
) -> Float[np.ndarray, " q"]:
    """Generalized winding number of an oriented cloud (Barill et al. 2018): about 1 inside and 0 outside."""
    areas = point_areas(points)
    if points.shape[1] == 3:
        import igl

        return np.asarray(igl.fast_winding_number(points, normals, areas, queries))
    total = np.empty(len(queries))
    for start in range(0, len(queries), 1024):
        offset = points[None] - queries[start : start + 1024, None]
        square = np.maximum((offset * offset).sum(-1), 1e-12)
        total[start : start + 1024] = ((offset * normals).sum(-1) * areas / square).sum(1) / (2 * np.pi)
    return total


def known_space(
    points: Float[np.ndarray, "n d"],
    normals: Float[np.ndarray, "n d"],
    *,
    extent: float,
    seed: int,
    count: int = 100_000,
    margin: float = 2.0,
) -> KnownSpace:
    """Places in [-extent, extent]^d at least `margin` local spacings from the cloud, with signed distances.

    Args:
        points: the cloud, unit frame.
        normals: outward unit normals.
        extent: half the edge of the cube.
        seed: seed of the places.
        count: how many are drawn before those too close are dropped.
        margin: in spacings of the cloud: closer than that the nearest point says too little.
    """
    from scipy.spatial import KDTree

    if len(points) > 200_000:
        chosen = np.random.default_rng([seed, 4]).choice(len(points), 200_000, replace=False)
        points, normals = points[chosen], normals[chosen]
    queries = np.random.default_rng([seed, 3]).uniform(-extent, extent, (count, points.shape[1]))
    tree = KDTree(points)
    distance = tree.query(queries, workers=-1)[0]
    spacing = np.median(tree.query(points[:: max(1, len(points) // 2000)], k=7)[0][:, 6])
    inside = winding_number(points, normals, queries) > 0.5
    target = np.where(inside, -distance, distance)
    far = distance > margin * spacing
    return KnownSpace(queries[far].astype(np.float32), target[far].astype(np.float32))
