"""Surfaces with an exact distance function, for tests of what is built on surfaces."""

import numpy as np

from igr import FAST, Surface
from igr.frame import Frame


class SphereField:
    """Exact signed distance to a sphere of half the unit around the unit frame's origin."""

    def __init__(self, dimension):
        self.dimension = dimension

    def array(self, values):
        return np.asarray(values, float)

    def distance(self, x):
        return np.linalg.norm(x, axis=1) - 0.5

    def distance_and_gradient(self, x):
        length = np.linalg.norm(x, axis=1, keepdims=True)
        return length[:, 0] - 0.5, x / np.maximum(length, 1e-12)


def sphere_surface(radius=1.0, center=(0.0, 0.0, 0.0), samples=2000):
    """A sphere (a circle where the center has two coordinates) as a fitted surface would be."""
    directions = np.random.default_rng(0).normal(size=(samples, len(center)))
    directions *= 0.5 / np.linalg.norm(directions, axis=1, keepdims=True)
    frame = Frame(np.asarray(center, float), 2.0 * radius)
    return Surface(SphereField(len(center)), frame, FAST, samples=directions, details={"name": "sphere"})
