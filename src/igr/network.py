"""Fields in torch: the paper's MLP, and the feature network that the native core is compared with.

Both give the value and the spatial gradient in one forward pass, the gradient by an explicit reverse sweep
written in differentiable operations; so training needs one ordinary backward pass and never a second
derivative of the graph (no `create_graph`), and torch.compile and DDP work as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from .config import Config, FeatureConfig, MLPConfig
from .encoding import HASH_PRIMES, feature_levels, initial_parameters, level_weights


class _Softplus(torch.autograd.Function):
    """log(1 + exp(βa))/β and its derivative, the sigmoid of βa, together; one exponential for both."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        """Value and slope of the activation at `a`."""
        decay = torch.exp(a.abs().mul_(-beta))
        value = torch.log1p(decay).div_(beta).add_(a.clamp(min=0))
        small = decay / (1 + decay)
        slope = torch.where(a >= 0, 1 - small, small)
        ctx.save_for_backward(slope)
        ctx.beta = beta
        return value, slope

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """da = dvalue·s + dslope·β·s·(1 − s)."""
        (slope,) = ctx.saved_tensors
        dvalue, dslope = grads
        return slope * (dvalue + dslope * (ctx.beta * (1 - slope))), None


def softplus(a: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Activation log(1 + exp(βa))/β and its derivative, both shaped like `a`."""
    value, slope = _Softplus.apply(a, beta)  # type: ignore[misc]
    return value, slope


