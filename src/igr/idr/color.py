"""The color network of IDR beside the field: M(x, n, v, features of x).

The features are native fields of their own, one number each, which give their spatial derivative with their value;
a small perceptron in numpy turns them, the normal and the direction of view into what light makes of them. So
colors need nothing but numpy and the native core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Protocol

import numpy as np
from jaxtyping import Float

from ..config import Config
from ..field.field import Field, as_numpy, make_field

CHANNELS = 3
"""Features of a place; the first three are its paint."""
WIDTH = 64
"""Neurons of both hidden layers."""
INPUTS = 3 + 3 + 3 + 1 + CHANNELS
"""x, n, v, n · v, features."""
BLOCK = 64
"""Rows of a product at once."""


class Colors(Protocol):
    """What gives places their colors: `ColorNetwork`, or the paper's network."""

    def set_detail(self, progress: float) -> None:
        """Coarse to fine."""
        ...

    def colors(self, x: np.ndarray, n: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Colors (n, 3) of places x, normals n, directions v of rays."""
        ...

    def loss(
        self, x: np.ndarray, n: np.ndarray, v: np.ndarray, term: Callable[[np.ndarray], tuple[float, np.ndarray]]
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """A loss of the colors, and its derivatives by x and n."""
        ...

    def update(self, rate: float, shade_rate: float) -> None:
        """One step with the derivatives of the last `loss`, if there is one since the step before."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and moments."""
        ...

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take them back."""
        ...


class Cameras(Protocol):
    """What is mended of cameras: `batches.Poses`."""

    def update(self, rate: float) -> None:
        """One step with the derivatives of the last loss."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and moments."""
        ...

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take them back."""
        ...


class Painted:
    """A field, its colors, and cameras that are mended as one field to fit: they take their steps, are saved and
    go back together.

    Args:
        field: of the surface.
        colors: beside it.
        rates: learning rates as multiples of the field's: of the features of colors, of the network behind them,
            and of cameras.
    """

    def __init__(self, field: Field, colors: Colors, rates: tuple[float, float, float]) -> None:
        self.field, self.colors, self.rates, self.dimension = field, colors, rates, field.dimension
        self.cameras: Cameras | None = None
        self.array, self.distance, self.backward = field.array, field.distance, field.backward
        self.distance_and_gradient, self.machine = field.distance_and_gradient, field.machine

    def update(self, learning_rate: float) -> None:
        """One step of all."""
        self.field.update(learning_rate)
        self.colors.update(learning_rate * self.rates[0], learning_rate * self.rates[1])
        if self.cameras is not None:
            self.cameras.update(learning_rate * self.rates[2])

    def set_detail(self, progress: float) -> None:
        """Coarse to fine, both."""
        self.field.set_detail(progress)
        self.colors.set_detail(progress)

    def state(self, *, optimizer: bool = False) -> dict[str, np.ndarray]:
        """Copies of the field's parameters; with `optimizer` also moments, and all of colors and cameras."""
        state = self.field.state(optimizer=optimizer)
        for kind, part in self._beside() if optimizer else ():
            state |= {kind + name: value for name, value in part.state().items()}
        return state

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take parameters, and what there is of moments, colors and cameras, from `state`."""
        rest = dict(state)
        for kind, part in self._beside():
            if own := {name: rest.pop(name) for name in state if name.startswith(kind)}:
                part.load_state({name.removeprefix(kind): value for name, value in own.items()})
        self.field.load_state(rest)

    def _beside(self) -> list[tuple[str, Colors | Cameras]]:
        """What is fitted beside the field, by how its entries of a state begin."""
        return [("color.", self.colors), *([("camera.", self.cameras)] if self.cameras is not None else [])]


class ColorNetwork:
    """Colors of places on a surface seen from somewhere; color = paint · (1 + gain) + shine.

    Args:
        config: decides the features (its network) and the seed.
        device: as for `make_field`.
    """

    def __init__(self, config: Config, *, device: str = "auto") -> None:
        self.fields = []
        rng = np.random.default_rng([config.seed, 9])
        for channel in range(CHANNELS):
            field = make_field(replace(config, seed=config.seed + 1 + channel), 3, device=device)
            state = field.state()
            state["weight3"] = rng.normal(0, 0.1, state["weight3"].shape).astype(np.float32)
            state["bias3"] = np.full(1, 0.5, np.float32)
            field.load_state(state)
            self.fields.append(field)
        sizes = INPUTS, WIDTH, WIDTH, 6
        self.weights = [rng.normal(0, np.sqrt(2 / a), (a, b)).astype(np.float32) for a, b in pairwise(sizes)]
        self.weights[-1] *= 0.1
        self.biases = [np.zeros(b, np.float32) for b in sizes[1:]]
        self.adam = Adam([*self.weights, *self.biases])
        self.slopes: list[np.ndarray] = []

    def set_detail(self, progress: float) -> None:
        """Coarse to fine, as for fields."""
        for field in self.fields:
            field.set_detail(progress)

    def colors(
        self, x: Float[np.ndarray, "n 3"], n: Float[np.ndarray, "n 3"], v: Float[np.ndarray, "n 3"]
    ) -> Float[np.ndarray, "n 3"]:
        """Red, green, blue in [0, 1], or a little beyond.

        Args:
            x: places, unit frame.
            n: unit normals there.
            v: unit directions of the rays that see them, away from the camera.
        """
        features = np.stack([as_numpy(field.distance(field.array(x))) for field in self.fields], 1)
        return self._shaded(x, n, v, features)[0]

    def loss(
        self,
        x: Float[np.ndarray, "n 3"],
        n: Float[np.ndarray, "n 3"],
        v: Float[np.ndarray, "n 3"],
        term: Callable[[np.ndarray], tuple[float, np.ndarray]],
    ) -> tuple[float, Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
        """A loss of the colors, and its derivatives by x and n; those by the network's parameters are kept for
        `update`.

        Args:
            x, n, v: as for `colors`.
            term: value and derivative (n, 3) of the loss from colors (n, 3).
        """
        found = [field.distance_and_gradient(field.array(x), training=True) for field in self.fields]
        features = np.stack([as_numpy(f) for f, _ in found], 1)
        colors, layers, hidden, out = self._shaded(x, n, v, features)
        value, dcolors = term(colors)
        dcolors = dcolors.astype(np.float32)
        dout = np.concatenate([dcolors * features[:, :3], dcolors], 1)
        slopes_w, slopes_b = [], []
        signal = dout
        for layer in (2, 1, 0):
            slopes_w.append(_summed(layers[layer], signal))
            slopes_b.append(signal.sum(0))
            signal = _product(signal, self.weights[layer].T)
            if layer:
                signal = signal * (hidden[layer - 1] > 0)
        self.slopes = [*reversed(slopes_w), *reversed(slopes_b)]
        dfeatures = signal[:, 10:].copy()
        dfeatures[:, :3] += dcolors * (1 + out[:, :3])
        dx, dn = signal[:, :3].copy(), signal[:, 3:6] + signal[:, 9:10] * v
        for channel, (field, (_, slope)) in enumerate(zip(self.fields, found, strict=True)):
            dx += dfeatures[:, channel : channel + 1] * as_numpy(slope)
            field.backward(field.array(dfeatures[:, channel]), field.array(np.zeros_like(x)))
        return value, dx, dn

    def update(self, rate: float, shade_rate: float) -> None:
        """One step of Adam with the derivatives of the last `loss`, if there is one since the step before."""
        if not self.slopes:
            return
        for field in self.fields:
            field.update(rate)
        self.adam.step(self.slopes, shade_rate)
        self.slopes = []

    def state(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and moments."""
        fields = {
            f"{channel}.{name}": value
            for channel, field in enumerate(self.fields)
            for name, value in field.state(optimizer=True).items()
        }
        return fields | self.adam.state()

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take them back."""
        for channel, field in enumerate(self.fields):
            own = f"{channel}."
            field.load_state({k.removeprefix(own): v for k, v in state.items() if k.startswith(own)})
        self.adam.load_state(state)

    def _shaded(
        self, x: np.ndarray, n: np.ndarray, v: np.ndarray, features: np.ndarray
    ) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Colors, and of the perceptron: what enters each layer, what leaves before the ReLU, and its output."""
        facing = (n * v).sum(1, keepdims=True)
        entering = [np.concatenate([x, n, v, facing, features], 1).astype(np.float32)]
        before = []
        for layer in (0, 1):
            before.append(_product(entering[-1], self.weights[layer]) + self.biases[layer])
            entering.append(np.maximum(before[-1], 0))
        out = _product(entering[-1], self.weights[2]) + self.biases[2]
        return features[:, :3] * (1 + out[:, :3]) + out[:, 3:], entering, before, out


class Adam:
    """Adam (Kingma & Ba 2015) on a list of arrays, in place."""

    def __init__(self, values: list[np.ndarray]) -> None:
        self.values, self.count = values, 0
        self.first, self.second = [np.zeros_like(v) for v in values], [np.zeros_like(v) for v in values]

    def step(self, slopes: list[np.ndarray], rate: float) -> None:
        """One step, with the derivatives by the arrays."""
        self.count += 1
        for value, slope, mean, square in zip(self.values, slopes, self.first, self.second, strict=True):
            mean[...] = 0.9 * mean + 0.1 * slope
            square[...] = 0.99 * square + 0.01 * slope * slope
            spread = np.sqrt(square / (1 - 0.99**self.count)) + 1e-8
            value[...] -= rate / (1 - 0.9**self.count) * mean / spread

    def state(self) -> dict[str, np.ndarray]:
        """Copies of the arrays, their moments, and the number of steps."""
        kinds = {"value": self.values, "first": self.first, "second": self.second}
        state = {f"{kind}{k}": a.copy() for kind, arrays in kinds.items() for k, a in enumerate(arrays)}
        return state | {"count": np.array([self.count], np.int64)}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take them back."""
        for kind, arrays in {"value": self.values, "first": self.first, "second": self.second}.items():
            for k, array in enumerate(arrays):
                array[...] = state[f"{kind}{k}"]
        self.count = int(state["count"][0])


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a b, in blocks of rows too small for BLAS to use threads: those spin, and cost more than they gain."""
    out = np.empty((len(a), b.shape[1]), np.float32)
    for at in range(0, len(a), BLOCK):
        np.matmul(a[at : at + BLOCK], b, out=out[at : at + BLOCK])
    return out


def _summed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """aᵀ b, in the same blocks."""
    out = np.zeros((a.shape[1], b.shape[1]), np.float32)
    for at in range(0, len(a), BLOCK):
        out += a[at : at + BLOCK].T @ b[at : at + BLOCK]
    return out
