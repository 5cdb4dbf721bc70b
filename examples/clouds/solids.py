"""Analytic solids with their exact signed distance: truths for tests and examples. Lengths have no unit."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from igr.mesh.triangles import Mesh, sample_mesh

TUBES = {"torus": 0.35, "knot": 0.28}
"""Radius of the tube around a closed curve."""

BOX = np.array([1.0, 0.7, 0.5])
"""Half the edges of the box."""

SOLIDS = ("sphere", "torus", "box", "knot")
"""Names of the solids: the sphere has radius 1, the curve of the torus too."""


def solid_distance(
    name: str, x: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
    """Exact signed distance to a solid, negative inside, and its gradient.

    Args:
        name: of `SOLIDS`.
        x: positions; the gradient is one of the possible ones where several points of the surface are nearest.
    """
    if name == "box":
        return _box_distance(x)
    nearest = np.zeros_like(x) if name == "sphere" else _torus_center(x) if name == "torus" else _knot_center(x)
    away = x - nearest
    length = np.linalg.norm(away, axis=1)
    gradient = np.divide(away, length[:, None], out=np.tile([0.0, 0, 1], (len(x), 1)), where=length[:, None] > 0)
    return length - TUBES.get(name, 1.0), gradient


def sample_solid(
    name: str, count: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Points exactly on a solid, evenly spread, and their exact outward normals."""
    points, _ = sample_mesh(*solid_mesh(name), count, rng)
    distance, normals = solid_distance(name, points)
    return points - distance[:, None] * normals, normals


def solid_mesh(name: str, *, along: int = 600, around: int = 120) -> Mesh:
    """A closed, outward-oriented mesh whose vertices lie exactly on a solid.

    Args:
        name: of `SOLIDS`.
        along: vertices along the curve of a tube; the sphere has a third as many rings.
        around: vertices around the tube or in a ring of the sphere. The box has its eight corners only.
    """
    if name == "box":
        corners = (2 * np.array(list(np.ndindex(2, 2, 2))) - 1) * BOX
        quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        return corners, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    turn = np.linspace(0, 2 * np.pi, around + 1)[:-1]
    if name == "sphere":
        polar = np.linspace(0, np.pi, along // 3 + 2)[1:-1, None]
        ring = np.stack(
            np.broadcast_arrays(np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar))
        )
        return _capped(np.moveaxis(ring, 0, -1))
    u = np.linspace(0, 2 * np.pi, along + 1)[:-1]
    center, ahead = (_circle(u), _circle(u + np.pi / 2)) if name == "torus" else (_knot(u), _knot(u, 1))
    first = np.cross(ahead, [0.0, 0.0, 1.0])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(ahead / np.linalg.norm(ahead, axis=1, keepdims=True), first)
    across = np.cos(turn)[:, None] * first[:, None] + np.sin(turn)[:, None] * second[:, None]
    return _periodic(center[:, None] + TUBES[name] * across)


def _box_distance(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    beyond = np.abs(x) - BOX
    outside = np.maximum(beyond, 0)
    length = np.linalg.norm(outside, axis=1)
    inside = np.eye(3)[beyond.argmax(axis=1)]
    gradient = np.divide(outside, length[:, None], out=inside, where=length[:, None] > 0)
    return length + np.minimum(beyond.max(axis=1), 0), gradient * np.where(x < 0, -1.0, 1.0)


def _circle(u: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(u), np.sin(u), 0 * u], -1)


def _torus_center(x: np.ndarray) -> np.ndarray:
    return _circle(np.arctan2(x[:, 1], x[:, 0]))


def _knot(u: np.ndarray, derivative: int = 0) -> np.ndarray:
    """The trefoil's curve, or a derivative of it: sines and cosines are shifted by a quarter turn for each."""
    v, one, two, three = derivative * np.pi / 2, 1.0, 2.0**derivative, 3.0**derivative
    return 0.5 * np.stack(
        [
            one * np.sin(u + v) + 2 * two * np.sin(2 * u + v),
            one * np.cos(u + v) - 2 * two * np.cos(2 * u + v),
            -three * np.sin(3 * u + v),
        ],
        -1,
    )


def _knot_center(x: np.ndarray) -> np.ndarray:
    """Nearest point of the trefoil's curve: the nearest of 4,000, then Newton's method on the squared distance."""
    from scipy.spatial import KDTree

    fine = np.linspace(0, 2 * np.pi, 4001)[:-1]
    u = fine[KDTree(_knot(fine)).query(x)[1]]
    for _ in range(4):
        away, first, second = _knot(u) - x, _knot(u, 1), _knot(u, 2)
        slope = (away * first).sum(1)
        bend = (first * first + away * second).sum(1)
        u = u - np.clip(slope / np.maximum(bend, 0.1), -0.002, 0.002)
    return _knot(u)


def _periodic(surface: np.ndarray) -> Mesh:
    """Triangles of a surface (a, b, 3) that is periodic in both parameters."""
    a, b = surface.shape[:2]
    row = np.arange(a * b).reshape(a, b)
    right, down = np.roll(row, -1, 1), np.roll(row, -1, 0)
    diagonal = np.roll(down, -1, 1)
    triangles = [np.stack([row, right, diagonal], -1), np.stack([row, diagonal, down], -1)]
    return surface.reshape(-1, 3), np.concatenate([t.reshape(-1, 3) for t in triangles])


def _capped(rings: np.ndarray) -> Mesh:
    """Triangles of rings (a, b, 3) of the unit sphere from pole to pole, the poles added."""
    a, b = rings.shape[:2]
    row = np.arange(a * b).reshape(a, b)
    right = np.roll(row, -1, 1)
    bands = [(row[:-1], row[1:], right[1:]), (row[:-1], right[1:], right[:-1])]
    north, south = np.full(b, a * b), np.full(b, a * b + 1)
    caps = [(north, row[0], right[0]), (south, right[-1], row[-1])]
    faces = np.concatenate([np.stack([x.ravel() for x in t], -1) for t in (*bands, *caps)])
    return np.concatenate([rings.reshape(-1, 3), [[0, 0, 1.0], [0, 0, -1.0]]]), faces
