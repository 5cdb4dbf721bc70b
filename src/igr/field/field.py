"""What a field is, and which one a configuration gets on a device.

A field maps points of the unit frame to a signed distance f (negative inside) and knows its spatial gradient.
IGR's losses depend on f and ∇f and on nothing else, so a field takes back dL/df and dL/d∇f, and the loop in
`fit/loop.py` needs no double backward: whatever computes the field fits into the same loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from ..cloud.neighbors import Neighbors
from ..config import Config, FeatureConfig, MLPConfig
from ..errors import InputError
from .beyond import Asked, Beyond

logger = logging.getLogger(__name__)

CHUNK = {"mlp": 1 << 13, "features": 1 << 18}
"""Points evaluated at once, by the kind of network: bounds the memory."""

LARGEST = float(np.finfo(np.float32).max)
"""Farthest coordinate in the unit frame that a field, which computes in float32, can be asked for."""

Array = Any  # numpy.ndarray or torch.Tensor: what `Field.array` returns, on the field's device


class Field(Protocol):
    """A trainable signed distance function in the unit frame."""

    dimension: int

    def array(self, values: np.ndarray) -> Array:
        """`values` in float32 as this field computes: numpy on the CPU, or a tensor on its device."""
        ...

    def distance(self, x: Array) -> Array:
        """Signed distance (n,) at `x` (n, d); keeps nothing for `backward`."""
        ...

    def distance_and_gradient(
        self, x: Array, *, training: bool = False, shapes: Sequence[int] | None = None
    ) -> tuple[Array, Array]:
        """Value (n,) and spatial gradient (n, d) at `x`; `training` keeps what `backward` needs. In a shape space
        row i of `x` belongs to `shapes[i mod k]` of k shapes; elsewhere `shapes` is None."""
        ...

    def backward(self, df: Array, dg: Array) -> None:
        """Parameter derivatives from dL/df (n,) and dL/d∇f (n, d) of the last training call."""
        ...

    def update(self, learning_rate: float) -> None:
        """One Adam step with the derivatives of the last `backward`."""
        ...

    def set_detail(self, progress: float) -> None:
        """Coarse to fine: how much of the detail is switched on at `progress` in [0, 1] of the run."""
        ...

    def state(self, *, optimizer: bool = False) -> dict[str, np.ndarray]:
        """Copies of the parameters by name; with `optimizer` also its moments and step count."""
        ...

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take parameters (and, where present, moments) from `state`; exact inverse of `state`."""
        ...

    def machine(self) -> dict[str, Any]:
        """What computes: device, threads, program; the same of them give the same result to the last bit."""
        ...


