"""Small pieces of a mesh that no point of the cloud lies on: where the fit left a stray change of sign."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

SMALL = 0.01
"""A piece with more than this share of the area is never a crumb."""
SUPPORT = 0.1
"""A piece needs this share of the samples that its area would have on average."""


def without_crumbs(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], samples: Float[np.ndarray, "s 3"]
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"], int]:
    """The mesh without its crumbs: pieces of less than 1 % of the area, to which less than a tenth as many samples
    are nearest as their area would have. The samples alone decide, whatever the size of the main piece.

    Returns:
        Vertices, faces, and how many pieces were left out.
    """
    import trimesh
    from scipy.spatial import KDTree

    mesh = trimesh.Trimesh(vertices, faces, process=False)
    piece = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(faces))
    if piece.max() == 0:
        return vertices, faces, 0
    area = np.bincount(piece, mesh.area_faces)
    share = area / area.sum()
    few = samples[:: max(1, len(samples) // 50_000)]
    nearest = np.asarray(KDTree(mesh.triangles_center).query(few, workers=-1)[1])
    support = np.bincount(piece[nearest], minlength=len(area)) / len(few)
    crumb = (share < SMALL) & (support < SUPPORT * share)
    if not crumb.any():
        return vertices, faces, 0
    kept = faces[~crumb[piece]]
    used, renumbered = np.unique(kept, return_inverse=True)
    return vertices[used], renumbered.reshape(-1, 3), int(crumb.sum())
