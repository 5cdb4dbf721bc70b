"""Places that a surface is asked at, and its answers: arrays, lists or tensors, checked once as they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from ..errors import InputError


def as_places(x: Any, dimension: int) -> Float[np.ndarray, "n d"]:
    """Places (n, d) in float64 from an array, a tensor or a list of real numbers.

    Raises:
        InputError: they have another shape, some are masked, or they are no real numbers.
    """
    if np.ma.is_masked(x):
        raise InputError("some of the points are masked; leave those out, or fill them in, before asking")
    if hasattr(x, "detach"):
        tensor = x.detach().cpu()
        x = (tensor.double() if tensor.is_floating_point() else tensor).numpy()  # numpy has no bfloat16
    try:
        values = np.asarray(x)
    except ValueError:
        raise InputError(f"expected points of shape (n, {dimension}), got rows of different length") from None
    if values.dtype.kind not in "biuf":
        raise InputError(f"expected points of real numbers, got values of type {values.dtype}")
    if values.ndim != 2 or values.shape[1] != dimension:
        raise InputError(f"expected points of shape (n, {dimension}), got {tuple(values.shape)}")
    with np.errstate(over="ignore"):
        return values.astype(np.float64, copy=False)


def like(x: Any, values: np.ndarray) -> Any:
    """`values` as `x` was given: an array, or a tensor on the device of `x`. Whole numbers stay whole; others are
    in float32 where those of `x` are floating numbers of at most 32 bits, else in float64."""
    if not hasattr(x, "detach"):
        return values
    import torch

    if values.dtype.kind != "f":
        return torch.as_tensor(values, device=x.device)
    short = x.is_floating_point() and x.dtype != torch.float64
    return torch.as_tensor(values, dtype=torch.float32 if short else torch.float64, device=x.device)
