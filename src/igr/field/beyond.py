"""A field beyond the ball around its cloud, where nothing says what it should be: distances to its zero set.

Inside the ball |x| <= R the field f answers. Beyond it, with y = R x/|x| the place of the sphere below x and D the
distance to the nearest of the feet, which are places of the zero set,

    F(x) = w f(y) + s (D(x) - w D(y)).

w falls smoothly from 1 on the sphere to 0 at 2R; s = 4 f(y)/D(y), cut to [-1, 1], is the side, which is 1 around
a closed surface. So F goes on from f without a jump, keeps what f errs by on the sphere only close to it, and from
2R on is the distance to the feet, whose slope is 1. Where the surface itself reaches the sphere, so does F's zero.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
from jaxtyping import Float

from ..cloud.neighbors import Neighbors

REACH = 0.9
"""Radius that the ball of a cloud has at least, for this purpose: that of `Config.radius`."""
ROOM = 11 / 9
"""R, as a multiple of the radius of the cloud."""
PLACES = {2: 1 << 10, 3: 1 << 12}
"""Places of the sphere whose feet are taken, by dimension: a foot is off by about the square of their spacing."""
CLOSEST = 4
"""Points that may be equally near to a place of the sphere, but for rounding."""
SLIDES = 0.2, 0.1, 0.05
"""Steps along the zero set towards the place of the sphere, by the sine of the angle that is missing."""
STEPS, CLOSE = 6, 1e-3
"""Newton steps onto the zero set; what is then farther off than this is left out."""
SIDE = 4.0
"""Where f is this many times smaller than the distance to the feet, the surface is taken to reach the sphere."""


class Asked(Protocol):
    """A field that can be asked for values and gradients, without this continuation."""

    def distance_and_gradient(
        self, x: Float[np.ndarray, "n d"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n d"]]:
        """Value (n,) and spatial gradient (n, d) at `x`."""
        ...


class Beyond:
    """The continuation of one field; the feet are found when the first place beyond the ball is asked for.

    Args:
        field: what is continued.
        near: the neighbors of points (s, d) about on its zero set, which count as a saved surface keeps them, in
            single precision; pieces of it on which none lies are found from the sphere.
    """

    def __init__(self, field: Asked, near: Neighbors) -> None:
        self.field, self.near = field, near
        reach = np.sqrt(np.square(near.points.astype(np.float32), dtype=float).sum(1).max(initial=0))
        self.radius = ROOM * max(REACH, float(reach))

    def below(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """The place y (n, d) of the ball below each `x`: itself, to the last bit, where it lies in the ball."""
        return x * (self.radius / np.maximum(np.linalg.norm(x, axis=1), self.radius))[:, None]

    def outside(self, x: Float[np.ndarray, "n d"]) -> np.ndarray:
        """The rows of `x` (n, d) that lie beyond the ball."""
        return np.flatnonzero(np.linalg.norm(x, axis=1) > self.radius)

    def distance(
        self, x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"], f: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """F (n,) at `x` beyond the ball, from the places `y` below and the field there."""
        share = fall(np.linalg.norm(x, axis=1) / self.radius - 1)[0]
        far, near = self.feet.at(x)[0], self.feet.at(y)[0]
        return share * f + side(f, near) * (far - share * near)

    def distance_and_gradient(
        self,
        x: Float[np.ndarray, "n d"],
        y: Float[np.ndarray, "n d"],
        f: Float[np.ndarray, " n"],
        g: Float[np.ndarray, "n d"],
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n d"]]:
        """F (n,) and ∇F (n, d) at `x` beyond the ball, from the places `y` below, the field there and its
        gradient."""
        length = np.linalg.norm(x, axis=1)
        share, slope = fall(length / self.radius - 1)
        outward, ratio = x / length[:, None], self.radius / length
        (far, from_far), (near, from_near) = self._to_feet(x), self._to_feet(y)
        sign, more = side(f, near), far - share * near
        turning = more * np.where(np.abs(sign) < 1, SIDE / near, 0.0)
        # By y, which moves along the sphere only, R/|x| as much as x; by |x| through w; and by x through D(x).
        by_f, by_near = share + turning, -sign * share - turning * f / near
        along = by_f[:, None] * g + by_near[:, None] * from_near
        along -= (along * outward).sum(1, keepdims=True) * outward
        radial = slope / self.radius * (f - sign * near)
        gradient = ratio[:, None] * along + radial[:, None] * outward + sign[:, None] * from_far
        return share * f + sign * more, gradient

    @cached_property
    def feet(self) -> Neighbors:
        """The places of the zero set nearest to the sphere's, as far as they were found; the center if none was.

        They are looked for among points of the cloud, and where the gradient leads from the sphere, and moved onto
        the zero set.
        """
        places = self.radius * sphere_places(self.near.points.shape[1])
        found, on = self._onto(np.concatenate([self._nearest(places), places]))
        found = found[on]
        if len(found) == 0:
            return Neighbors(np.zeros((1, self.near.points.shape[1])))
        nearest = found[Neighbors(found).at(places)[1]]
        for reach in SLIDES:
            nearest = self._slid(nearest, places, reach)
        return Neighbors(np.unique(nearest, axis=0))

    def _nearest(self, places: np.ndarray) -> np.ndarray:
        """The points nearest to `places`, in single precision: of those that differ by less, the same in a surface
        that was saved and in one that was not."""
        count = min(CLOSEST, len(self.near.points))
        rows = np.sort(self.near.at(places, count)[1].reshape(len(places), count), axis=1)
        points = self.near.points[rows].astype(np.float32).astype(float)
        closest = np.square(points - places[:, None]).sum(2).argmin(1)
        return np.unique(points[np.arange(len(places)), closest], axis=0)

    def _slid(self, feet: np.ndarray, places: np.ndarray, reach: float) -> np.ndarray:
        """`feet` (n, d), moved along the zero set towards the `places` (n, d) where that brings them nearer."""
        normal = self.field.distance_and_gradient(feet)[1]
        up = places - feet
        share = (up * normal).sum(1) / np.maximum(np.square(normal).sum(1), 1e-12)
        along = up - share[:, None] * normal
        slope = along / np.maximum(np.linalg.norm(up, axis=1, keepdims=True), 1e-12)
        moved, on = self._onto(feet + reach * slope, STEPS // 2)
        nearer = on & (np.linalg.norm(places - moved, axis=1) < np.linalg.norm(up, axis=1))
        return np.where(nearer[:, None], moved, feet)

    def _onto(self, x: np.ndarray, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
        """The places `x` (n, d) after Newton steps onto the zero set, and which of them are there."""
        x = x.copy()
        value, gradient = self.field.distance_and_gradient(x)
        for _ in range(steps):
            far = np.abs(value) > CLOSE / 100
            step = value[far] / np.maximum(np.square(gradient[far]).sum(1), 0.25)
            x[far] -= step[:, None] * gradient[far]
            value[far], gradient[far] = self.field.distance_and_gradient(x[far])
        return x, (np.abs(value) < CLOSE) & (np.linalg.norm(x, axis=1) <= self.radius)

    def _to_feet(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance (n,) to the nearest foot, and its gradient (n, d)."""
        distance, index = self.feet.at(x)
        distance = np.maximum(distance, 1e-12)
        return distance, (x - self.feet.points[index]) / distance[:, None]


def fall(share: Float[np.ndarray, " n"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """From 1 at 0 to 0 at 1 and beyond, flat at both ends; and its slope.

    >>> fall(np.array([0.0, 0.5, 2.0]))
    (array([1. , 0.5, 0. ]), array([-0. , -1.5, -0. ]))
    """
    share = np.minimum(share, 1.0)
    return 1 - share * share * (3 - 2 * share), -6 * share * (1 - share)


def side(f: Float[np.ndarray, " n"], near: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """1 outside, -1 inside, in between where the zero set reaches the sphere: `f` there by the distance to it."""
    return np.clip(SIDE * f / np.maximum(near, 1e-12), -1, 1)


def sphere_places(dimension: int) -> Float[np.ndarray, "n d"]:
    """Places of the unit sphere, evenly on a spiral, or of the unit circle."""
    count = PLACES[dimension]
    order = np.arange(count) + 0.5
    if dimension == 2:
        angle = 2 * np.pi * order / count
        return np.stack([np.cos(angle), np.sin(angle)], 1)
    height, angle = 1 - 2 * order / count, np.pi * (1 + np.sqrt(5)) * order
    across = np.sqrt(1 - height * height)
    return np.stack([across * np.cos(angle), across * np.sin(angle), height], 1)
