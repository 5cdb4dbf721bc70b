"""What a network leaves of its cloud, on sparse grids beside it: c(x), a sum of multilinear functions, so that the
field is f(x) + c(x). `fit/residual.py` finds it; far from the cloud it is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..errors import InputError
from ..machine import threads
from .field import Array, Field, as_numpy
from .native import add_residual, available

BRICK = 8
"""Corners along the edge of a brick; those of a grid that are not 0 are kept in bricks, for looking them up."""
FINEST = 2047
"""Cells along an edge of a grid, at most: a table of its bricks takes 67 MB then."""
NAMES = "residual.grids", "residual.corners", "residual.values"


def corners(
    x: Float[np.ndarray, "n d"], resolution: int, bound: float
) -> tuple[Int[np.ndarray, "n c"], Float[np.ndarray, "n c"], Float[np.ndarray, "n c d"]]:
    """The corners around places on a grid over [-bound, bound]^d, as numbered in `Grid.corners`; and their weights
    in the value there and in its derivatives, those in lengths of a cell; in the precision of the places."""
    place = (x / bound + 1) * (resolution / 2)
    clamped = np.clip(place, 0, resolution)
    cell = np.minimum(clamped.astype(np.int64), resolution - 1)
    t = (clamped - cell)[:, None]
    upper = np.array(list(np.ndindex(*[2] * x.shape[1])))
    share = np.where(upper, t, 1 - t)
    turn = np.empty_like(share)
    for axis in range(x.shape[1]):
        others = np.delete(share, axis, 2).prod(2) * (place == clamped)[:, None, axis]
        turn[:, :, axis] = np.where(upper[:, axis], others, -others)
    strides = (resolution + 1) ** np.arange(x.shape[1])[::-1]
    return (cell @ strides)[:, None] + upper @ strides, share.prod(2), turn


@dataclass(frozen=True, eq=False)
class Grid:
    """A multilinear function that is 0 but around some corners."""

    dimension: int
    resolution: int
    """Cells along an edge of its cube."""
    corners: Int[np.ndarray, " m"]
    """Those where it is not 0, ((i·s + j)·s + k) for s = resolution + 1, each once."""
    values: Float[np.ndarray, " m"]
    """Its value there, in float32."""

    @cached_property
    def bricks(self) -> tuple[Int[np.ndarray, " b"], Float[np.ndarray, " v"]]:
        """For every brick its number, 0 where it holds nothing; and the values, brick after brick."""
        brick, within = self._brick(self.corners)
        edge = self.resolution // BRICK + 1
        numbers, size = np.zeros(edge**self.dimension, np.int32), BRICK**self.dimension
        numbers[brick] = 1
        filled = np.flatnonzero(numbers)
        numbers[filled] = np.arange(1, len(filled) + 1)
        values = np.zeros((len(filled) + 1) * size, np.float32)
        values[numbers[brick] * size + within] = self.values
        return numbers, values

    def at(self, corners: Int[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Its value at corners."""
        numbers, values = self.bricks
        brick, within = self._brick(corners)
        return values[numbers[brick] * BRICK**self.dimension + within]

    def _brick(self, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The brick of each corner, and its place within that."""
        place = np.unravel_index(corners, [self.resolution + 1] * self.dimension)
        edge, brick, within = self.resolution // BRICK + 1, 0, 0
        for index in place:
            brick, within = brick * edge + index // BRICK, within * BRICK + index % BRICK
        return np.asarray(brick), np.asarray(within)


@dataclass(frozen=True, eq=False)
class Residual:
    """The sum of some grids over [-bound, bound]^d."""

    grids: Sequence[Grid]
    bound: float

    def add(
        self, x: Float[np.ndarray, "n d"], f: Float[np.ndarray, " n"], g: Float[np.ndarray, "n d"] | None = None
    ) -> None:
        """Add its value at places to f and its gradient to g, in place; all in float32."""
        if available():
            add_residual([(grid.resolution, *grid.bricks) for grid in self.grids], self.bound, threads(), x, f, g)
            return
        for grid in self.grids:
            around, weight, turn = corners(x, grid.resolution, self.bound)
            value = grid.at(around)
            f += (value * weight).sum(1)
            if g is not None:
                g += np.einsum("nc,ncd->nd", value, turn) * (grid.resolution / (2 * self.bound))

    def arrays(self) -> dict[str, np.ndarray]:
        """What `of` makes it from."""
        sizes = np.array([(grid.resolution, len(grid.corners)) for grid in self.grids], np.int64)
        parts = [[grid.corners for grid in self.grids], [grid.values for grid in self.grids]]
        return dict(zip(NAMES, (sizes, *map(np.concatenate, parts)), strict=True))

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray], dimension: int, bound: float) -> Residual | None:
        """The one that a file holds, if it holds one.

        Raises:
            InputError: its arrays do not fit together.
        """
        if NAMES[0] not in arrays:
            return None
        sizes, places, values = (np.asarray(arrays[name]) for name in NAMES)
        whole = sizes.dtype == places.dtype == np.int64 and sizes.ndim == 2 and sizes.shape[1] == 2
        fits = whole and places.shape == values.shape == (sizes[:, 1].sum(),) and values.dtype == np.float32
        if not fits or (sizes < 1).any() or (sizes[:, 0] > FINEST).any() or not (np.abs(values) <= 1).all():
            raise InputError("its residual makes no sense")
        ends = np.cumsum(sizes[:, 1])[:-1]
        grids = [
            Grid(dimension, int(resolution), own, value)
            for resolution, own, value in zip(
                sizes[:, 0], np.split(places, ends), np.split(values, ends), strict=True
            )
        ]
        for grid in grids:
            ordered, most = np.sort(grid.corners), (grid.resolution + 1) ** dimension
            if ordered[0] < 0 or ordered[-1] >= most or (np.diff(ordered) < 1).any():
                raise InputError("its residual has corners that are none")
        return Residual(grids, bound)


class Corrected:
    """A fitted field with its residual; it is not fitted any more.

    Args:
        field: the network.
        residual: what is added to it.
    """

    def __init__(self, field: Field, residual: Residual) -> None:
        self.field, self.residual, self.dimension = field, residual, field.dimension

    def array(self, values: np.ndarray) -> Array:
        """`values` in float32 as the network computes."""
        return self.field.array(values)

    def distance(self, x: Array) -> Array:
        """Signed distance (n,) at `x` (n, d)."""
        f = as_numpy(self.field.distance(x))
        self.residual.add(as_numpy(x), f)
        return self.array(f)

    def distance_and_gradient(
        self, x: Array, *, training: bool = False, shapes: Sequence[int] | None = None
    ) -> tuple[Array, Array]:
        """Value (n,) and spatial gradient (n, d) at `x` (n, d)."""
        if training:
            raise RuntimeError("a field with its residual is not fitted any more")
        f, g = map(as_numpy, self.field.distance_and_gradient(x, shapes=shapes))
        self.residual.add(as_numpy(x), f, g)
        return self.array(f), self.array(g)

    def state(self, *, optimizer: bool = False) -> dict[str, np.ndarray]:
        """Copies of the network's parameters by name, with the residual's arrays."""
        return self.field.state(optimizer=optimizer) | self.residual.arrays()

    def machine(self) -> dict[str, Any]:
        """What computes."""
        return self.field.machine()

    def _fitted(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("a field with its residual is not fitted any more")

    load_state = backward = update = set_detail = _fitted


def finest(field: Field) -> int:
    """Cells along an edge of the finest grid of a field's residual; 0 where it has none."""
    return max(grid.resolution for grid in field.residual.grids) if isinstance(field, Corrected) else 0
