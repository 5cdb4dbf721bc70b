"""The unit frame that everything is fitted in, and the stray points that must not decide it.

Clouds come in millimeters or kilometers, far from the origin, with points that belong to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, eq=False)
class Frame:
    """The similarity between the input's frame and the unit frame: unit = (x - center) / scale.

    >>> frame = Frame(np.array([10.0, 20.0]), 4.0)
    >>> frame.to_unit(np.array([[12.0, 20.0]]))
    array([[0.5, 0. ]])
    """

    center: Float[np.ndarray, " d"]
    """The unit frame's origin, in the input's frame and units."""
    scale: float
    """Length of one unit in the input's units; distances in the unit frame times this are in input units."""

    def __repr__(self) -> str:
        return f"Frame(center={np.asarray(self.center).tolist()}, scale={float(self.scale)!r})"

    def to_unit(self, x: Float[np.ndarray, "*batch d"]) -> Float[np.ndarray, "*batch d"]:
        """Positions of the input's frame in the unit frame, float64."""
        return (np.asarray(x, np.float64) - self.center) / self.scale

    def to_input(self, u: Float[np.ndarray, "*batch d"]) -> Float[np.ndarray, "*batch d"]:
        """Positions of the unit frame in the input's frame, float64; undoes `to_unit` to rounding."""
        return np.asarray(u, np.float64) * self.scale + self.center


def sides(points: Float[np.ndarray, "n d"]) -> str:
    """The sides of the box of some points, to read.

    >>> sides(np.array([[0.0, 0.0], [61.0, 2.5]]))
    '61 × 2.5'
    """
    return " × ".join(f"{side:.4g}" for side in np.ptp(points, axis=0))
