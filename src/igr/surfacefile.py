"""A saved surface: its arrays and entries, and how it is read back."""

from __future__ import annotations

import json
import os

import numpy as np

from .config import Config
from .errors import InputError
from .field import make_field
from .saved import check_parameters, parameter_shapes, saved_details, saved_dimension, saved_frame
from .storage import read_tensors
from .surface import Surface

FORMAT = "igr surface 1"
"""First entry of a saved surface's metadata; the number changes when older readers cannot read it."""


def surface_file(surface: Surface) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the text entries of the file that a surface is saved to."""
    arrays = {f"field.{name}": value for name, value in surface.field.state().items()}
    arrays |= {"frame.center": surface.frame.center, "frame.scale": np.array([surface.frame.scale])}
    entries = {"format": FORMAT, "dimension": str(surface.dimension), "config": surface.config.to_json()}
    return arrays | {"samples": surface.samples}, entries | {"details": json.dumps(surface.details)}


def read_surface(path: str | os.PathLike[str], *, device: str = "auto") -> Surface:
    """The surface that `Surface.save` wrote to `path`, see `Surface.load`.

    Raises:
        InputError: the file is missing, damaged, or no saved surface.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is no saved surface of this version (format {metadata.get('format')!r})")
    try:
        config, dimension = Config.from_json(metadata["config"]), saved_dimension(metadata["dimension"])
        frame, details = saved_frame(tensors, dimension), saved_details(metadata["details"])
        samples = tensors["samples"]
        check_parameters({"samples": samples}, {"samples": (max(len(samples), 1), dimension)})
        state = {k[6:]: v for k, v in tensors.items() if k.startswith("field.")}
        check_parameters(state, parameter_shapes(config, dimension))
        field = make_field(config, dimension, device=device)
        field.load_state(state)
        field.set_detail(1.0)
        surface = Surface(field, frame, config, samples=samples, details=details)
        if not np.isfinite(surface.distance(frame.to_input(samples[:1000]))).all():
            raise InputError("its weights are too large")
    except (KeyError, TypeError, ValueError, RuntimeError) as problem:
        raise InputError(f"{path} is damaged or incomplete ({problem})") from None
    return surface
