"""Point clouds to surfaces by implicit geometric regularization.

>>> import igr
>>> surface = igr.reconstruct("scan.ply")  # doctest: +SKIP
>>> surface.mesh(resolution=256).export("mesh.ply")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .combine import difference, intersection, offset, placed, shell, union
    from .config import Config
    from .errors import FitError, InputError
    from .latentfit import EncodeOptions
    from .orientation import orient_normals
    from .points import PointCloud, as_cloud, read_points
    from .presets import FAST, PAPER
    from .reconstruction import Options, reconstruct
    from .shapespace import ShapeSpace
    from .spacetraining import TrainingOptions
    from .surface import Surface

_HOME = {
    "Config": "config",
    "EncodeOptions": "latentfit",
    "TrainingOptions": "spacetraining",
    "FAST": "presets",
    "PAPER": "presets",
    "FitError": "errors",
    "InputError": "errors",
    "Options": "reconstruction",
    "PointCloud": "points",
    "ShapeSpace": "shapespace",
    "Surface": "surface",
    "as_cloud": "points",
    "difference": "combine",
    "intersection": "combine",
    "offset": "combine",
    "placed": "combine",
    "shell": "combine",
    "union": "combine",
    "orient_normals": "orientation",
    "read_points": "points",
    "reconstruct": "reconstruction",
}

__all__ = [
    "FAST",
    "PAPER",
    "Config",
    "EncodeOptions",
    "FitError",
    "InputError",
    "Options",
    "PointCloud",
    "ShapeSpace",
    "Surface",
    "TrainingOptions",
    "as_cloud",
    "difference",
    "intersection",
    "offset",
    "orient_normals",
    "placed",
    "read_points",
    "reconstruct",
    "shell",
    "union",
]


def __getattr__(name: str) -> Any:
    """Public names are found when they are used, so that `import igr` is quick."""
    if name not in _HOME:
        raise AttributeError(f"module 'igr' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
