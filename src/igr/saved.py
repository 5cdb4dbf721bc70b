"""What a saved model must hold, checked before anything is built: its configuration is only its own word."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .config import Config, FeatureConfig, MLPConfig
from .encoding import feature_levels
from .errors import InputError
from .frame import Frame
from .settings import parse_json


def parameter_shapes(config: Config, dimension: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the network's parameters by name, but for the latents of a shape space; nothing is allocated."""
    network, latents = config.network, config.latents
    if isinstance(network, FeatureConfig):
        rows = sum(level.rows for level in feature_levels(network, dimension))
        width, inputs = network.width, dimension + network.levels * network.features
        shapes: dict[str, tuple[int, ...]] = {"table": (rows, network.features)}
        shapes |= {"weight1": (width, inputs), "bias1": (width,), "weight2": (width, width), "bias2": (width,)}
        return shapes | {"weight3": (width,), "bias3": (1,)}
    if latents is None:
        return _layers(network, dimension)
    if latents.enters == "input":
        return {f"network.{name}": shape for name, shape in _layers(network, dimension + latents.size).items()}
    count = sum(math.prod(shape) for shape in _layers(network, dimension).values())
    return {"network.base": (count,), "network.directions": (count, latents.size)}


def _layers(network: MLPConfig, inputs: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for index in range(network.layers + 1):
        outputs = 1 if index == network.layers else network.width
        outputs -= inputs if index + 1 in network.skip else 0
        shapes[f"lin{index}.weight"] = (outputs, network.width if index else inputs)
        shapes[f"lin{index}.bias"] = (outputs,)
    return shapes


LARGEST = 1e6
"""No weight of a fitted network is so large; with many such, what it computes is not finite."""


def check_parameters(
    tensors: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], *, largest: float = LARGEST
) -> None:
    """Refuse parameters that are missing, of another shape, not finite, or beyond `largest`.

    Raises:
        InputError: the first one that is wrong, and how.
    """
    for name, shape in shapes.items():
        if name not in tensors:
            raise InputError(f"{name} is missing")
        if tensors[name].shape != shape or tensors[name].dtype.kind not in "fiu":
            found = f"{tensors[name].dtype} {tensors[name].shape}"
            raise InputError(f"{name} is {found}, the configuration needs {shape}")
        if not (np.abs(tensors[name]) <= largest).all():
            raise InputError(f"{name} holds NaN, infinity, or numbers beyond {largest:g}")


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
