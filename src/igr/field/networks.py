"""Networks in torch: the paper's MLP, and the feature network that the native core is compared with.

Both give the value and the spatial gradient in one forward pass, the gradient by an explicit reverse sweep
written in differentiable operations; so training needs one ordinary backward pass and never a second
derivative of the graph (no `create_graph`), and torch.compile and DDP work as they are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..config import FeatureConfig, MLPConfig
from ..errors import InputError
from .features import HASH_PRIMES, feature_levels, level_weights


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


def _softplus_alone(a: Tensor, beta: float) -> Tensor:
    """The activation without its derivative: the same numbers in half the time."""
    return a.abs().mul_(-beta).exp_().log1p_().div_(beta).add_(a.clamp_(min=0))


def encoded(x: Float[Tensor, "*b d"], octaves: int) -> Float[Tensor, "*b e"]:
    """x, then sin and cos of 2ᵏ x for k below `octaves` (Mildenhall et al. 2020, without their π)."""
    waves = [wave(2.0**k * x) for k in range(octaves) for wave in (torch.sin, torch.cos)]
    return torch.cat([x, *waves], -1)


def _by_coordinates(slopes: Float[Tensor, "*b e"], x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
    """Derivative by x from the one by what `encoded` makes of it."""
    own, *waves = slopes.split(x.shape[-1], -1)
    for k, (by_sin, by_cos) in enumerate(zip(waves[::2], waves[1::2], strict=True)):
        own = own + 2.0**k * (by_sin * torch.cos(2.0**k * x) - by_cos * torch.sin(2.0**k * x))
    return own


class MLP(nn.Module):
    """The paper's network f(x; z): an MLP on the coordinates, after an optional latent vector per shape.

    Layers are named lin0 … linN as in the original's checkpoints. Geometric initialisation (Atzmon & Lipman
    2020, SAL, theorem 1) makes the first f about the distance to a sphere of `config.radius`.

    Args:
        config: width, depth, skip connections.
        dimension: 2 or 3.
        latent: length of z, 0 for one surface.
        generator: source of the initial weights.

    Raises:
        InputError: it is too narrow for its skip layers.
    """

    def __init__(
        self, config: MLPConfig, dimension: int, *, latent: int = 0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config, self.dimension, self.latent = config, dimension, latent
        self.coordinates = dimension * (1 + 2 * config.octaves)
        inputs = self.coordinates + latent
        if config.skip and config.width <= inputs:
            raise InputError(f"width is {config.width}; to skip, it must be above the {inputs} inputs")
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
                if self.config.octaves and (layer == 0 or layer in self.config.skip):
                    linear.weight[:, self.dimension - self.coordinates :] = 0  # waves start without effect
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
        layers = [self._without_latent(index, latents) for index in range(self.config.layers + 1)]
        inputs = encoded(x, self.config.octaves)
        value, slopes = value_and_gradient(inputs, layers, self.config.skip, self.config.beta)
        return value, _by_coordinates(slopes, x)

    @torch.no_grad()
    def value(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Value at `x` alone, of a network without latents; without derivatives."""
        h = x = encoded(x, self.config.octaves)
        for index in range(self.config.layers + 1):
            weight, shift = self._without_latent(index, None)
            a = nn.functional.linear(torch.cat([h, x], -1) if index in self.config.skip else h, weight, shift)
            h = _softplus_alone(a, self.config.beta) if index < self.config.layers else a
        return h.squeeze(-1)

    def _without_latent(self, index: int, latents: Tensor | None) -> tuple[Tensor, Tensor]:
        """A layer's weight for the previous output and the coordinates, and the shift that remains."""
        layer, z, skip = self.layers[index], self.latent, index in self.config.skip
        weight = layer.weight / math.sqrt(2) if skip else layer.weight
        if not z or not (skip or index == 0):
            return weight, layer.bias
        own = layer.in_features - z - self.coordinates
        shift = latents @ weight[:, own : own + z].T + layer.bias  # type: ignore[operator]
        return torch.cat([weight[:, :own], weight[:, own + z :]], 1), shift.unsqueeze(-2)

    @torch.no_grad()
    def decode(self, latent: Float[Tensor, " z"]) -> MLP:
        """The network of one shape, without a latent: its part goes into the biases. Where the coordinates come in
        again, units that nothing reads make up for the latent's place. Device and type are the network's."""
        latent = latent.to(self.layers[0].weight)
        plain = unwritten_mlp(self.config, self.dimension, like=latent)
        for index, layer in enumerate(plain.layers):
            weight, shift = self._without_latent(index, latent)
            layer.weight.zero_()
            layer.bias.zero_()
            used, layer.bias[: len(weight)] = layer.weight[: len(weight)], shift
            if index in self.config.skip:
                weight, own = weight * math.sqrt(2), weight.shape[1] - self.coordinates
                used[:, :own], used[:, -self.coordinates :] = weight[:, :own], weight[:, own:]
            else:
                used.copy_(weight)
        return plain


