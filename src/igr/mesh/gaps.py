"""How far places are from a cloud, told in the spacing of its points there."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ..cloud.neighbors import Neighbors
from ..normals.directions import local_spacing

AROUND = 8
"""Samples that tell the spacing of a place."""


def gaps(
    x: Float[np.ndarray, "n d"],
    near: Neighbors,
    edge: float = 0.0,
    spacing: Float[np.ndarray, " s"] | None = None,
) -> Float[np.ndarray, " n"]:
    """How far places are from the nearest sample, in the spacing of the samples around.

    Args:
        x: places.
        near: the samples and their neighbors, in the same frame.
        edge: least spacing: of the vertices of a mesh, whose cells may be larger.
        spacing: of the samples around each (`spacing_around`), where somebody has asked for it already.
    """
    distance, nearest = near.at(x)
    around = spacing_around(near) if spacing is None else spacing
    return distance / np.maximum(around[nearest], max(edge, 1e-12))


def spacing_around(near: Neighbors) -> Float[np.ndarray, " n"]:
    """The spacing of the samples around each of them."""
    return np.median(local_spacing(near)[near.table(AROUND)[1]], axis=1)
