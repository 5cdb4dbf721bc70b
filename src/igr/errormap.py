"""A mesh colored by its distance to the truth, with a picture that says what the colors mean."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float

from .colors import colorbar, colorize
from .exports import write_mesh
from .render import View, render_mesh, save_picture
from .triangles import Mesh


def vertex_errors(mesh: Mesh, reference: Mesh | Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " v"]:
    """Distance of every vertex of a mesh to a reference, to its triangles or to its nearest point."""
    if isinstance(reference, tuple):
        import igl

        square, _, _ = igl.point_mesh_squared_distance(np.ascontiguousarray(mesh[0], np.float64), *reference)
        return np.sqrt(square)
    from scipy.spatial import KDTree

    return np.asarray(KDTree(reference).query(mesh[0], workers=-1)[0])


def write_error_map(
    path: str | os.PathLike[str], mesh: Mesh, reference: Mesh | Float[np.ndarray, "n 3"], *, pixels: int = 640
) -> list[Path]:
    """Write a mesh colored by its distance to a reference, and a picture of it with the scale of the colors.

    The scale ends at the 95th percentile of the distances, so that few stray places do not hide all others.

    Args:
        path: .ply; every vertex also carries its distance as `error`, in the reference's units.
        mesh: vertices and triangles.
        reference: the truth, triangles or points.
        pixels: height of the picture.

    Returns:
        The files: the mesh, and beside it the picture (.png), seen from the front and from behind.
    """
    error = vertex_errors(mesh, reference)
    high = float(np.quantile(error, 0.95))
    colors = colorize(error, 0.0, high)
    write_mesh(path, *mesh, attributes={"error": error}, colors=colors)
    views = [render_mesh(*mesh, View(azimuth, 15, pixels), colors=colors) for azimuth in (-60, 120)]
    picture = Path(path).with_suffix(".png")
    save_picture(
        picture,
        np.concatenate(
            [*views, colorbar(0.0, high, "distance to the\nreference, in its units", height=pixels)], axis=1
        ),
    )
    return [Path(path), picture]
