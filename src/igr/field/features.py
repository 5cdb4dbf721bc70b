"""Geometry of the multiresolution features: which grids there are and where their rows lie in one table.

Shared by the native field and its torch reference, so that both read the same table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..config import Config, FeatureConfig, MLPConfig

HASH_PRIMES = (1, 2654435761, 805459861)
"""Factors of the spatial hash, one an axis (Teschner et al. 2003; Müller et al. 2022, equation 4)."""


SHOWN, FINER = 2.0, 2.5
"""Cells of a mesh along one of the network's finest: with 1.4, its triangles add a tenth to the error; and where a
residual is finer as many at most: half a spacing of a clean cloud, in a noisy one what noise leaves to show."""
USUAL = 256, 768
"""Resolution of a mesh where nobody asks for another, at least and at most: above, it outgrows its cloud."""
PART = 1 << 20
"""Rows that are drawn at once."""


@dataclass(frozen=True)
class Level:
    """One grid of features."""

    resolution: int
    """Cells along an edge of the cube [-bound, bound]^d."""
    rows: int
    """Rows of the table that belong to this level."""
    offset: int
    """First of those rows."""
    hashed: bool
    """Whether corners share rows by the spatial hash; otherwise row = ((i0·m + i1)·m + i2), m = resolution + 1."""


def feature_levels(config: FeatureConfig, dimension: int) -> list[Level]:
    """The grids of `config` in `dimension` 2 or 3, coarsest first, with their places in the table."""
    resolutions = np.round(np.geomspace(config.coarsest, config.finest, config.levels)).astype(int)
    levels: list[Level] = []
    offset = 0
    for resolution in resolutions.tolist():
        corners = (resolution + 1) ** dimension
        hashed = corners > 2**config.log2_rows
        rows = 2**config.log2_rows if hashed else corners
        levels.append(Level(resolution, rows, offset, hashed))
        offset += rows
    return levels


def shown(network: FeatureConfig, residual: int = 0) -> float:
    """Cells of a mesh along an edge of the grids' cube that show what a field holds: a network, and a residual of
    so many cells."""
    return max(SHOWN * network.finest, min(residual, FINER * network.finest))


def resolution_of(network: FeatureConfig | MLPConfig, side: float, residual: int = 0) -> int:
    """Such cells along a side (unit frame), as many as are usual."""
    cells = shown(network, residual) * side / (2 * network.bound) if isinstance(network, FeatureConfig) else 0.0
    return int(np.clip(round(cells), *USUAL))


def level_weights(config: FeatureConfig, progress: float) -> np.ndarray:
    """Weight (levels,) in [0, 1] of each level at `progress` of the run: coarse ones first, each eased in."""
    share = min(progress / config.full_detail_at, 1.0) if config.full_detail_at > 0 else 1.0
    active = config.start_levels + share * (config.levels - config.start_levels)
    return np.clip(active - np.arange(config.levels), 0.0, 1.0).astype(np.float32)


def initial_parameters(config: FeatureConfig, dimension: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """First values of table and MLP: tiny features, and weights that make f about the distance to a sphere of
    `config.radius` (geometric initialisation, Atzmon & Lipman 2020, theorem 1).

    Returns:
        float32 arrays `table` (rows, features), `weight1` (width, inputs), `bias1`, `weight2`, `bias2`,
        `weight3` (width,), `bias3` (1,); the inputs are the coordinates, then the features coarse to fine.
    """
    width, inputs = config.width, dimension + config.levels * config.features
    rows = sum(level.rows for level in feature_levels(config, dimension))
    spread, table = np.sqrt(2 / width), np.empty((rows, config.features), np.float32)
    for start in range(0, rows, PART):  # in double precision a long table would take much memory
        table[start : start + PART] = rng.uniform(-1e-4, 1e-4, (min(PART, rows - start), config.features))
    parameters = {
        "table": table,
        "weight1": rng.normal(0, spread, (width, inputs)),
        "bias1": np.zeros(width),
        "weight2": rng.normal(0, spread, (width, width)),
        "bias2": np.zeros(width),
        "weight3": rng.normal(np.sqrt(np.pi / width), 1e-5, width),
        "bias3": np.array([-config.radius]),
    }
    return {name: value.astype(np.float32, copy=False) for name, value in parameters.items()}


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
        return {f"network.{name}": shape for name, shape in _layers(network, dimension, latents.size).items()}
    count = sum(math.prod(shape) for shape in _layers(network, dimension).values())
    return {"network.base": (count,), "network.directions": (count, latents.size)}


def _layers(network: MLPConfig, dimension: int, latent: int = 0) -> dict[str, tuple[int, ...]]:
    inputs = dimension * (1 + 2 * network.octaves) + latent
    shapes: dict[str, tuple[int, ...]] = {}
    for index in range(network.layers + 1):
        outputs = 1 if index == network.layers else network.width
        outputs -= inputs if index + 1 in network.skip else 0
        shapes[f"lin{index}.weight"] = (outputs, network.width if index else inputs)
        shapes[f"lin{index}.bias"] = (outputs,)
    return shapes
