"""A virtual scanner: what range cameras around a mesh would see of it, with their gaps and errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from igr.mesh.triangles import Mesh, face_normals, sample_mesh


@dataclass(frozen=True)
class Scanner:
    """Cameras in a circle around an upright thing on glass: high, halfway, low; in the mesh's unit (mm)."""

    cameras: int = 8
    """Number of cameras, evenly around."""
    distance: float = 2000.0
    """From the middle of the thing to a camera."""
    heights: tuple[float, ...] = (1400.0, -200.0, -1400.0)
    """How much above the middle the cameras are, in turns."""
    pixel: float = 5.0
    """Width of a camera's pixel at the middle: of what lies behind one another in it, the front is seen."""
    noise: float = 0.35
    """Standard deviation along the ray, where it meets the surface at a right angle."""
    tilt: float = 0.06
    """Standard deviation of a normal's error, in radians."""
    drift: float = 0.15
    """Standard deviation of the shift between cameras, in each direction."""
    turn: float = 2e-4
    """Standard deviation of the rotation between cameras, in radians about each axis."""
    grazing: float = 0.15
    """A surface seen at less than this cosine to its normal gives nothing back."""


def scan_mesh(
    mesh: Mesh, count: int, rng: np.random.Generator, *, scanner: Scanner | None = None
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Points of a mesh as a scanner gives them, and the normals that it would estimate.

    What no camera sees is missing. Points are dense where a camera is near and looks straight at the surface;
    both errors grow where it looks at a grazing angle; the cameras are registered with a small error.

    Args:
        mesh: closed, outward-oriented, z up.
        count: points, shared alike among the cameras.
        rng: decides everything random.
        scanner: the cameras; lengths in the mesh's unit.
    """
    scanner = scanner or Scanner()
    vertices, faces = mesh
    middle = (vertices.min(0) + vertices.max(0)) / 2
    dense, face = sample_mesh(vertices, faces, max(8 * count, 400_000), rng)
    dense, normals = dense - middle, face_normals(vertices, faces)[face]
    shares = np.diff(np.linspace(0, count, scanner.cameras + 1).astype(int))
    views = [_view(dense, normals, share, (k, scanner), rng) for k, share in enumerate(shares)]
    points, directions = (np.concatenate(part) for part in zip(*views, strict=True))
    return points + middle, directions


def _view(
    dense: np.ndarray, normals: np.ndarray, count: int, camera: tuple[int, Scanner], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What one camera sees of dense points around the origin."""
    number, scanner = camera
    angle = 2 * np.pi * number / scanner.cameras + 0.2
    height = scanner.heights[number % len(scanner.heights)]
    place = np.array([np.cos(angle) * scanner.distance, np.sin(angle) * scanner.distance, height])
    ray = place - dense
    length = np.linalg.norm(ray, axis=1)
    ray /= length[:, None]
    facing = (normals * ray).sum(1)
    seen = np.flatnonzero((facing > scanner.grazing) & _in_front(dense, place, scanner))
    weight = facing[seen] / length[seen] ** 2
    seen = rng.choice(seen, min(len(seen), count), replace=False, p=weight / weight.sum())
    blur = 1 / np.sqrt(facing[seen])
    points = dense[seen] + (rng.normal(0, scanner.noise, len(seen)) * blur)[:, None] * ray[seen]
    tilted = normals[seen] + rng.normal(0, scanner.tilt, (len(seen), 3)) * blur[:, None]
    turned = np.cross(rng.normal(0, scanner.turn, 3), points) + rng.normal(0, scanner.drift, 3)
    return points + turned, tilted / np.linalg.norm(tilted, axis=1, keepdims=True)


def _in_front(points: np.ndarray, place: np.ndarray, scanner: Scanner) -> np.ndarray:
    """Which points a camera at `place`, looking at the origin, sees: those near the front of their pixel."""
    forward = -place / np.linalg.norm(place)
    side = np.cross(forward, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    depth = (points - place) @ forward
    focal = np.linalg.norm(place) / scanner.pixel
    column, row = (
        np.floor(focal * ((points - place) @ axis) / depth).astype(np.int64)
        for axis in (side, np.cross(side, forward))
    )
    cell = (column - column.min()) * (np.ptp(row) + 1) + row - row.min()
    front = np.full(cell.max() + 1, np.inf)
    np.minimum.at(front, cell, depth)
    return depth < front[cell] + 4 * scanner.pixel
