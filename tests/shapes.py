"""Clouds and meshes of known shapes, and the short fit that is enough for the simple ones."""

import dataclasses
from pathlib import Path

import numpy as np
import trimesh

from igr.config import FAST

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Scans for development, beside the repository; tests that read them are skipped where they are missing."""

QUICK = dataclasses.replace(
    FAST,
    network=dataclasses.replace(FAST.network, levels=6, finest=48, log2_rows=17),
    sampling=dataclasses.replace(FAST.sampling, surface=1024),
    steps=250,
)
"""A coarse fit: to about 2 % of the radius of a ball."""


def directions(n, dimension=3, seed=0):
    """Unit vectors (n, d) in all directions."""
    vectors = np.random.default_rng(seed).normal(size=(n, dimension))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def sphere(n=3000, dimension=3, seed=0, radius=1.0):
    """Points of a sphere (a circle in the plane) and their normals, both (n, d)."""
    normals = directions(n, dimension, seed)
    return radius * normals, normals


def ellipsoid(n=1500, axes=(1.0, 0.8, 0.6), seed=0):
    """Points of an ellipsoid, about even, and their normals, both (n, 3)."""
    unit = directions(n, seed=seed)
    normals = unit / axes
    return unit * axes, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def torus(n=20_000, ring=0.6, tube=0.2, seed=0):
    """Points of a torus around the z axis, by the radii of its ring and tube, and their normals, both (n, 3)."""
    u, v = np.random.default_rng(seed).uniform(0, 2 * np.pi, (2, n))
    normals = np.c_[np.cos(u) * np.cos(v), np.sin(u) * np.cos(v), np.sin(v)]
    return tube * normals + ring * np.c_[np.cos(u), np.sin(u), 0 * u], normals


def blob(n=4000, seed=0):
    """Points of a body with bumps and dents by chance, and their normals, both (n, 3).

    Along a direction u the surface lies at r(u) = 1 + Σ a cos(k·u + φ), so it is where |x| - r(x/|x|) is zero.
    """
    rng = np.random.default_rng(seed)
    waves, phases, heights = rng.normal(0, 2, (6, 3)), rng.uniform(0, 2 * np.pi, 6), rng.dirichlet(np.ones(6)) / 2
    unit = directions(n, seed=seed)
    radius = 1 + np.cos(unit @ waves.T + phases) @ heights
    slope = -(np.sin(unit @ waves.T + phases) * heights) @ waves
    across = slope - (slope * unit).sum(1, keepdims=True) * unit
    normals = unit - across / radius[:, None]
    return radius[:, None] * unit, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def rotation(seed=3):
    """A rotation of space (3, 3)."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def ball(radius=1.0, center=(0.0, 0.0, 0.0), subdivisions=5):
    """The mesh of a ball."""
    return trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius).apply_translation(center)


def arrays(mesh):
    """Vertices (v, 3) and faces (f, 3) of a mesh."""
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)
