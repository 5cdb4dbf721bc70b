"""What a fitted network leaves of its points, found in closed form: the end of a fit.

Stochastic steps follow the points slowly where they are dense. So at the end what is left of them, r = −f(x_i) and
n_i − ∇f(x_i), is spread over sparse grids beside the cloud, coarse to fine, each by least squares:

    Σ_i (c(x_i) − r_i)² + (κ h_i)² ‖∇c(x_i) − (n_i − ∇f(x_i))‖²  +  (σ/τ)² Σ_ab (c_a − c_b)²

over the points i and the neighboring corners a, b of a grid: kriging of what a trend leaves, the trend a network
(Matheron 1963; multilevel scattered data: Ohtake, Belyaev, Seidel 2003). σ is the noise of the points and τ what
the network leaves beyond that: what noise explains is left alone.
"""

from __future__ import annotations

import logging

import numpy as np
from jaxtyping import Float, Int

from ..config import FeatureConfig, MLPConfig
from ..field.field import Field, as_numpy
from ..field.residual import FINEST, Corrected, Grid, Residual, corners
from .sampling import CloudSampler

logger = logging.getLogger(__name__)

PER_SPACING = 2.0
"""Cells of the finest grid in a spacing of the cloud."""
SMOOTH = 0.1
"""σ/τ at least: what a multilinear function cannot follow of a smooth one, which counts as noise does."""
TURNED = 0.3
"""κ: how much a normal counts for the slope within a cell; a multilinear function turns little there."""
FAINT = 5.0
"""σ/τ from which on nothing is added: a twenty-fifth of so little."""
ROUNDS = 10
"""Steps of conjugate gradients; half as many give the same."""
PART = 1 << 18
"""Points that the network is asked for at once."""


def with_residual(
    field: Field,
    sampler: CloudSampler,
    network: FeatureConfig | MLPConfig,
    *,
    spacing: float = 0.0,
    noise: float = 0.0,
) -> Field:
    """A field fitted to a cloud in space with what it leaves of its points added. It stays as it is where noise
    explains that, or where it misses most of them by more than a spacing: what so few steps or grids do not hold
    is no correction. (In the plane points are too far apart for grids as fine as their distance.)

    Args:
        field: the network.
        sampler: its points, normals, and the trust in these.
        network: its grids of features; other networks stay as they are.
        spacing, noise: those of the cloud, unit frame; 0: unknown.
    """
    if sampler.normals is None or not isinstance(network, FeatureConfig) or field.dimension == 2 or spacing <= 0:
        return field
    places, normals = sampler.points, sampler.normals
    parts = [field.array(places[start : start + PART]) for start in range(0, len(places), PART)]
    values = [tuple(map(as_numpy, field.distance_and_gradient(part))) for part in parts]
    height, slope = -np.concatenate([f for f, _ in values]), normals - np.concatenate([g for _, g in values])
    left = float(np.median(np.abs(height))) / 0.6745
    beyond = max(left**2 - noise**2, 0.0) ** 0.5
    if left > spacing or not noise < FAINT * beyond:
        return field
    stiff = float(np.hypot(SMOOTH, noise / beyond))
    trust = TURNED * (np.ones(len(places), np.float32) if sampler.trust is None else sampler.trust)
    held = np.abs(height) < spacing
    places, height, slope, trust = places[held], height[held], slope[held], trust[held]
    grids = []
    for resolution in _resolutions(network, spacing):
        cell = 2 * network.bound / resolution
        around, weight, turn = corners(places, resolution, network.bound)
        found, index = np.unique(around, return_inverse=True)
        index = index.reshape(around.shape)
        beside = _beside(found, resolution, places.shape[1])
        known = _Known(index, weight, turn * trust[:, None, None], beside, stiff)
        value = known.solved(height, slope * (cell * trust)[:, None])
        grids.append(Grid(places.shape[1], resolution, found, value))
        height = height - (value[index] * weight).sum(1)
        slope = slope - np.einsum("nc,ncd->nd", value[index], turn) / cell
    return Corrected(field, Residual(grids, network.bound))


def _resolutions(network: FeatureConfig, spacing: float) -> list[int]:
    """Those of the grids, coarse to fine: from the network's finest one on, each twice the one before."""
    finest = min(round(PER_SPACING * 2 * network.bound / spacing), FINEST)
    count = 1 + max(0, round(np.log2(finest / network.finest)))
    return [max(1, round(finest / 2**level)) for level in reversed(range(count))]


class _Known:
    """The normal equations of one grid.

    Args:
        index: the corners around each point, as rows of the unknown.
        weight: how much the value at each corner is of that at the point.
        turn: how much it is of the slope there, times how much that counts.
        beside: pairs of neighboring corners.
        stiff: what these differ by, beside what points do.
    """

    def __init__(
        self,
        index: Int[np.ndarray, "n c"],
        weight: Float[np.ndarray, "n c"],
        turn: Float[np.ndarray, "n c d"],
        beside: Int[np.ndarray, "2 e"],
        stiff: float,
    ) -> None:
        self.index, self.weight, self.turn, self.beside = index, weight, turn, beside
        self.square, self.count = stiff**2, int(index.max()) + 1

    def solved(self, height: Float[np.ndarray, " n"], slope: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " m"]:
        """The values at the corners, by conjugate gradients, the diagonal as preconditioner."""
        diagonal = self._gathered(self.weight**2 + (self.turn**2).sum(2)) + self.square * np.bincount(
            self.beside.reshape(-1), minlength=self.count
        )
        left = self._gathered(self.weight * height[:, None] + np.einsum("ncd,nd->nc", self.turn, slope))
        value = np.zeros(self.count)
        toward = steep = left / diagonal
        size = float(left @ steep)
        for _ in range(ROUNDS if size > 0 else 0):
            product = self._product(toward)
            share = size / float(toward @ product)
            value, left = value + share * toward, left - share * product
            steep = left / diagonal
            size, before = float(left @ steep), size
            toward = steep + size / before * toward
        return value.astype(np.float32)

    def _product(self, value: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        around = value.astype(np.float32)[self.index]
        height = (around * self.weight).sum(1)
        slope = np.einsum("nc,ncd->nd", around, self.turn)
        total = self._gathered(self.weight * height[:, None] + np.einsum("ncd,nd->nc", self.turn, slope))
        first, second = self.beside
        differ = self.square * (value[first] - value[second])
        total += np.bincount(first, differ, self.count) - np.bincount(second, differ, self.count)
        return total

    def _gathered(self, parts: Float[np.ndarray, "n c"]) -> Float[np.ndarray, " m"]:
        """For each corner the sum of what its points say."""
        return np.bincount(self.index.reshape(-1), parts.reshape(-1), self.count)


def _beside(found: Int[np.ndarray, " m"], resolution: int, dimension: int) -> Int[np.ndarray, "2 e"]:
    """Pairs of corners, as rows, that are neighbors along an axis."""
    pairs = []
    for step in (resolution + 1) ** np.arange(dimension):
        other = np.minimum(np.searchsorted(found, found + step), len(found) - 1)
        first = np.flatnonzero(found[other] == found + step)
        pairs.append(np.stack([first, other[first]]))
    return np.concatenate(pairs, 1)
