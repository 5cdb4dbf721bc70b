"""Small pieces of a mesh or curve that no point of the cloud lies on: stray changes of the field's sign."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from ..cloud.neighbors import Neighbors
from .triangles import face_areas

if TYPE_CHECKING:
    import trimesh

logger = logging.getLogger(__name__)

SMALL = {2: 0.05, 3: 0.01}
"""A piece with more than this share of the length or area is never a crumb, by dimension."""
SUPPORT = 0.1
"""A piece needs this share of the samples that its length or area would have on average,"""
LEAST = {2: 6, 3: 12}
"""and this many: a circle has 2π samples, a sphere 4π, if as small as their distance. Fewer tell no shape."""


def without_crumbs(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], samples: Float[np.ndarray, "s 3"]
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"], int]:
    """The mesh without its crumbs: pieces of less than 1 % of the area, to which less than a tenth as many samples
    are nearest as their area would have, or fewer than twelve. The samples alone decide, whatever the size of the
    main piece.

    Returns:
        Vertices, faces, and how many pieces were left out.
    """
    piece = pieces(faces, len(vertices))
    if piece.max() == 0:
        return vertices, faces, 0
    middles = vertices[faces].mean(1)
    crumb = _crumbs(np.bincount(piece, face_areas(vertices, faces)), middles, piece, samples)
    if not crumb.any():
        return vertices, faces, 0
    kept = faces[~crumb[piece]]
    used, renumbered = np.unique(kept, return_inverse=True)
    logger.info("left out %d small pieces on which hardly any point lies", crumb.sum())
    return vertices[used], renumbered.reshape(-1, 3), int(crumb.sum())


def without_curve_crumbs(
    curves: list[Float[np.ndarray, "m 2"]], samples: Float[np.ndarray, "s 2"]
) -> list[Float[np.ndarray, "m 2"]]:
    """The curves without crumbs: the same for polylines, by their length."""
    if len(curves) == 1:
        return curves
    steps = [np.linalg.norm(np.diff(curve, axis=0), axis=1) for curve in curves]
    middles = np.concatenate([(curve[1:] + curve[:-1]) / 2 for curve in curves])
    piece = np.repeat(np.arange(len(curves)), [len(step) for step in steps])
    crumb = _crumbs(np.array([step.sum() for step in steps]), middles, piece, samples)
    return [curve for curve, left_out in zip(curves, crumb, strict=True) if not left_out]


def largest_piece(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, float]:
    """The piece of a mesh with the largest area (the paper meshes shape spaces so), and its share of the area:
    on the way between two shapes a hand may vanish here and appear there."""
    import trimesh

    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    piece = pieces(faces, len(vertices))
    area = np.bincount(piece, face_areas(vertices, faces))
    if len(area) == 1:
        return mesh, 1.0
    used, renumbered = np.unique(faces[piece == area.argmax()], return_inverse=True)
    largest = trimesh.Trimesh(vertices[used], renumbered.reshape(-1, 3), process=False)
    return largest, float(area.max() / area.sum())


def pieces(faces: np.ndarray, vertices: int) -> np.ndarray:
    """The piece (f,) that each face belongs to: faces of one piece are joined by shared vertices."""
    return connected(np.concatenate([faces[:, :2], faces[:, 1:]]).astype(np.int32), vertices)[faces[:, 0]]


def connected(edges: Int[np.ndarray, "e 2"], vertices: int) -> Int[np.ndarray, " v"]:
    """The connected part that each vertex belongs to, by edges between them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    joined = coo_array((np.ones(len(edges), np.int8), edges.T), shape=(vertices, vertices))
    return connected_components(joined, directed=False)[1]


def crumbs(size: np.ndarray, held: np.ndarray, dimension: int, each: int = 1) -> Bool[np.ndarray, " k"]:
    """Which of k pieces are crumbs, by their length or area and how many samples lie on them; each stands for so
    many points of the cloud."""
    share, held_share = size / max(size.sum(), 1e-300), held / max(held.sum(), 1)
    return (share < SMALL[dimension]) & ((held_share < SUPPORT * share) | (held * each < LEAST[dimension]))


def _crumbs(size: np.ndarray, places: np.ndarray, piece: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """The same, given places on the pieces, the piece of each place, and the cloud."""
    each = max(1, len(samples) // 50_000)
    nearest = Neighbors(places).at(samples[::each])[1]
    return crumbs(size, np.bincount(piece[nearest], minlength=len(size)), places.shape[1], each)
