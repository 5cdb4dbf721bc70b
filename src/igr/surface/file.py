"""A saved surface: its arrays and entries, checked before anything is built, since its configuration is only its
own word, and how it is read back.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cloud.frame import Frame
from ..config import Config, FeatureConfig
from ..errors import InputError
from ..field.features import parameter_shapes
from ..field.field import NativeField, NumpyField, make_field
from ..field.residual import Corrected, Residual
from ..settings import parse_json
from ..store.tensors import check_parameters, read_tensors
from .attributes import Measured
from .combine import CombinedField

if TYPE_CHECKING:
    from .surface import Surface

FORMAT = "igr surface 1"
"""First entry of a saved surface's metadata; the number changes when older readers cannot read it."""


def surface_file(surface: Surface) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the text entries of the file that a surface is saved to."""
    arrays = {f"field.{name}": value for name, value in surface.field.state().items()}
    arrays |= {"frame.center": surface.frame.center, "frame.scale": np.array([surface.frame.scale])}
    entries = {"format": FORMAT, "dimension": str(surface.dimension), "config": surface.config.to_json()}
    arrays |= {"samples": surface.samples}
    if surface.measured is not None:
        arrays |= {f"attribute.{name}": values for name, values in surface.measured.values.items()}
        arrays |= {} if surface.measured.points is None else {"attributes.points": surface.measured.points}
    return arrays, entries | {"details": json.dumps(surface.details)}


def read_surface(path: str | os.PathLike[str], *, device: str = "auto") -> dict[str, Any]:
    """What `Surface` is made of, by the names of its arguments, from the file that `Surface.save` wrote.

    Raises:
        InputError: the file is missing, damaged, or no saved surface.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is no saved surface of this version (format {metadata.get('format')!r})")
    try:
        parts = parts_of(tensors, metadata, device)
        if not np.isfinite(
            NumpyField(parts["field"], parts["config"].network).distance(parts["samples"][:1000])
        ).all():
            raise InputError("its weights are too large")
    except (KeyError, TypeError, ValueError, RuntimeError) as problem:
        raise InputError(f"{path} is damaged or incomplete ({problem})") from None
    return parts


def parts_of(arrays: dict[str, np.ndarray], entries: dict[str, str], device: str) -> dict[str, Any]:
    """What a surface is made of, from the arrays and text entries of a file.

    What does not fit together raises an error.
    """
    config, dimension = Config.from_json(entries["config"]), saved_dimension(entries["dimension"])
    frame, details = saved_frame(arrays, dimension), saved_details(entries["details"])
    samples = arrays["samples"]
    check_parameters({"samples": samples}, {"samples": (max(len(samples), 1), dimension)})
    state = {k[6:]: v for k, v in arrays.items() if k.startswith("field.")}
    check_parameters(state, parameter_shapes(config, dimension))
    field = make_field(config, dimension, device=device, state=state)
    field.set_detail(1.0)
    if isinstance(config.network, FeatureConfig):
        residual = Residual.of(state, dimension, config.network.bound)
        field = field if residual is None else Corrected(field, residual)
    parts = {"field": field, "frame": frame, "config": config, "samples": samples, "details": details}
    return parts | {"measured": _saved_attributes(arrays, *samples.shape)}


def _saved_attributes(arrays: Mapping[str, np.ndarray], count: int, dimension: int) -> Measured | None:
    """The attributes of a saved surface with so many samples, if it has any; what does not fit is refused."""
    values = {name.removeprefix("attribute."): v for name, v in arrays.items() if name.startswith("attribute.")}
    if not values:
        return None
    found = Measured(values, arrays.get("attributes.points"))
    found.check(count, dimension)
    return found


def source_of(surface: Surface) -> str:
    """What a surface was fitted to, as a checksum of the cloud and of what its normals were used for."""
    center, scale = surface.frame.center.tolist(), surface.frame.scale
    return f"{zlib.crc32(surface.samples.tobytes()):08x} {center} {scale} {surface.details.get('normals')}"


def copied(surface: Surface) -> tuple[Any, ...]:
    """How a surface is pickled and copied (see `object.__reduce__`): by what its file would hold, on the device
    that it is on; a combination, which has no file, by its parts."""
    told = {"history": list(surface.history), "seconds": surface.seconds, "unsaved": surface.unsaved}
    if isinstance(surface.field, CombinedField):
        names = "field", "frame", "config", "samples", "details", "measured"
        return _made, (type(surface), {name: getattr(surface, name) for name in names}), told
    arrays, entries = surface_file(surface)
    device, network = surface.field.machine()["device"], getattr(surface.field, "field", surface.field)
    if device == "cpu" and not isinstance(network, NativeField):
        device = "torch"
    return _restored, (type(surface), arrays, entries, device), told


def _made(kind: type[Surface], parts: dict[str, Any]) -> Surface:
    return kind(**parts)


def _restored(kind: type[Surface], arrays: dict[str, np.ndarray], entries: dict[str, str], device: str) -> Surface:
    return kind(**parts_of(arrays, entries, device))


def saved_dimension(text: str) -> int:
    """2 or 3.

    Raises:
        InputError: it is neither.
    """
    if text not in ("2", "3"):
        raise InputError(f"its dimension is {text[:20]!r}, expected 2 or 3")
    return int(text)


def saved_frame(tensors: Mapping[str, np.ndarray], dimension: int) -> Frame:
    """The frame of a saved surface.

    Raises:
        InputError: it is missing or impossible.
    """
    check_parameters(tensors, {"frame.center": (dimension,), "frame.scale": (1,)}, largest=1e100)
    scale = float(tensors["frame.scale"][0])
    if not scale > 1e-100:
        raise InputError(f"its scale is {scale:g}, expected a positive number")
    return Frame(tensors["frame.center"], scale)


def saved_details(text: str) -> dict:
    """What a model says about how it was made.

    Raises:
        InputError: it is no JSON object.
    """
    details = parse_json(text, "its details")
    if not isinstance(details, dict):
        raise InputError("its details are no JSON object")
    return details
