"""Shapes that the tests of shape spaces share."""

import dataclasses

import numpy as np
import shapes

from igr.config import FAST_SPACE, LatentConfig, MLPConfig

SMALL = dataclasses.replace(
    FAST_SPACE,
    network=MLPConfig(width=24, layers=3, skip=(2,), beta=30.0, radius=0.5),
    sampling=dataclasses.replace(FAST_SPACE.sampling, surface=64),
    optimizer=dataclasses.replace(FAST_SPACE.optimizer, initial=1e-2),
    steps=250,
    latents=LatentConfig(size=4, enters="weights", shapes=4, rate=2.0, spread=0.1),
)

AXES = [np.array([0.5 + 0.5 * t, 0.7, 0.8]) for t in np.linspace(0, 1, 9)]
"""Half axes of nine ellipsoids."""


def ellipsoid(axes, count, seed=0):
    """A scan of an ellipsoid: points and normals (n, 6)."""
    return np.hstack(shapes.ellipsoid(count, axes, seed))