class NativeField:
    """Multiresolution features and a small MLP on the CPU, computed by the native core: numpy in and out.

    Args:
        config: its network must be a `FeatureConfig`.
        dimension: 2 or 3.
        threads: threads of the core; None for all of the machine's, shared among torchrun's ranks.
        state: what it starts from; random when missing.

    Raises:
        ValueError: the core has no network of this size.
        InputError: IGR_INSTRUCTION_SET or IGR_THREADS makes no sense here.
    """

    def __init__(
        self,
        config: Config,
        dimension: int,
        *,
        threads: int | None = None,
        state: dict[str, np.ndarray] | None = None,
    ) -> None:
        from ..machine import threads as machine_threads
        from .features import feature_levels, initial_parameters
        from .native import NativeCore, instruction_set

        network = config.network
        assert isinstance(network, FeatureConfig)
        self.dimension, self.network, self.beta2 = dimension, network, config.optimizer.beta2
        self.threads = threads or machine_threads()
        sizes = network.features, network.width, network.beta, network.bound
        levels = feature_levels(network, dimension)
        self.core = NativeCore(dimension, levels, *sizes, self.threads, instruction_set())
        rng = np.random.default_rng([config.seed, 2])
        self.load_state(initial_parameters(network, dimension, rng) if state is None else state)

    def array(self, values: np.ndarray) -> np.ndarray:
        """`values` as a contiguous float32 array."""
        return np.ascontiguousarray(values, np.float32)

    def distance(self, x: np.ndarray) -> np.ndarray:
        """Signed distance (n,) at `x` (n, d)."""
        return self.core.evaluate(x)

    def distance_and_gradient(
        self, x: np.ndarray, *, training: bool = False, shapes: Sequence[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Value (n,) and spatial gradient (n, d) at `x`; `training` keeps what `backward` needs."""
        if shapes is not None:
            raise ValueError("this field has one shape; see space/network.py for several")
        return self.core.forward(x) if training else self.core.evaluate_with_gradient(x)

    def backward(self, df: np.ndarray, dg: np.ndarray) -> None:
        """Parameter derivatives from dL/df (n,) and dL/d∇f (n, d) of the last training call."""
        self.core.backward(self.array(df), self.array(dg))

    def update(self, learning_rate: float) -> None:
        """One Adam step with the derivatives of the last `backward`."""
        self.core.adam(learning_rate, beta2=self.beta2)

    def set_detail(self, progress: float) -> None:
        """Switch on the levels of features that are due at `progress` of the run."""
        from .features import level_weights

        self.core.level_weights = level_weights(self.network, progress)

    def state(self, *, optimizer: bool = False) -> dict[str, np.ndarray]:
        """Copies of the parameters by name; with `optimizer` also Adam's moments and step count."""
        state = {name: values.copy() for name, values in self.core.parameters().items()}
        if optimizer:
            for name, (first, second) in self.core.moments().items():
                state[f"adam.exp_avg.{name}"], state[f"adam.exp_avg_sq.{name}"] = first.copy(), second.copy()
            state["adam.step"] = np.array([self.core.step_count], np.int64)
        return state

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take parameters, and moments where present, from `state`."""
        for name, values in self.core.parameters().items():
            if state[name].shape != values.shape:
                raise ValueError(f"{name} has shape {state[name].shape}, expected {values.shape}")
            values[...] = state[name]
        if "adam.step" in state:
            for name, (first, second) in self.core.moments().items():
                first[...], second[...] = state[f"adam.exp_avg.{name}"], state[f"adam.exp_avg_sq.{name}"]
            self.core.step_count = int(state["adam.step"][0])

    def machine(self) -> dict[str, Any]:
        """The instruction set and the threads of the core."""
        return {"device": "cpu", "threads": self.threads, "program": f"native, {self.core.instruction_set}"}


def make_field(
    config: Config, dimension: int, *, device: str = "auto", state: dict[str, np.ndarray] | None = None
) -> Field:
    """The field of `config`, untrained or in a state: native for features on the CPU where the core was built,
    else torch.

    Args:
        config: decides the network and the seed of its initial weights.
        dimension: 2 or 3.
        device: "auto", "cpu" (native where possible), "torch" (the torch reference on the CPU), or a torch
            device such as "cuda". "auto" takes a GPU for an MLP if there is one.
        state: what a field of this kind saved (`Field.state`); untrained when missing.

    Raises:
        InputError: the field needs torch, which is not installed, or the device does not exist.
    """
    if isinstance(config.network, FeatureConfig) and device in ("auto", "cpu"):
        from .native import available

        reason = "is not built here"
        if available():
            try:
                return NativeField(config, dimension, state=state)
            except InputError:
                raise
            except ValueError as problem:
                reason = f"has no network of this size ({problem})"
        logger.warning("the native core %s; running on torch, which is about 15 times slower", reason)
    from ..machine import torch_device

    chosen = torch_device(device)
    from .torch_field import torch_field

    field = torch_field(config, dimension, device=chosen)
    if state is not None:
        field.load_state(state)
    return field


class NumpyField:
    """A field for reading, whatever computes it: double precision in and out, any number of points at once.

    Where a point is NaN, infinite or too far away for float32, the answer is NaN.

    Args:
        field: the field, in the unit frame.
        network: what it is made of.
        near: the neighbors of points about on its zero set; where given, the field is continued beyond the ball
            around these (see `beyond.py`).
    """

    def __init__(self, field: Field, network: FeatureConfig | MLPConfig, near: Neighbors | None = None) -> None:
        self.field, self.chunk = field, CHUNK[network.kind]
        self.beyond = None if near is None else Beyond(NumpyField(field, network), near)

    def distance(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Signed distance (n,) at `x` (n, d)."""
        return self._answers(x, lambda part: (self._distance(part),), [np.empty(len(x))])[0]

    def gradient(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Spatial gradient (n, d) at `x` (n, d)."""
        return self.distance_and_gradient(x)[1]

    def distance_and_gradient(
        self, x: Float[np.ndarray, "n d"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n d"]]:
        """Signed distance (n,) and spatial gradient (n, d) at `x` (n, d)."""
        value, gradient = self._answers(x, self._both, [np.empty(len(x)), np.empty(x.shape)])
        return value, gradient

    def normals(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """The gradient (n, d) at length one."""
        gradient = self.gradient(x)
        return gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-12)

    def _distance(self, x: np.ndarray) -> np.ndarray:
        if self.beyond is None:
            return _double(self.field.distance(self.field.array(x)))
        below, rows = self.beyond.below(x), self.beyond.outside(x)
        value = _double(self.field.distance(self.field.array(below)))
        if len(rows):
            value[rows] = self.beyond.distance(x[rows], below[rows], value[rows])
        return value

    def _both(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        below = x if self.beyond is None else self.beyond.below(x)
        value, gradient = map(_double, self.field.distance_and_gradient(self.field.array(below)))
        if self.beyond is not None and len(rows := self.beyond.outside(x)):
            told = x[rows], below[rows], value[rows], gradient[rows]
            value[rows], gradient[rows] = self.beyond.distance_and_gradient(*told)
        return value, gradient

    def _answers(
        self, x: np.ndarray, answer: Callable[[np.ndarray], Sequence[np.ndarray]], values: list[np.ndarray]
    ) -> list[np.ndarray]:
        """`values`, overwritten by the answers to the rows of `x` that can be answered and by NaN elsewhere."""
        for start in range(0, len(x), self.chunk):
            part = x[start : start + self.chunk]
            sound = (np.abs(part) <= LARGEST).all(1)
            answers = answer(part[sound]) if sound.any() else [np.nan] * len(values)
            for known, found in zip(values, answers, strict=True):
                known[start : start + self.chunk][sound] = found
                known[start : start + self.chunk][~sound] = np.nan
        return values


def projected(field: Asked, u: np.ndarray, steps: int) -> np.ndarray:
    """Places moved along the gradient to the zero set, by Newton steps of at most twice the distance each."""
    for _ in range(steps):
        value, gradient = field.distance_and_gradient(u)
        square = np.maximum((gradient * gradient).sum(1), 0.25)
        u = u - gradient * (value / square)[:, None]
    return u


def as_numpy(values: Array) -> np.ndarray:
    """The values of a field's array as an array of numpy."""
    return values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()


def _double(values: Array) -> np.ndarray:
    return as_numpy(values).astype(np.float64)
