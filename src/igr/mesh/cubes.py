"""Marching cubes over sparse cells (Lorensen & Cline 1987); vertices slide along their edges onto the surface."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .cells import AXIS_BITS, CORNERS, Voxels

Evaluate = Callable[[np.ndarray], np.ndarray]
"""The distance above the level, (n, d) → (n,)."""
END = 1e-3
"""A vertex keeps this share of its grid edge away from the ends, so that no triangle degenerates."""
ROUNDS = 4
"""Evaluations of the vertices that are not on the surface yet, at most."""


@functools.cache
def _case_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Marching cubes' triangles for all 256 patterns of signs, read off libigl by giving it a cell of each.

    Returns:
        For each pattern the number of triangles (256,), and for each vertex of them (256, 5, 3) the lower corner
        and the axis of its edge.
    """
    import igl

    _, order, places = igl.unique_sparse_voxel_corners(np.zeros(3), 1.0, 0, np.zeros((1, 3), np.int64))
    slots = np.asarray(places)[np.asarray(order)[0]].astype(int) @ np.array(AXIS_BITS)
    case = np.arange(256)
    signs = np.where(case[:, None] >> np.arange(8) & 1, -1.0, 1.0)
    corners = CORNERS + np.array([2.0, 0, 0]) * case[:, None, None]
    found = igl.marching_cubes(signs.ravel(), corners.reshape(-1, 3), 8 * case[:, None] + slots[None], 0.0)
    vertices, faces = np.asarray(found[0]), np.asarray(found[1])
    of_face = (vertices[faces[:, 0], 0] // 2).astype(int)
    counts = np.bincount(of_face, minlength=256)
    nth = np.arange(len(faces)) - np.searchsorted(of_face, of_face)
    local = vertices[faces] - np.array([2.0, 0, 0]) * of_face[:, None, None]
    lower, axes = np.zeros((2, 256, 5, 3), np.int64)
    lower[of_face, nth] = np.floor(local).astype(int) @ np.array(AXIS_BITS)
    axes[of_face, nth] = (local % 1).argmax(-1)
    return counts, lower, axes


class Triangles(NamedTuple):
    """What marching cubes makes of a grid."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    cells: Int[np.ndarray, " f"]
    """Where the cell of each triangle stands among the voxels' cells."""
    axis: Int[np.ndarray, " v"]
    """Of the edge of the grid that each vertex lies on,"""
    corner: Int[np.ndarray, " v"]
    """and where the edge's lower corner stands among the voxels' keys."""
    crossed: int
    """How many cells the surface passes through."""


def triangulate(samples: Evaluate, voxels: Voxels, tolerance: float) -> Triangles | None:
    """Marching cubes over the cells that the surface passes through; None where it passes through none.

    Args:
        samples: the distance above the level, (n, 3) → (n,).
        voxels: cells with their corners' values.
        tolerance: distance from zero at which a vertex lies on the surface.
    """
    cases = voxels.cases()
    crossed = np.flatnonzero((cases != 0) & (cases != 255))
    if len(crossed) == 0:
        return None
    cases, corners = cases[crossed], voxels.corners[crossed]
    # Each edge that is cut starts at the low corner of one of the four cells around it; where that one is not
    # there, the surface ends.
    cut = [np.flatnonzero((cases ^ cases >> bit) & 1) for bit in AXIS_BITS]
    rows, axis = np.concatenate(cut), np.repeat(np.arange(3), [len(part) for part in cut])
    first, second = corners[rows, 0], corners[rows, np.array(AXIS_BITS)[axis]]
    number = np.full((3, len(voxels.keys)), -1, np.int32)
    number[axis, first] = np.arange(len(rows), dtype=np.int32)

    ends = [voxels.values[first], voxels.values[second]]
    points, _ = voxels.grid.points(voxels.keys[first])
    vertices = slide(samples, points, axis, ends, voxels.grid.step, tolerance)

    counts, lower, axes = _case_table()
    triangles = counts[cases]
    of_cell = np.repeat(np.arange(len(cases)), triangles)
    nth = np.arange(len(of_cell)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    faces = np.empty((len(of_cell), 3), np.int64)
    for vertex in range(3):
        pattern = cases[of_cell], nth, vertex
        faces[:, vertex] = number[axes[pattern], corners[of_cell, lower[pattern]]]
    kept = (faces >= 0).all(1)
    return Triangles(vertices, faces[kept], crossed[of_cell[kept]], axis, first, len(crossed))


def slide(
    samples: Evaluate, points: np.ndarray, axis: np.ndarray, ends: list[np.ndarray], step: float, tolerance: float
) -> np.ndarray:
    """The zeros (v, d) on grid edges that start at `points` (v, d) along `axis` (v,), from the field at both ends.

    False position with the Illinois rule (Dowell & Jarratt 1971): the sign change stays bracketed.
    """
    low, high = np.zeros(len(points)), np.ones(len(points))
    f_low, f_high = (values.astype(float) for values in ends)
    side = np.zeros(len(points), np.int8)
    place = np.clip(f_low / (f_low - f_high), END, 1 - END)
    todo = np.arange(len(points))
    for _ in range(ROUNDS):
        x = points[todo]
        x[np.arange(len(todo)), axis[todo]] += step * place[todo]
        value = samples(x).astype(float)
        lower = (value < 0) == (f_low[todo] < 0)
        up, down = todo[lower], todo[~lower]
        f_high[up[side[up] == 1]] /= 2
        f_low[down[side[down] == -1]] /= 2
        low[up], f_low[up], side[up] = place[up], value[lower], 1
        high[down], f_high[down], side[down] = place[down], value[~lower], -1
        share = f_low[todo] / (f_low[todo] - f_high[todo])
        place[todo] = np.clip(low[todo] + share * (high[todo] - low[todo]), END, 1 - END)
        todo = todo[np.abs(value) > tolerance]
        if len(todo) == 0:
            break
    points[np.arange(len(points)), axis] += step * place
    return points
