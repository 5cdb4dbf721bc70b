"""A torch network as a field: value and gradient, backward, Adam, on any torch device."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..config import Config, MLPConfig
from ..machine import in_bfloat16, logger
from .features import initial_parameters, level_weights
from .networks import MLP, FeatureNetwork

COMPILED_FROM = 500_000
"""Runs of so many steps times width are worth a minute of compilation."""
FINISH = 0.9
"""After this share of a run in bfloat16 its steps are in float32: what rounding left is made up for."""


class TorchField:
    """A torch network as a `Field` (see `field.py`): value and gradient, backward, Adam.

    Args:
        network: `MLP`, `FeatureNetwork` or, in space/network.py, `SpaceNetwork`.
        device: where it computes, such as "cpu" or "cuda".
        beta2: decay of Adam's second moment.
        rates: parameters whose untouched rows keep value and moments, and their learning rates as multiples.
        bfloat16: whether the products of training steps are in bfloat16, until nine tenths of the run.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        device: str = "cpu",
        beta2: float = 0.999,
        rates: Mapping[str, float] = MappingProxyType({"table": 1.0}),
        bfloat16: bool = False,
    ) -> None:
        self.network: Any = network.to(device)
        self.dimension: int = self.network.dimension
        self.device = torch.device(device)
        lazy = {p: rates[name] for name, p in network.named_parameters() if name in rates}
        dense = [p for p in network.parameters() if p not in lazy and p.requires_grad]
        self.optimizer = torch.optim.Adam(dense, betas=(0.9, beta2), eps=1e-8) if dense else None
        self.lazy = _LazyAdam(lazy, beta2=beta2)
        self.stepped: Any = self.network
        """What computes a training step: the network, perhaps compiled, or spread over ranks."""
        self.worth_compiling = False
        """Whether to compile the network at the first training step."""
        self.lowers_precision = self.bfloat16 = bfloat16
        """Whether the products of training steps are in bfloat16: of the run's, and of the next step's."""
        self._pending: tuple[Tensor, ...] = ()

    def array(self, values: np.ndarray) -> Tensor:
        """`values` as a float32 tensor on this field's device."""
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    def products(self, *, lower: bool) -> AbstractContextManager[Any]:
        """Where products are in bfloat16, or are not; a device that cannot choose has none in bfloat16."""
        if not lower and not torch.amp.is_autocast_available(self.device.type):
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=lower)

    def distance(self, x: Tensor) -> Tensor:
        """Signed distance (n,) at `x` (n, d)."""
        with torch.no_grad():
            return self.network.value(x)

    def distance_and_gradient(
        self, x: Tensor, *, training: bool = False, shapes: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Value (n,) and spatial gradient (n, d) at `x`; `training` keeps the graph for `backward`."""
        if shapes is not None:
            raise ValueError("this field has one shape; see space/network.py for several")
        if not training:
            with torch.no_grad():
                return self.network(x)
        if self.worth_compiling:
            self.stepped, self.worth_compiling = compiled(self.network), False
        with self.products(lower=self.bfloat16):
            value, gradient = self.stepped(x)
        value, gradient = value.float(), gradient.float()
        self._pending = value, gradient
        return value.detach(), gradient.detach()

    def backward(self, df: Tensor, dg: Tensor) -> None:
        """Parameter derivatives from dL/df (n,) and dL/d∇f (n, d) of the last training call."""
        if not self._pending:
            raise RuntimeError("backward needs a call of distance_and_gradient(training=True) before it")
        self.network.zero_grad(set_to_none=True)
        torch.autograd.backward(list(self._pending), [df, dg])
        self._pending = ()

    def update(self, learning_rate: float) -> None:
        """One Adam step with the derivatives of the last `backward`."""
        if self.optimizer is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self.optimizer.step()
        self.lazy.step(learning_rate)

    def set_detail(self, progress: float) -> None:
        """Switch on the levels of features and the precision that are due at `progress` of the run."""
        self.bfloat16 = self.lowers_precision and progress < FINISH
        if isinstance(self.network, FeatureNetwork):
            self.network.detail = level_weights(self.network.config, progress)

    def state(self, *, optimizer: bool = False) -> dict[str, np.ndarray]:
        """Copies of the parameters by name; with `optimizer` also Adam's moments and step count."""
        state = {name: p.detach().cpu().numpy().copy() for name, p in self.network.named_parameters()}
        if optimizer:
            for name, parameter in self.network.named_parameters():
                moments = self._moments(parameter)
                for key in ("exp_avg", "exp_avg_sq"):
                    state[f"adam.{key}.{name}"] = moments[key].detach().cpu().numpy().copy()
            state["adam.step"] = np.array([self.lazy.count], np.int64)
        return state

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take parameters, and moments where present, from `state`."""
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                if state[name].shape != parameter.shape:
                    raise ValueError(f"{name} has shape {state[name].shape}, expected {tuple(parameter.shape)}")
                parameter.copy_(torch.tensor(state[name]))
                if "adam.step" in state:
                    moments = self._moments(parameter)
                    for key in ("exp_avg", "exp_avg_sq"):
                        moments[key].copy_(torch.tensor(state[f"adam.{key}.{name}"]))
                    if "step" in moments:
                        moments["step"].fill_(float(state["adam.step"][0]))
        self.lazy.count = int(state["adam.step"][0]) if "adam.step" in state else 0

    def machine(self) -> dict[str, Any]:
        """The device, torch's threads and its version."""
        program = f"torch {torch.__version__}" + (", bfloat16" if self.bfloat16 else "")
        return {"device": str(self.device), "threads": torch.get_num_threads(), "program": program}

    def _moments(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        if parameter in self.lazy.moments:
            return self.lazy.moments[parameter]
        moments = {} if self.optimizer is None else self.optimizer.state[parameter]
        if not moments:
            moments["step"] = torch.tensor(0.0)
            moments["exp_avg"] = torch.zeros_like(parameter)
            moments["exp_avg_sq"] = torch.zeros_like(parameter)
        return moments


class _LazyAdam:
    """Adam on tables whose untouched rows (derivative exactly zero) keep value and moments."""

    def __init__(self, rates: Mapping[nn.Parameter, float], *, beta2: float) -> None:
        self.rates, self.beta2, self.count = dict(rates), beta2, 0
        self.moments = {p: {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)} for p in self.rates}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        self.count += 1
        root = math.sqrt(1 - self.beta2**self.count)
        for parameter, moments in self.moments.items():
            derivative = parameter.grad
            if derivative is None:
                continue
            rate = self.rates[parameter] * learning_rate / (1 - 0.9**self.count)
            rows = derivative.ne(0).any(1).nonzero().squeeze(1)
            grad, first, second = derivative[rows], moments["exp_avg"], moments["exp_avg_sq"]
            m = 0.9 * first[rows] + 0.1 * grad
            v = self.beta2 * second[rows] + (1 - self.beta2) * grad * grad
            first[rows], second[rows] = m, v
            parameter[rows] -= rate * m / (v.sqrt() / root + 1e-8)


def torch_field(config: Config, dimension: int, *, device: str = "cpu") -> TorchField:
    """The untrained torch field of `config`, its initial weights drawn from `config.seed`."""
    if isinstance(config.network, MLPConfig):
        generator = torch.Generator().manual_seed(config.seed)
        network: MLP | FeatureNetwork = MLP(config.network, dimension, generator=generator)
    else:
        parameters = initial_parameters(config.network, dimension, np.random.default_rng([config.seed, 2]))
        network = FeatureNetwork(config.network, dimension, parameters)
    lower, wide = False, 0
    if isinstance(config.network, MLPConfig):
        wide = config.network.width
        lower = in_bfloat16(config.precision, wide, device)
    field = TorchField(network, device=device, beta2=config.optimizer.beta2, bfloat16=lower)
    field.worth_compiling = wide * config.steps >= COMPILED_FROM
    return field


def compiled(network: nn.Module) -> nn.Module:
    """The network compiled at its first call, where there is a compiler and it can compile it, else as it is.

    What was compiled is kept on disk by torch (TORCHINDUCTOR_CACHE_DIR), so the next run starts quickly;
    TORCH_COMPILE_DISABLE=1 does without.
    """
    if os.environ.get("TORCH_COMPILE_DISABLE") == "1":
        return network
    on_gpu = next(network.parameters()).is_cuda
    if not on_gpu and shutil.which(os.environ.get("CXX", "c++")) is None:
        logger.info("no C++ compiler here: running the network uncompiled")
        return network
    return _compiled_or_plain(network)


def _compiled_or_plain(network: nn.Module) -> nn.Module:
    """The network compiled, and as it is from the first failure on: slower is better than not at all."""
    import torch
    from torch._dynamo.exc import TorchDynamoException

    class Compiled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.chosen: Any = torch.compile(network, dynamic=False)

        def forward(self, *inputs: torch.Tensor) -> Any:
            try:
                return self.chosen(*inputs)
            except TorchDynamoException as problem:
                if self.chosen is network:
                    raise
                logger.info("running the network uncompiled: %s", str(problem).partition("\n")[0])
                self.chosen = network
                return network(*inputs)

    return Compiled()
