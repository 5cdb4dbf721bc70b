"""Point clouds to surfaces by implicit geometric regularization.

>>> import igr
>>> surface = igr.reconstruct("scan.ply")  # doctest: +SKIP
>>> surface.mesh(resolution=256).export("mesh.ply")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import importlib.util
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


_NEED_TORCH = ("EncodeOptions", "ShapeSpace", "TrainingOptions")


def _has_torch() -> bool:
    try:
        return importlib.util.find_spec("torch") is not None
    except (ImportError, ValueError):  # something stands in its way, or in its place
        return False


if not TYPE_CHECKING and not _has_torch():  # what `import *` takes, and `dir` shows
    __all__ = [name for name in __all__ if name not in _NEED_TORCH]


def __getattr__(name: str) -> Any:
    """Public names are found when they are used, so that `import igr` is quick.

    Raises:
        ImportError: the name needs torch, which is not installed.
    """
    if name not in _HOME:
        raise AttributeError(f"module 'igr' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    except ModuleNotFoundError as problem:
        if problem.name != "torch":
            raise
        advice = f"igr.{name} needs PyTorch, which is not installed: pip install 'igr[torch]'"
        raise ImportError(advice, name="torch") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All names, those that were not used yet as well."""
    return sorted({*globals(), *__all__})
