"""Surfaces with an exact distance function, for tests of what is built on surfaces."""

import numpy as np
from shapes import sphere

from igr import FAST, Surface
from igr.cloud.frame import Frame


def to_sphere(x, radius=0.7):
    """Signed distance (n,) of the places x (n, d) to a sphere around the origin."""
    return np.linalg.norm(x, axis=1) - radius


def to_torus(x, ring=0.6, tube=0.2):
    """Signed distance (n,) to a torus around the z axis."""
    return np.hypot(np.hypot(x[:, 0], x[:, 1]) - ring, x[:, 2]) - tube


def to_box(x, half=(0.6, 0.5, 0.4)):
    """Signed distance (n,) to a box around the origin, by half its edges."""
    q = np.abs(x) - half
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(1), 0)


class AnalyticField:
    """A field of the unit frame by formulas for its signed distance and gradient."""

    def __init__(self, dimension, distance, gradient):
        self.dimension, self.distance, self.gradient = dimension, distance, gradient

    def array(self, values):
        return np.asarray(values, float)

    def distance_and_gradient(self, x):
        return self.distance(x), self.gradient(x)


def sphere_surface(radius=1.0, center=(0.0, 0.0, 0.0), samples=2000):
    """A sphere (a circle where the center has two coordinates) as a fitted surface would be."""
    field = AnalyticField(
        len(center),
        lambda x: to_sphere(x, 0.5),
        lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12),
    )
    return _fitted(field, radius, center, samples, "sphere")


def plane_surface(radius=1.0, center=(0.0, 0.0, 0.0), samples=2000):
    """The plane across the x axis through the center, as if it were fitted to the sphere around it."""
    across = np.eye(len(center))[0]
    field = AnalyticField(len(center), lambda x: x @ across, lambda x: np.tile(across, (len(x), 1)))
    return _fitted(field, radius, center, samples, "plane")


def _fitted(field, radius, center, samples, name):
    points, _ = sphere(samples, len(center), radius=0.5)
    frame = Frame(np.asarray(center, float), 2 * radius)
    return Surface(field, frame, FAST, samples=points, details={"name": name})
