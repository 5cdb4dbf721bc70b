"""What a reconstruction is compared with: screened Poisson reconstruction, as gpytoolbox wraps it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ..errors import FitError, InputError


def screened_poisson(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], *, depth: int = 9
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Screened Poisson surface reconstruction (Kazhdan & Hoppe 2013) of an oriented cloud.

    Args:
        points: positions, any units.
        normals: outward unit normals.
        depth: of the octree: 2^depth cells along an edge.

    Returns:
        Vertices and triangles, in the points' frame.

    Raises:
        InputError: gpytoolbox is not installed (extra `baselines`).
        FitError: it found no surface.
    """
    try:
        import gpytoolbox
    except ImportError:
        raise InputError("Poisson needs gpytoolbox, not installed here: pip install 'igr[baselines]'") from None
    vertices, faces = gpytoolbox.point_cloud_to_mesh(points, normals, method="PSR", psr_depth=depth)
    if len(faces) == 0:
        raise FitError("Poisson reconstruction found no surface in this cloud")
    return np.asarray(vertices), np.asarray(faces, np.int64)
