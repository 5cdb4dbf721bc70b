"""Point clouds to surfaces by implicit geometric regularization.

>>> import igr
>>> surface = igr.reconstruct("scan.ply")  # doctest: +SKIP
>>> surface.mesh(resolution=256).export("mesh.ply")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .cloud.pointcloud import PointCloud, as_cloud, read_points
    from .config import FAST, PAPER, Config
    from .errors import FitError, InputError
    from .idr.photographs import PhotoOptions, reconstruct_images
    from .large.whole import LargeOptions, large_surface, reconstruct_large
    from .normals.estimate import orient_normals
    from .reconstruction import Options, reconstruct
    from .space.encode import EncodeOptions
    from .space.space import ShapeSpace
    from .space.training import TrainingOptions
    from .surface.combine import as_closed, difference, intersection, offset, placed, shell, union
    from .surface.surface import Surface

_HOME = {
    "Config": "config",
    "EncodeOptions": "space.encode",
    "TrainingOptions": "space.training",
    "FAST": "config",
    "PAPER": "config",
    "FitError": "errors",
    "InputError": "errors",
    "LargeOptions": "large.whole",
    "Options": "reconstruction",
    "PhotoOptions": "idr.photographs",
    "PointCloud": "cloud.pointcloud",
    "ShapeSpace": "space.space",
    "Surface": "surface.surface",
    "as_closed": "surface.combine",
    "as_cloud": "cloud.pointcloud",
    "difference": "surface.combine",
    "intersection": "surface.combine",
    "offset": "surface.combine",
    "placed": "surface.combine",
    "shell": "surface.combine",
    "union": "surface.combine",
    "large_surface": "large.whole",
    "orient_normals": "normals.estimate",
    "read_points": "cloud.pointcloud",
    "reconstruct": "reconstruction",
    "reconstruct_images": "idr.photographs",
    "reconstruct_large": "large.whole",
}

__all__ = [
    "FAST",
    "PAPER",
    "Config",
    "EncodeOptions",
    "FitError",
    "InputError",
    "LargeOptions",
    "Options",
    "PhotoOptions",
    "PointCloud",
    "ShapeSpace",
    "Surface",
    "TrainingOptions",
    "as_closed",
    "as_cloud",
    "difference",
    "intersection",
    "large_surface",
    "offset",
    "orient_normals",
    "placed",
    "read_points",
    "reconstruct",
    "reconstruct_images",
    "reconstruct_large",
    "shell",
    "union",
]


_NEED_TORCH = ("EncodeOptions", "ShapeSpace", "TrainingOptions")


_ROOMS = {
    "baselines": "judge.baselines",
    "dfaust": "scans.preprocess",
    "errormap": "show.colors",
    "exports": "mesh.write",
    "grids": "surface.export",
    "metrics": "judge.metrics",
    "notebook": "show.notebook",
    "presets": "config",
    "quality": "judge.quality",
    "rays": "surface.rays",
    "splits": "scans.folders",
    "triangles": "mesh.triangles",
}
"""Documented names of modules, as in `igr.metrics.compare`, and where those are."""


class _Named:
    """Finds the modules of `_ROOMS` when they are imported by their documented names."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        known = name.startswith("igr.") and name[4:] in _ROOMS
        return importlib.machinery.ModuleSpec(name, _named) if known else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        module = importlib.import_module(f"igr.{_ROOMS[spec.name[4:]]}")
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: Any) -> None:
        module.__spec__ = module.__spec__.loader_state


_named: Any = _Named()
sys.meta_path.append(_named)


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
    if name in _ROOMS:
        return importlib.import_module(f"igr.{name}")
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
