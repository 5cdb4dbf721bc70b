"""How well data supports a place: which parts of a surface were measured, and which were filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ..cloud.neighbors import Neighbors

if TYPE_CHECKING:
    from ..field.field import NumpyField

NEIGHBORS = 8
"""Nearest samples that speak for a place."""
HALF = 3.0
"""Confidence is one half where the error to be expected is so many times that at the samples themselves."""
PROBES = 5000
"""Samples from which that is measured."""

MISSED = 3.0
"""Points that lie farther than this from the surface, as a multiple of their spacing or noise, are missed."""
BETWEEN = 0.9
"""Mean deviation over standard deviation of the distances to a surface between two layers: near 1; of noise .8."""


def missed(distance: Float[np.ndarray, " n"], spacing: float, noise: float) -> str:
    """What to say of points at such signed distances from their surface, `spacing` apart; empty where they fit."""
    residual = float(np.abs(distance).mean())
    if residual > MISSED * max(spacing, noise):
        return (
            f"the surface misses the points by {residual:.3g} on average, and they are {spacing:.3g} apart; "
            "reconstruct parts that are small and far apart one by one, and look at the normals"
        )
    apart = np.abs(distance - distance.mean()).mean()
    if residual > 2 * noise and apart > BETWEEN * distance.std():
        return (
            f"the points lie {residual:.3g} to either side of the surface and scatter by {noise:.2g}: layers "
            f"closer than the points are ({spacing:.3g} apart) were taken for one"
        )
    return ""


class Support:
    """The samples of a fitted surface, and what the fitted field makes of them.

    Args:
        near: the points that the surface was fitted to, and their neighbors.
        misfit: distance of each to the surface (s,), in the same units.
        normals: unit normals of the field there (s, d).
    """

    def __init__(
        self,
        near: Neighbors,
        misfit: Float[np.ndarray, " s"],
        normals: Float[np.ndarray, "s d"],
    ) -> None:
        self.near, self.misfit, self.normals = near, misfit, normals
        samples = near.points
        probes = np.arange(0, len(samples), max(1, len(samples) // PROBES))
        alone = self._expected(samples[probes], normals[probes], first=1)  # each without itself
        self.typical = max(float(np.median(alone)), 1e-12)

    @classmethod
    def of(cls, near: Neighbors, field: NumpyField) -> Support:
        """The support of a field by the points that it was fitted to."""
        return cls(near, np.abs(field.distance(near.points)), field.normals(near.points))

    def expected_error(
        self, x: Float[np.ndarray, "n d"], normals: Float[np.ndarray, "n d"]
    ) -> Float[np.ndarray, " n"]:
        """How far the surface at `x` may be from the truth, in the samples' units; only its order is promised.

        The sum of three lengths: to the nearest sample; how far the nearest samples and the place miss the tangent
        planes of each other, as they do where the surface had to bend without data; and how far those samples lie
        off the surface.

        Args:
            x: places, on or near the surface.
            normals: unit normals of the field there.
        """
        return self._expected(x, normals, first=0)

    def confidence(
        self, x: Float[np.ndarray, "n d"], normals: Float[np.ndarray, "n d"]
    ) -> Float[np.ndarray, " n"]:
        """How well the samples support `x`, in [0, 1]: 0.9 at a typical sample, 0.5 where the expected error is
        three times as large, falling with its square; NaN where the field has no normal."""
        known = np.isfinite(normals).all(1)
        values = np.full(len(x), np.nan)
        error = self.expected_error(x[known], normals[known])
        values[known] = 1 / (1 + (error / (HALF * self.typical)) ** 2)
        return values

    def _expected(self, x: np.ndarray, normals: np.ndarray, first: int) -> np.ndarray:
        count = min(NEIGHBORS, len(self.near.points) - first)
        distance, index = self.near.at(x, count + first)
        distance = distance.reshape(len(x), count + first)[:, first]
        index = index.reshape(len(x), count + first)[:, first:]
        bend = np.zeros(len(x))
        for near in index.T:
            step = x - self.near.points[near]
            bend += np.abs(np.einsum("nd,nd->n", step, self.normals[near]))
            bend += np.abs(np.einsum("nd,nd->n", step, normals))
        return distance + bend / count + self.misfit[index].mean(1)
