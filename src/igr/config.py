"""Everything that decides a run, as frozen dataclasses; `fast` and `paper` are instances.

A run's configuration is saved beside its weights and, with the cloud and the seed, is enough to repeat it.
Lengths are in the unit frame (the cloud in a ball of radius about 1), see `frame.py`.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import InputError


@dataclass(frozen=True)
class MLPConfig:
    """The paper's network (section 4 and supplement): a plain MLP on the coordinates."""

    kind: Literal["mlp"] = "mlp"
    width: int = 512
    """Neurons of each hidden layer."""
    layers: int = 8
    """Number of hidden layers."""
    skip: tuple[int, ...] = (4,)
    """Layers whose input is the previous output and the network's input together, divided by √2."""
    beta: float = 100.0
    """Sharpness of the softplus activation."""
    radius: float = 1.0
    """Radius of the sphere that the geometric initialisation starts from."""


@dataclass(frozen=True)
class FeatureConfig:
    """Multiresolution features and a small MLP: what `fast` fits, natively or in torch."""

    kind: Literal["features"] = "features"
    levels: int = 9
    """Grids of features, from `coarsest` to `finest` in a geometric progression."""
    features: int = 2
    """Numbers a grid corner holds."""
    coarsest: int = 8
    """Cells along an edge of the coarsest grid."""
    finest: int = 320
    """Cells along an edge of the finest grid."""
    log2_rows: int = 18
    """A grid with more corners than 2^this shares rows by a spatial hash."""
    bound: float = 1.2
    """Half the edge of the cube that the grids cover."""
    width: int = 64
    """Neurons of both hidden layers."""
    beta: float = 100.0
    """Sharpness of the softplus activation."""
    radius: float = 0.5
    """Radius of the sphere that the initialisation starts from."""
    start_levels: int = 3
    """Levels that are on at the first step."""
    full_detail_at: float = 0.6
    """Share of the run after which every level is on."""
