"""Triangle meshes as two arrays: reading them, areas and normals, points spread over them, fewer triangles."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..cloud.neighbors import near_order
from ..errors import InputError
from ..formats.meshfile import BROKEN_MESH, load_mesh
from ..store.atomic import check_file

FEWEST = 4
"""Triangles that a closed mesh has at least."""
LOOKED_AT = 100_000
"""Vertices by which it is measured how far a mesh was moved."""

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
    return len(faces) > 0 and bool((_edge_uses(faces) == 2).all())


def _edge_uses(faces: np.ndarray) -> Int[np.ndarray, " e"]:
    """How many triangles each edge has."""
    edges = np.sort(
        np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64), axis=1
    )
    return np.unique(edges[:, 0] * (edges.max(initial=0) + 1) + edges[:, 1], return_counts=True)[1]


def decimated(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], triangles: int
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "g 3"]]:
    """The mesh with fewer triangles: edges shrink to points where that moves it least (Garland and Heckbert 1997).
    Borders stay as they are, watertight stays watertight, and what touches itself afterwards is parted there.

    Args:
        vertices: positions, any units.
        faces: triangles; a mesh that has no more than asked for is returned as it is.
        triangles: about how many to leave; more where borders alone have more.
    """
    if len(faces) <= triangles:
        return vertices, faces
    import igl
    from fast_simplification import simplify

    middle = np.rint(vertices.mean(axis=0))  # far from the origin the squares of distances would drown
    given = vertices - middle, np.asarray(faces, np.int32)
    found = simplify(*given, target_count=triangles, preserve_border=True)
    places, corners = np.asarray(found[0]) + middle, np.asarray(found[1], np.int64)
    corners = np.asarray(igl.resolve_duplicated_faces(corners)[0])  # the two sides of nothing
    if _edge_uses(corners).max(initial=0) > 2:
        places, corners = (np.asarray(part) for part in igl.split_nonmanifold(places, corners)[:2])
    used, renumbered = np.unique(corners, return_inverse=True)
    return places[used], renumbered.reshape(-1, 3)


def moved(mesh: Mesh, onto: Mesh) -> tuple[float, float]:
    """How far vertices of a mesh lie from another, on average and at most; of many, `LOOKED_AT` evenly chosen."""
    import igl

    rows = np.linspace(0, len(mesh[0]) - 1, min(len(mesh[0]), LOOKED_AT)).astype(np.int64)
    middle = mesh[0].mean(axis=0)
    apart = igl.point_mesh_squared_distance(mesh[0][rows] - middle, onto[0] - middle, onto[1].astype(np.int64))[0]
    distance = np.sqrt(np.maximum(apart, 0))
    return float(distance.mean()), float(distance.max())


class Cut(NamedTuple):
    """A part of a mesh."""

    vertices: Float[np.ndarray, "w 3"]
    faces: Int[np.ndarray, "g 3"]
    ends: Int[np.ndarray, "w 2"]
    """The vertices of the whole that each vertex lies between; twice the same where it is one of them."""
    of: Int[np.ndarray, " g"]
    """The triangle of the whole that each triangle is a part of."""


def cut(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    value: Float[np.ndarray, " v"],
    limit: float,
) -> Cut:
    """The part of a mesh where a value given at its vertices is at most `limit`, which may be empty. Triangles are
    cut along that line, so no border is frayed."""
    inside = value <= limit
    count = inside[faces].sum(1)
    crossing = np.flatnonzero((count == 1) | (count == 2))
    crossed = faces[crossing]
    odd = np.where(inside[crossed].sum(1) == 1, inside[crossed].T, ~inside[crossed].T).argmax(0)
    a, b, c = np.take_along_axis(crossed, (odd[:, None] + np.arange(3)) % 3, axis=1).T  # a is alone on its side
    ends = np.sort(np.concatenate([np.stack([a, b], 1), np.stack([a, c], 1)]), axis=1)
    edge, place = np.unique(ends, axis=0, return_inverse=True)
    low, high = value[edge].T
    share = np.clip((limit - low) / np.where(high == low, 1, high - low), 0.05, 0.95)[:, None]
    middle = vertices[edge[:, 0]] * (1 - share) + vertices[edge[:, 1]] * share
    ab, ac = len(vertices) + place.reshape(2, -1)
    alone = inside[a]
    kept, of = [faces[count == 3], np.stack([a, ab, ac], 1)[alone]], [np.flatnonzero(count == 3), crossing[alone]]
    kept += [np.stack(corners, 1)[~alone] for corners in ((ab, b, c), (ab, c, ac))]
    of += 2 * [crossing[~alone]]
    used, renumbered = np.unique(np.concatenate(kept), return_inverse=True)
    ends = np.concatenate([np.arange(len(vertices))[:, None].repeat(2, 1), edge])
    placed = np.concatenate([vertices, middle])
    return Cut(placed[used], renumbered.reshape(-1, 3), ends[used], np.concatenate(of))


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
