"""Triangle meshes as two arrays: reading them, their areas and normals, points spread over them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ..cloud.neighbors import near_order
from ..errors import InputError
from ..formats.meshfile import BROKEN_MESH, load_mesh
from ..store.atomic import check_file

Mesh = tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]
"""Vertices in float64, and the corners of each triangle, counter-clockwise seen from outside."""


def read_mesh(path: str | os.PathLike[str]) -> Mesh:
    """The triangles of a mesh file, in the frame of its scene; a cloud has none.

    Args:
        path: ply, obj, off, stl, glb or gltf; polygons are cut into triangles.

    Raises:
        InputError: the file is missing, damaged, of an unknown kind, or refers to vertices that it lacks.
    """
    path = Path(path)
    check_file(path)
    try:
        vertices, faces = load_mesh(path)
    except OSError as problem:
        raise InputError(f"{path} cannot be read: {problem.strerror or problem}") from None
    except MemoryError:
        raise InputError(f"{path} does not fit into memory") from None
    except BROKEN_MESH:
        raise InputError(f"{path} is damaged or no mesh file") from None
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise InputError(f"{path} is damaged: a triangle names a vertex that is not there")
    if len(faces) and not np.isfinite(vertices[faces]).all():
        raise InputError(f"{path} has triangles with NaN or infinite corners")
    return vertices, faces


def face_areas(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, " f"]:
    """Area (f,) of each triangle."""
    return 0.5 * np.linalg.norm(_cross(vertices, faces), axis=1)


def face_normals(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "f 3"]:
    """Unit normals of triangles; zero where a triangle has no area."""
    normals = _cross(vertices, faces)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)


def is_watertight(faces: Int[np.ndarray, "f 3"]) -> bool:
    """Whether every edge has exactly two triangles."""
    edges = np.sort(
        np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64), axis=1
    )
    if len(edges) == 0:
        return False
    counts = np.unique(edges[:, 0] * (edges.max() + 1) + edges[:, 1], return_counts=True)[1]
    return bool((counts == 2).all())


def sample_mesh(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], count: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, " n"]]:
    """Points spread evenly over the area of a mesh, and the triangle of each, in the order of the triangles.

    Raises:
        InputError: the mesh has no area.
    """
    area = face_areas(vertices, faces)
    total = area.sum()
    if not 0 < total < np.inf:
        raise InputError("the mesh has no triangles with an area to sample")
    face = np.sort(rng.choice(len(faces), count, p=area / total))
    return _within(vertices, faces[face], rng), face


@dataclass(frozen=True)
class SurfaceSamples:
    """Points of a surface, and the surface."""

    points: np.ndarray
    normals: np.ndarray | None
    mesh: Mesh | None


def sample_surface(mesh: Mesh, count: int, rng: np.random.Generator) -> SurfaceSamples:
    """Points evenly spread over the area of a mesh, with the normals of their faces; near ones near in order."""
    vertices, faces = mesh
    area = face_areas(vertices, faces)
    face = np.searchsorted(np.cumsum(area), rng.random(count) * area.sum()).clip(max=len(faces) - 1)
    points = _within(vertices, faces[face], rng)
    order = near_order(points)
    return SurfaceSamples(points[order], face_normals(vertices, faces)[face[order]], mesh)


def _within(vertices: np.ndarray, triangles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random place (n, 3) on each of `triangles` (n, 3)."""
    u, v = rng.random((2, len(triangles), 1))
    u, v = np.where(u + v > 1, (1 - u, 1 - v), (u, v))
    a, b, c = (vertices[corner] for corner in triangles.T)
    return a + u * (b - a) + v * (c - a)


def _cross(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Normals of triangles, as long as twice their area."""
    a, b, c = (vertices[corner] for corner in faces.T)
    return np.cross(b - a, c - a)
