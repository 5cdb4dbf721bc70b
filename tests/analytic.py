"""Surfaces with an exact distance function, for tests of what is built on surfaces."""

import numpy as np
from shapes import sphere

from igr import FAST, Surface
from igr.frame import Frame


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


class SphereField:
    """Exact signed distance to a sphere of half the unit around the unit frame's origin."""

    def __init__(self, dimension):
        self.dimension = dimension

    def array(self, values):
        return np.asarray(values, float)

    def distance(self, x):
        return to_sphere(x, 0.5)

    def distance_and_gradient(self, x):
        length = np.linalg.norm(x, axis=1, keepdims=True)
        return length[:, 0] - 0.5, x / np.maximum(length, 1e-12)


def sphere_surface(radius=1.0, center=(0.0, 0.0, 0.0), samples=2000):
    """A sphere (a circle where the center has two coordinates) as a fitted surface would be."""
    points, _ = sphere(samples, len(center), radius=0.5)
    frame = Frame(np.asarray(center, float), 2.0 * radius)
    return Surface(SphereField(len(center)), frame, FAST, samples=points, details={"name": "sphere"})