class MLP(nn.Module):
    """The paper's network f(x; z): an MLP on the coordinates, after an optional latent vector per shape.

    Layers are named lin0 … linN as in the original's checkpoints. Geometric initialisation (Atzmon & Lipman
    2020, SAL, theorem 1) makes the first f about the distance to a sphere of `config.radius`.

    Args:
        config: width, depth, skip connections.
        dimension: 2 or 3.
        latent: length of z, 0 for one surface.
        generator: source of the initial weights.
    """

    def __init__(
        self, config: MLPConfig, dimension: int, *, latent: int = 0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config, self.dimension, self.latent = config, dimension, latent
        inputs = dimension + latent
        sizes = [inputs, *[config.width] * config.layers, 1]
        for layer in range(config.layers + 1):
            outputs = sizes[layer + 1] - (inputs if layer + 1 in config.skip else 0)
            self.add_module(f"lin{layer}", nn.Linear(sizes[layer], outputs))
        self._initialize(generator)

    @torch.no_grad()
    def _initialize(self, generator: torch.Generator | None) -> None:
        for layer, linear in enumerate(self.layers):
            if layer < self.config.layers:
                linear.weight.normal_(0.0, math.sqrt(2) / math.sqrt(linear.out_features), generator=generator)
                linear.bias.zero_()
            else:
                mean = math.sqrt(math.pi) / math.sqrt(linear.in_features)
                linear.weight.normal_(mean, 1e-5, generator=generator)
                linear.bias.fill_(-self.config.radius)

    @property
    def layers(self) -> list[nn.Linear]:
        """The linear layers, first to last."""
        return [getattr(self, f"lin{layer}") for layer in range(self.config.layers + 1)]

    def forward(
        self, x: Float[Tensor, "*b n d"], latents: Float[Tensor, "*b z"] | None = None
    ) -> tuple[Float[Tensor, "*b n"], Float[Tensor, "*b n d"]]:
        """Value and spatial gradient at `x`; the latent's part of a layer is computed once per shape."""
        layers, slopes, root2 = self.layers, [], math.sqrt(2)
        z, d = self.latent, self.dimension
        h = x
        for index, layer in enumerate(layers):
            weight, bias = layer.weight, layer.bias
            if index in self.config.skip:
                weight = weight / root2
                own = h.shape[-1]
                h = torch.cat([h, x], -1)
            else:
                own = 0
            if z and (index == 0 or own):
                shape_part = latents @ weight[:, own : own + z].T + bias  # type: ignore[operator]
                weight = torch.cat([weight[:, :own], weight[:, own + z :]], 1)
                a = h @ weight.T + shape_part.unsqueeze(-2)
            else:
                a = nn.functional.linear(h, weight, bias)
            if index < self.config.layers:
                h, slope = softplus(a, self.config.beta)
                slopes.append((slope, weight, own))
        value = a.squeeze(-1)  # type: ignore[possibly-undefined]
        sensitivity = layers[-1].weight  # df/dh of the last hidden layer, (1, width)
        gradient: Tensor | float = 0.0
        for index in reversed(range(self.config.layers)):
            slope, weight, own = slopes[index]
            sensitivity = (sensitivity * slope) @ weight
            if own:
                gradient = gradient + sensitivity[..., own:]
                sensitivity = sensitivity[..., :own]
        return value, gradient + sensitivity[..., -d:]


class FeatureNetwork(nn.Module):
    """f(x) = MLP(x, features of x): multiresolution grids (Müller et al. 2022) and two hidden layers.

    The reference of the native core, parameter by parameter: `table` (rows, features) and `weight1` … `bias3`.
    Features are multilinear in the cell of a grid; outside the cube they are those of the nearest place on its
    boundary. A row that the last batch did not touch keeps its value and its moments (see `TorchField.update`).

    Args:
        config: grids and width.
        dimension: 2 or 3.
        parameters: initial values by name, see `encoding.initial_parameters`.
    """

    table: nn.Parameter
    weight1: nn.Parameter
    bias1: nn.Parameter
    weight2: nn.Parameter
    bias2: nn.Parameter
    weight3: nn.Parameter
    bias3: nn.Parameter
    corners: Tensor

    def __init__(self, config: FeatureConfig, dimension: int, parameters: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.config, self.dimension = config, dimension
        self.levels = feature_levels(config, dimension)
        self.detail = level_weights(config, 1.0)
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))
        corners = np.stack(np.meshgrid(*[[0, 1]] * dimension, indexing="ij"), -1).reshape(-1, dimension)
        self.register_buffer("corners", torch.tensor(corners), persistent=False)

    def features(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n e"], Float[Tensor, "n e d"]]:
        """Features of all levels at `x`, weighted by the detail that is on, and their spatial derivative."""
        values, slopes = [], []
        for level, weight in zip(self.levels, self.detail.tolist(), strict=True):
            if weight == 0:
                values.append(x.new_zeros(len(x), self.config.features))
                slopes.append(x.new_zeros(len(x), self.config.features, self.dimension))
                continue
            scale = level.resolution / (2 * self.config.bound)
            place = ((x / self.config.bound + 1) * (0.5 * level.resolution)).clamp(0, level.resolution)
            inside = (x.abs() <= self.config.bound).to(x.dtype) * scale
            cell = place.detach().floor().clamp(max=level.resolution - 1)
            share = (place - cell).unsqueeze(1)  # (n, 1, d)
            index = cell.long().unsqueeze(1) + self.corners  # (n, 2^d, d)
            rows = self.table[self._rows(index, level.resolution, level.rows, level.offset, level.hashed)]
            factor = torch.where(self.corners == 1, share, 1 - share)  # (n, 2^d, d)
            values.append(weight * (factor.prod(-1).unsqueeze(1) @ rows).squeeze(1))
            sign = 2.0 * self.corners - 1
            others = [factor[..., [k for k in range(self.dimension) if k != axis]].prod(-1) * sign[:, axis]
                      for axis in range(self.dimension)]  # fmt: skip
            derivative = torch.stack(others, -1) * inside.unsqueeze(1)  # (n, 2^d, d)
            slopes.append(weight * (rows.transpose(1, 2) @ derivative))
        return torch.cat(values, 1), torch.cat(slopes, 1)

    def _rows(self, index: Tensor, resolution: int, rows: int, offset: int, hashed: bool) -> Tensor:
        if hashed:
            key = index[..., 0] * HASH_PRIMES[0]
            for axis in range(1, self.dimension):
                key = key ^ (index[..., axis] * HASH_PRIMES[axis])
            return offset + (key & (rows - 1))
        row = index[..., 0]
        for axis in range(1, self.dimension):
            row = row * (resolution + 1) + index[..., axis]
        return offset + row

    def forward(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """Value and spatial gradient at `x`."""
        d, beta = self.dimension, self.config.beta
        features, jacobian = self.features(x)
        h1, s1 = softplus(nn.functional.linear(torch.cat([x, features], 1), self.weight1, self.bias1), beta)
        h2, s2 = softplus(nn.functional.linear(h1, self.weight2, self.bias2), beta)
        value = h2 @ self.weight3 + self.bias3
        inputs = (((s2 * self.weight3) @ self.weight2) * s1) @ self.weight1  # df/d(x, features)
        return value, inputs[:, :d] + (inputs[:, d:].unsqueeze(1) @ jacobian).squeeze(1)


class TorchField:
    """A torch network as a `Field` (see `field.py`): value and gradient, backward, Adam.

    Args:
        network: `MLP` or `FeatureNetwork`.
        device: where it computes, such as "cpu" or "cuda".
        beta2: decay of Adam's second moment.
    """

    def __init__(self, network: MLP | FeatureNetwork, *, device: str = "cpu", beta2: float = 0.999) -> None:
        self.network = network.to(device)
        self.dimension = network.dimension
        self.device = torch.device(device)
        lazy = [p for name, p in network.named_parameters() if name == "table"]
        dense = [p for name, p in network.named_parameters() if name != "table"]
        self.optimizer = torch.optim.Adam(dense, betas=(0.9, beta2), eps=1e-8)
        self.lazy = _LazyAdam(lazy, beta2=beta2)
        self._pending: tuple[Tensor, Tensor] | None = None

    def array(self, values: np.ndarray) -> Tensor:
        """`values` as a float32 tensor on this field's device."""
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    def distance(self, x: Tensor) -> Tensor:
        """Signed distance (n,) at `x` (n, d)."""
        return self.distance_and_gradient(x)[0]

    def distance_and_gradient(self, x: Tensor, *, training: bool = False) -> tuple[Tensor, Tensor]:
        """Value (n,) and spatial gradient (n, d) at `x`; `training` keeps the graph for `backward`."""
        if not training:
            with torch.no_grad():
                return self.network(x)
        value, gradient = self.network(x)
        self._pending = value, gradient
        return value.detach(), gradient.detach()

    def backward(self, df: Tensor, dg: Tensor) -> None:
        """Parameter derivatives from dL/df (n,) and dL/d∇f (n, d) of the last training call."""
        if self._pending is None:
            raise RuntimeError("backward needs a call of distance_and_gradient(training=True) before it")
        self.network.zero_grad(set_to_none=True)
        torch.autograd.backward(list(self._pending), [df, dg])
        self._pending = None

    def update(self, learning_rate: float) -> None:
        """One Adam step with the derivatives of the last `backward`."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.lazy.step(learning_rate)

    def set_detail(self, progress: float) -> None:
        """Switch on the levels of features that are due at `progress` of the run; no effect on an MLP."""
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
                parameter.copy_(torch.tensor(state[name]))
                if "adam.step" in state:
                    moments = self._moments(parameter)
                    for key in ("exp_avg", "exp_avg_sq"):
                        moments[key].copy_(torch.tensor(state[f"adam.{key}.{name}"]))
                    if "step" in moments:
                        moments["step"].fill_(float(state["adam.step"][0]))
        self.lazy.count = int(state["adam.step"][0]) if "adam.step" in state else 0

    def _moments(self, parameter: Tensor) -> dict[str, Tensor]:
        if any(parameter is one for one in self.lazy.parameters):
            return self.lazy.moments[0]
        moments = self.optimizer.state[parameter]
        if not moments:
            moments["step"] = torch.tensor(0.0)
            moments["exp_avg"] = torch.zeros_like(parameter)
            moments["exp_avg_sq"] = torch.zeros_like(parameter)
        return moments


class _LazyAdam:
    """Adam on a table whose untouched rows (derivative exactly zero) keep value and moments."""

    def __init__(self, parameters: Sequence[nn.Parameter], *, beta2: float) -> None:
        self.parameters, self.beta2, self.count = list(parameters), beta2, 0
        self.moments = [
            {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)} for p in self.parameters
        ]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        self.count += 1
        rate = learning_rate / (1 - 0.9**self.count)
        root = math.sqrt(1 - self.beta2**self.count)
        for parameter, moments in zip(self.parameters, self.moments, strict=True):
            derivative = parameter.grad
            if derivative is None:
                continue
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
    return TorchField(network, device=device, beta2=config.optimizer.beta2)
