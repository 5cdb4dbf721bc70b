"""Open scans as people bring them, made: terrain, towns, rooms, facades, single views, slices, rivers.

Each is a function of a random generator that gives points (n, 3), or (n, 2) in the plane, without normals.
`python -m examples.clouds.open_scans FOLDER` writes them all as text.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from .solids import sample_solid


def terrain(rng: np.random.Generator) -> np.ndarray:
    """Hills of 400 m from the air, half a meter rough, at a place of a national grid."""
    x, y = rng.uniform(0, 400, (2, 20_000))
    z = 30 * np.sin(x / 60 + 1) * np.cos(y / 50) + 8 * np.sin(y / 17) + 0.2 * x
    return np.c_[x, y, z + rng.normal(0, 0.25, len(x))] + [512_000, 5_403_000, 350]


def town(rng: np.random.Generator) -> np.ndarray:
    """Roofs and streets from the air; of walls only a few points."""
    x, y = rng.uniform(0, 200, (2, 25_000))
    inside = (x % 40 < 22) & (y % 50 < 30)
    ridge = 4 * (1 - np.abs(y % 50 - 15) / 15)
    z = np.where(inside, 7 + 3 * np.sin(x // 40 + 2 * (y // 50)) + ridge, 0.01 * x)
    return np.c_[x, y, z + rng.normal(0, 0.05, len(x))]


def crater(rng: np.random.Generator) -> np.ndarray:
    """Terrain around a lake that gave nothing back: one large hole, many small ones."""
    points = rng.uniform(-100, 100, (24_000, 2))
    radius = np.linalg.norm(points, axis=1)
    z = 25 * np.exp(-(((radius - 45) / 18) ** 2)) + 2 * np.sin(points[:, 0] / 9)
    seen = (radius > 28) & (np.sin(points[:, 0] / 3) * np.sin(points[:, 1] / 3) < 0.9)
    return np.c_[points, z][seen]


def leaf(rng: np.random.Generator) -> np.ndarray:
    """A curled leaf of 9 cm, .1 mm noise, in mm."""
    along, across = rng.uniform(-1, 1, (2, 30_000))
    inside = np.abs(across) < (1 - along**2) * (0.9 - 0.3 * along)
    along, across = along[inside], across[inside]
    z = 9 * along**2 + 7 * across**2 + 0.5 * np.cos(30 * along + 8 * np.abs(across))
    points = np.c_[45 * along, 28 * across, z]
    return points + rng.normal(0, 0.1, points.shape)


def bowl(rng: np.random.Generator) -> np.ndarray:
    """Half a sphere, open above."""
    points = rng.normal(size=(16_000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points[points[:, 2] < 0]


def catenoid(rng: np.random.Generator) -> np.ndarray:
    """A minimal surface between two rings."""
    angle, height = rng.uniform(0, 2 * np.pi, 18_000), np.arcsinh(rng.uniform(-1.7, 1.7, 18_000))
    return np.c_[np.cos(angle) * np.cosh(height), np.sin(angle) * np.cosh(height), height]


def facade(rng: np.random.Generator) -> np.ndarray:
    """A front of twelve windows, 30 cm deep, seen from the street."""
    x, z = rng.uniform([0, 0], [18, 12], (25_000, 2)).T
    window = (x % 4.5 > 1.5) & (x % 4.5 < 3) & (z % 4 > 1) & (z % 4 < 3)
    return np.c_[x, 0.3 * window + rng.normal(0, 0.004, len(x)), z]


def room(rng: np.random.Generator) -> np.ndarray:
    """Floor, walls and a table of a room without its ceiling, 5 x 4 x 2.6 m."""
    parts = []
    for start, high, closed in (
        ([0, 0, 0], [5, 4, 2.6], [1, 1, 1, 1, 1, 0]),
        ([2, 1.5, 0], [3.2, 2.3, 0.75], [1] * 6),
    ):
        low, size = np.array(start), np.subtract(high, start)
        for face in range(6):
            axis, side = divmod(face, 2)
            area = np.prod(np.delete(size, axis))
            places = rng.uniform(0, 1, (int(450 * area * closed[face]), 3))
            places[:, axis] = side
            parts.append(low + places * size)
    points = np.concatenate(parts)
    under = (points[:, 2] < 0.01) & (np.abs(points[:, :2] - [2.6, 1.9]) < [0.6, 0.4]).all(1)
    return points[~under] + rng.normal(0, 0.003, (int((~under).sum()), 3))


def tunnel(rng: np.random.Generator) -> np.ndarray:
    """Thirty meters of a bent tunnel, scanned from inside, in rings."""
    ring, angle = np.meshgrid(np.arange(0, 30, 0.25), np.linspace(-0.7, np.pi + 0.7, 160))
    along, angle = ring.ravel() + rng.normal(0, 0.01, ring.size), angle.ravel()
    across = 3 * np.cos(angle) + 0.02 * along**2
    return np.c_[along, across, 2.2 * np.sin(angle)] + rng.normal(0, 0.004, (angle.size, 3))


def one_view(rng: np.random.Generator) -> np.ndarray:
    """What one depth camera, at the origin, sees of a knot: the nearest point in each pixel."""
    points, normals = sample_solid("knot", 200_000, rng)[:2]
    points = points + [0, 4, 0]
    pixel = np.round(160 * points[:, [0, 2]] / points[:, 1:2])
    order = np.argsort(points[:, 1])
    first = order[np.unique(pixel[order], axis=0, return_index=True)[1]]
    return points[first[(normals[first] * points[first]).sum(1) < 0]]


def patch(rng: np.random.Generator) -> np.ndarray:
    """A flat sheet with a round hole, in a plane askew."""
    points = rng.uniform(-1, 1, (8000, 2))
    points = points[np.linalg.norm(points - [0.3, 0.2], axis=1) > 0.35]
    return points @ np.array([[0.8, 0.0, 0.6], [0.36, 0.8, -0.48]])


def slices(rng: np.random.Generator) -> np.ndarray:
    """Contours of an organ, 4 mm apart and half a millimeter along: closed, though its slices lie far apart."""
    height = np.repeat(np.arange(-44, 45, 4.0), 300)
    angle = rng.uniform(0, 2 * np.pi, len(height))
    radius = np.sqrt(1 - (height / 46) ** 2) * (1 + 0.15 * np.cos(2 * angle + height / 30))
    return np.c_[34 * radius * np.cos(angle), 22 * radius * np.sin(angle), height]


def river(rng: np.random.Generator) -> np.ndarray:
    """The course of a river in the plane."""
    t = np.sort(rng.uniform(0, 1, 700))
    return np.c_[900 * t, 120 * np.sin(9 * t) * (1 - 0.5 * t) + rng.normal(0, 1.0, len(t))]


SCANS = {
    make.__name__: make
    for make in (
        *(terrain, town, crater, leaf, bowl, catenoid, facade),
        *(room, tunnel, one_view, patch, slices, river),
    )
}


def write(folder: Path) -> None:
    """Write every scan as text."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in SCANS.items():
        np.savetxt(
            folder / f"{name}.xyz", make(np.random.default_rng(0)), fmt="%.6g" if name != "terrain" else "%.3f"
        )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
