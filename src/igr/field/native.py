"""The native core: multiresolution features and a small MLP in C++, value and spatial gradient together.

f(x) = MLP([x, w·features(x)]), two hidden layers with softplus. Input of the MLP: the coordinates, then the
features of each level, coarse to fine. Features are multilinear on the grids of `igr.field.features.Level` over
[-bound, bound]^d; a point's place on a level is p = (x/bound + 1)/2 · resolution clamped to [0, resolution], its
cell i = min(floor(p), resolution - 1). So outside the cube the features are those of the nearest place on its
boundary and their derivative along an axis that is outside is 0, while the MLP still sees the true x. That is no
distance: for readers, `field.NumpyField` answers beyond the ball of the cloud in another way (`beyond.py`).

Results do not depend on the number of threads, which all cores of a process share. A forked child computes with
threads of its own. Where memory runs out a call raises `MemoryError` and has changed nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from ..errors import InputError

if TYPE_CHECKING:
    from .features import Level

try:
    _core: Any = import_module("._core", __package__)
    _problem = ""
except ImportError as problem:
    _core, _problem = None, str(problem)

PHASES = ("features", "mlp", "scatter", "adam")


def available() -> bool:
    """Whether the core was built for this machine; `unavailable_reason` says why not."""
    return _core is not None


def unavailable_reason() -> str:
    """Why the core cannot be used, "" if it can."""
    return _problem


def instruction_sets() -> list[str]:
    """Instruction sets that the core can use on this machine, the best last."""
    return _module().instruction_sets()


def instruction_set() -> str:
    """The instruction set that the native core is to use: IGR_INSTRUCTION_SET, or "auto", the best there is.

    Raises:
        InputError: this machine does not have the one that is named.
    """
    asked = os.environ.get("IGR_INSTRUCTION_SET") or "auto"
    if asked != "auto" and asked not in instruction_sets():
        able = ", ".join(instruction_sets())
        raise InputError(f"IGR_INSTRUCTION_SET is {asked!r}; this machine has {able}")
    return asked


def peak_rate(instruction_set: str, threads: int) -> float:
    """Multiplications and additions per second, in 10^9, that `threads` threads reach in registers alone."""
    return _module().peak_rate(instruction_set, threads)


def add_residual(
    grids: Sequence[tuple[int, np.ndarray, np.ndarray]],
    bound: float,
    threads: int,
    x: Float[np.ndarray, "n d"],
    f: Float[np.ndarray, " n"],
    g: Float[np.ndarray, "n d"] | None,
) -> None:
    """Add multilinear functions at places to f and their gradients to g, in place (see `residual.py`).

    Args:
        grids: of each its cells along an edge of [-bound, bound]^d, the numbers of its bricks, and their values.
        bound: half the edge of the cube.
        threads: how many compute at most.
        x, f, g: as for `NativeCore`.

    Raises:
        ValueError: wrong type, order or shape.
    """
    _module().add_residual(list(grids), bound, threads, x, f, g)


def fit_grid(
    x: Float[np.ndarray, "n 3"],
    turned: Float[np.ndarray, " n"],
    height: Float[np.ndarray, " n"],
    slope: Float[np.ndarray, "n 3"],
    *,
    resolution: int,
    bound: float,
    stiff: float,
    rounds: int,
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """The multilinear function c on a grid over [-bound, bound]^3, of `resolution` cells along an edge, that is
    least in Σ_i (c(x_i) − height_i)² + (turned_i · cell)² ‖∇c(x_i) − slope_i‖² + stiff Σ_ab (c_a − c_b)², where
    a, b are neighboring corners of the points' cells; by so many steps of conjugate gradients.

    Args:
        x: the points; all arrays are float32 in C order.
        turned: how much the slope at each counts.
        height, slope: wanted there; what c explains of them is taken away, in place.

    Returns:
        The corners (m,), ((i·s + j)·s + k) for s = resolution + 1, in the order of the points, and c there.

    Raises:
        ValueError: wrong type, order or shape.
    """
    return _module().fit_grid(x, turned, height, slope, resolution, bound, stiff, rounds)


def _module() -> Any:
    if _core is None:
        raise ImportError(f"the native core of igr is not built here ({_problem})")
    return _core


class NativeCore:
    """Parameters, Adam's moments and all computations of one native field, in single precision.

    Args:
        dimension: 2 or 3.
        levels: grids of features, coarsest first.
        features: numbers a row of the table holds: 1, 2 or 4.
        width: neurons of both hidden layers: 32 or 64.
        beta: sharpness of the softplus, log(1 + exp(beta z))/beta.
        bound: half the edge of the cube of the grids.
        threads: how many compute at most, the caller included; fewer where the system refuses them or another core
            is computing.
        instruction_set: one of `instruction_sets()`, or "auto" for the best.

    Raises:
        ValueError: sizes or instruction set that the core does not have.
        ImportError: the core is not built here.
    """

    def __init__(
        self,
        dimension: int,
        levels: Sequence[Level],
        features: int,
        width: int,
        beta: float,
        bound: float,
        threads: int,
        instruction_set: str = "auto",
    ) -> None:
        grids = [(level.resolution, level.rows, level.offset, level.hashed) for level in levels]
        self._core = _module().Core(dimension, grids, features, width, beta, bound, threads, instruction_set)
        self.dimension = dimension
        self._f, self._g = np.empty(0, np.float32), np.empty((0, dimension), np.float32)

    @property
    def instruction_set(self) -> str:
        """The instruction set that computes."""
        return self._core.instruction_set

    @property
    def step_count(self) -> int:
        """Steps of Adam so far."""
        return self._core.step_count

    @step_count.setter
    def step_count(self, count: int) -> None:
        if count < 0:
            raise ValueError(f"step_count must not be negative, got {count}")
        self._core.step_count = count

    @property
    def level_weights(self) -> Float[np.ndarray, " levels"]:
        """Share in [0, 1] of each level that is on; 1 at first. A level of weight 0 costs nothing and, having no
        derivative, does not change. New weights make `backward` and `adam` ask for a new `forward`.
        """
        return np.array(self._core.level_weights(), np.float32)

    @level_weights.setter
    def level_weights(self, weights: Float[np.ndarray, " levels"]) -> None:
        self._core.set_level_weights(np.ascontiguousarray(weights, np.float32))

    def parameters(self) -> dict[str, np.ndarray]:
        """Views, for reading and writing, of `table` (rows, features), `weight1` (width, dimension +
        levels·features), `bias1`, `weight2` (width, width), `bias2`, `weight3` (width,), `bias3` (1,); 0 at first.
        """
        return self._core.values()

    def gradients(self) -> dict[str, np.ndarray]:
        """Views, named as `parameters`, of the derivatives that the last `backward` found; for looking at them,
        `adam` does not need it. They are overwritten by the next call and by `adam`.

        Raises:
            RuntimeError: there was no `backward` since the last `adam` or change of `level_weights`.
        """
        return self._core.gradient()

    def moments(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Views, named as `parameters`, of Adam's first and second moments."""
        first, second = self._core.first(), self._core.second()
        return {name: (first[name], second[name]) for name in first}

    def forward(self, x: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n d"]]:
        """Value and spatial gradient, keeping what `backward` needs.

        Args:
            x: points, float32 in C order, as for every method here.

        Returns:
            f and ∇f; they are overwritten by the next call of `forward`.

        Raises:
            ValueError: wrong type, order or shape of `x`.
        """
        n = len(x)
        if n > len(self._f):
            self._f, self._g = np.empty(n, np.float32), np.empty((n, self.dimension), np.float32)
        f, g = self._f[:n], self._g[:n]
        self._core.forward(x, f, g)
        return f, g

    def backward(self, df: Float[np.ndarray, " n"], dg: Float[np.ndarray, "n d"]) -> None:
        """Find the derivatives of a loss at the points of the last `forward`; they replace earlier ones.

        Args:
            df: dL/df.
            dg: dL/d∇f.

        Raises:
            ValueError: wrong type, order or shape.
            RuntimeError: there was no `forward` since the last `adam` or change of `level_weights`.
        """
        self._core.backward(df, dg)

    def adam(
        self,
        learning_rate: float,
        *,
        beta1: float = 0.9,
        beta2: float = 0.99,
        epsilon: float = 1e-8,
        table_rate: float | None = None,
    ) -> None:
        """One step of Adam (Kingma & Ba 2015) with the derivatives of the last `backward`.

        The MLP's update is torch.optim.Adam's. A row of the table whose derivatives are all exactly 0 (no
        point of the step was near) keeps its value and its moments; the bias corrections count all steps.

        Args:
            learning_rate: for the MLP, and for the table unless `table_rate` is given.
            beta1: decay of the first moment.
            beta2: decay of the second moment.
            epsilon: added to the root of the second moment.
            table_rate: learning rate of the table.

        Raises:
            RuntimeError: there was no `backward` since the last `adam` or change of `level_weights`.
        """
        rate = learning_rate if table_rate is None else table_rate
        self._core.adam(rate, learning_rate, beta1, beta2, epsilon)

    def evaluate(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Value at any number of points; nothing is kept and memory is bounded."""
        f = np.empty(len(x), np.float32)
        self._core.evaluate(x, f, None)
        return f

    def evaluate_with_gradient(
        self, x: Float[np.ndarray, "n d"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n d"]]:
        """Value and spatial gradient at any number of points; nothing is kept and memory is bounded."""
        f, g = np.empty(len(x), np.float32), np.empty((len(x), self.dimension), np.float32)
        self._core.evaluate(x, f, g)
        return f, g

    def phase_seconds(self) -> dict[str, float]:
        """Seconds spent in training steps so far on features, mlp, scatter and adam, the mean over threads."""
        return dict(zip(PHASES, self._core.phase_seconds(), strict=True))