def unwritten_mlp(config: MLPConfig, dimension: int, *, like: Tensor) -> MLP:
    """An MLP without latent whose weights are to be overwritten, on the device and in the type of `like`; the
    program's random numbers stay as they are."""
    with torch.random.fork_rng(devices=[]):
        return MLP(config, dimension).to(like)


def value_and_gradient(
    x: Float[Tensor, "*b n d"], layers: Sequence[tuple[Tensor, Tensor]], skip: Collection[int], beta: float
) -> tuple[Float[Tensor, "*b n"], Float[Tensor, "*b n d"]]:
    """Value and spatial gradient of an MLP with softplus between its layers, by a sweep forward and one back.

    Args:
        x: where.
        layers: weight (outputs, inputs) and shift of each layer, or with leading axes like those of `x`.
        skip: layers that take the coordinates in again, after the previous output.
        beta: sharpness of the softplus.
    """
    h, a, slopes, d = x, x, [], x.shape[-1]
    for index, (weight, shift) in enumerate(layers):
        a = _affine(torch.cat([h, x], -1) if index in skip else h, weight, shift)
        if index < len(layers) - 1:
            h, slope = softplus(a, beta)
            slopes.append(slope)
    sensitivity = layers[-1][0]  # df/dh of the last hidden layer
    gradient: Tensor | float = 0.0
    for index in reversed(range(len(slopes))):
        sensitivity = (sensitivity * slopes[index]) @ layers[index][0]
        if index in skip:
            gradient = gradient + sensitivity[..., -d:]
            sensitivity = sensitivity[..., :-d]
    return a.squeeze(-1), gradient + sensitivity


def _affine(h: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
    if weight.ndim == 3 and h.ndim == 3:
        return torch.baddbmm(shift, h, weight.mT)
    return nn.functional.linear(h, weight, shift) if shift.ndim == 1 else h @ weight.mT + shift


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
            rows = self._rows(index, level.resolution, level.rows, level.offset, level.hashed)
            rows = nn.functional.embedding(rows, self.table)  # whose derivatives are summed in one order
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

    def value(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Value at `x` alone."""
        return self(x)[0]

    def forward(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """Value and spatial gradient at `x`."""
        d, beta = self.dimension, self.config.beta
        features, jacobian = self.features(x)
        h1, s1 = softplus(nn.functional.linear(torch.cat([x, features], 1), self.weight1, self.bias1), beta)
        h2, s2 = softplus(nn.functional.linear(h1, self.weight2, self.bias2), beta)
        value = h2 @ self.weight3 + self.bias3
        inputs = (((s2 * self.weight3) @ self.weight2) * s1) @ self.weight1  # df/d(x, features)
        return value, inputs[:, :d] + (inputs[:, d:].unsqueeze(1) @ jacobian).squeeze(1)
