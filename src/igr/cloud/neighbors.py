"""How dense a cloud is: everybody asks here."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

NEIGHBORS = 8
"""Points that share the area around one: the disk through the farthest of them."""


def point_areas(points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Area (in 2D length) of the surface that each point stands for, from the distance to its neighbors."""
    from scipy.spatial import KDTree

    n, d = points.shape
    k = min(NEIGHBORS, n - 1)
    distance = KDTree(points).query(points, k=k + 1, workers=-1)[0][:, k]
    return np.pi * distance**2 / k if d == 3 else 2 * distance / k
