"""A saved shape space, read back."""

from __future__ import annotations

import os
from importlib import resources
from typing import Any

import numpy as np
import torch

from .config import Config, MLPConfig
from .errors import InputError
from .legacy import is_original, load_original
from .opening import SHIPPED, checkpoint_in, is_shipped
from .parallel import torch_device
from .saved import check_parameters, parameter_shapes, saved_details, saved_dimension
from .settings import parse_json
from .spacefield import SpaceField, SpaceNetwork, make_network
from .storage import read_tensors

FORMAT = "igr shape space 1"
"""First entry of a saved space's metadata."""


def read_space(
    path: str | os.PathLike[str], *, device: str = "auto", checkpoint: str = "latest"
) -> dict[str, Any]:
    """What a saved `ShapeSpace` is made of, by the names of its arguments; see `ShapeSpace.load`.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if is_shipped(path):
        with resources.as_file(resources.files("igr") / "data" / f"{SHIPPED}.safetensors") as shipped:
            return read_space(shipped, device=device)
    if is_original(path):
        return load_original(path, checkpoint=checkpoint, device=torch_device(device))
    if not os.path.exists(path):
        raise InputError(f"{path}: no such run or file; `bodies` is the space that is shipped")
    path = checkpoint_in(path, checkpoint) if os.path.isdir(path) else path
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is no saved shape space of this version (format {metadata.get('format')!r})")
    try:
        return parts_of(tensors, metadata, torch_device(device))
    except (KeyError, ValueError, RuntimeError) as problem:
        raise InputError(f"{path} is damaged or incomplete ({problem})") from None


def parts_of(tensors: dict[str, np.ndarray], entries: dict[str, str], device: str) -> dict[str, Any]:
    """What a space is made of, from the arrays and text entries of a file.

    What does not fit together raises an error.
    """
    config, dimension = Config.from_json(entries["config"]), saved_dimension(entries["dimension"])
    names, state = _names(entries["names"]), _space_state(tensors, config, dimension)
    if len(names) != len(state["latents"]):
        raise InputError(f"it has {len(names):,} names for {len(state['latents']):,} latents")
    network = SpaceNetwork(make_network(config, dimension), torch.tensor(state["latents"]))
    field = SpaceField(network, device=device, beta2=config.optimizer.beta2)
    field.load_state(state)
    return {
        "field": field,
        "config": config,
        "names": names,
        "scale": _length(entries["scale"]),
        "reach": _length(entries["reach"]),
        "details": saved_details(entries["details"]),
    }


def _space_state(tensors: dict[str, np.ndarray], config: Config, dimension: int) -> dict[str, np.ndarray]:
    """The parameters of a saved space, all there, of the right shapes, and finite."""
    if config.latents is None or not isinstance(config.network, MLPConfig):
        raise InputError("its configuration is not that of a shape space")
    state = {k[6:]: v.astype(np.float32) for k, v in tensors.items() if k.startswith("field.")}
    check_parameters(state, parameter_shapes(config, dimension))
    check_parameters(state, {"latents": (len(state["latents"]), config.latents.size)})
    return state


def _names(text: str) -> list[str]:
    names = parse_json(text, "its list of names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("its names are no list of names")
    return names


def _length(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise InputError(f"a length of it is {text[:20]!r}, expected a positive number")
    return float(text)
