"""The field of a shape space: one network, and a latent and a pose for each shape; where a decoded one lies.

The network of the default space is a small MLP whose every weight is affine in the latent.

Ha, Dai, Le: HyperNetworks. ICLR 2017. A latent that is concatenated to the input moves only biases; one that moves
all weights lets a network of a tenth of the size tell shapes apart, and what is computed for each point is that
small network alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..config import Config, MLPConfig
from ..errors import InputError
from ..field.networks import MLP, unwritten_mlp, value_and_gradient
from ..field.torch_field import TorchField

POSE_RATES = {"turns": 0.2, "shifts": 0.2}
"""Learning rates of turn (radians) and shift (unit frame) as multiples of the latents'."""
GRID = 48
"""Cells along an edge of the grid that says where a decoded shape is; four times a number."""


class SpaceNetwork(nn.Module):
    """A network and the latents of its shapes; with `posed`, also a small motion of each shape.

    Args:
        network: takes points and latents of k shapes.
        latents: at the start (s, z).
        posed: give every shape a turn and a shift of its own.
    """

    def __init__(self, network: MLP | HyperMLP, latents: Float[Tensor, "s z"], *, posed: bool = False) -> None:
        super().__init__()
        self.network, self.dimension, self.posed = network, network.dimension, posed
        self.latents = nn.Parameter(latents)
        if posed:
            self.turns = nn.Parameter(torch.zeros(len(latents), 3 if self.dimension == 3 else 1))
            self.shifts = nn.Parameter(torch.zeros(len(latents), self.dimension))

    def forward(self, x: Float[Tensor, "n d"], rows: Int[Tensor, " k"]) -> tuple[Tensor, Tensor, Tensor]:
        """Value (n,) and gradient (n, d) at `x`, whose row i belongs to `rows[i mod k]`; their latents."""
        z, k = self.latents[rows], len(rows)
        places = x.view(-1, k, self.dimension).transpose(0, 1)
        if self.posed:
            turn = rotations(self.turns[rows])
            places = (places - self.shifts[rows].unsqueeze(1)) @ turn
        value, gradient = self.network(places.contiguous(), z)
        if self.posed:
            gradient = gradient @ turn.mT  # type: ignore[possibly-undefined]
        return value.T.reshape(-1), gradient.transpose(0, 1).reshape(-1, self.dimension), z


def rotations(turns: Float[Tensor, "k a"]) -> Float[Tensor, "k d d"]:
    """Rotation matrices of rotation vectors in radians (of angles in the plane)."""
    zero = torch.zeros_like(turns[:, 0])
    if turns.shape[1] == 1:
        rows = [zero, -turns[:, 0], turns[:, 0], zero]
    else:
        x, y, z = turns.unbind(1)
        rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    size = 2 if turns.shape[1] == 1 else 3
    return torch.linalg.matrix_exp(torch.stack(rows, 1).view(-1, size, size))


class SpaceField(TorchField):
    """A `SpaceNetwork` as a `Field`: latents have a learning rate of their own and are kept short.

    Args:
        network: what is fitted; where its inner network is frozen, latents and poses alone.
        latent_weight: of mean ‖z‖ in the loss (the paper, section 4: 1e-3).
        latent_rate: learning rate of the latents, as a multiple of the network's.
        squared: keep mean z² small instead of mean ‖z‖: the prior of latents that are standard normal.
        device: where it computes.
        beta2: decay of Adam's second moment.
        bfloat16: see `TorchField`.
    """

    def __init__(
        self,
        network: SpaceNetwork,
        *,
        latent_weight: float = 0.0,
        latent_rate: float = 1.0,
        squared: bool = False,
        device: str = "cpu",
        beta2: float = 0.999,
        bfloat16: bool = False,
    ) -> None:
        rates = {"latents": latent_rate} | (
            {k: v * latent_rate for k, v in POSE_RATES.items()} if network.posed else {}
        )
        super().__init__(network, device=device, beta2=beta2, rates=rates, bfloat16=bfloat16)
        self.space, self.latent_weight, self.squared = network, latent_weight, squared
        self.latent_length = 0.0
        """The latents' term at the last training call."""

    def distance_and_gradient(
        self, x: Tensor, *, training: bool = False, shapes: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Value (n,) and gradient (n, d) at `x`, whose row i belongs to `shapes[i mod k]`."""
        if shapes is None:
            raise ValueError("a shape space has to know whose points these are")
        rows = torch.as_tensor(shapes, device=x.device)
        with torch.set_grad_enabled(training), self.products(lower=self.bfloat16 and training):
            value, gradient, z = (self.stepped if training else self.network)(x, rows)
        value, gradient, z = value.float(), gradient.float(), z.float()
        if training:
            length = z.square().mean() if self.squared else z.norm(dim=1).mean()
            self._pending = value, gradient, self.latent_weight * length
            self.latent_length = float(length.detach())
        return value.detach(), gradient.detach()

    def backward(self, df: Tensor, dg: Tensor) -> None:
        """Parameter derivatives from dL/df and dL/d∇f of the last training call, and of the latents' term."""
        self.network.zero_grad(set_to_none=True)
        value, gradient, length = self._pending
        torch.autograd.backward([value, gradient, length], [df, dg, torch.ones_like(length)])
        self._pending = ()


def make_network(config: Config, dimension: int) -> MLP | HyperMLP:
    """The untrained network of a shape space, its weights drawn from `config.seed`."""
    generator = torch.Generator().manual_seed(config.seed)
    assert isinstance(config.network, MLPConfig)
    assert config.latents is not None
    kind = HyperMLP if config.latents.enters == "weights" else MLP
    return kind(config.network, dimension, latent=config.latents.size, generator=generator)


def first_latents(config: Config, shapes: int) -> Tensor:
    """Latents at the start of the training (shapes, z), drawn from `config.seed`."""
    assert config.latents is not None
    rng = np.random.default_rng([config.seed, 6])
    values = config.latents.spread * rng.standard_normal((shapes, config.latents.size))
    return torch.tensor(values, dtype=torch.float32)


@torch.no_grad()
def turn_places(network: MLP, turn: Float[Tensor, "d d"]) -> None:
    """Make the network take places that are turned against its own: x @ turn is what it knew as x."""
    turn = turn.to(network.layers[0].weight)
    for index, layer in enumerate(network.layers):
        if index == 0 or index in network.config.skip:
            layer.weight[:, -len(turn) :] = layer.weight[:, -len(turn) :] @ turn.T


def whereabouts(field: TorchField, extent: float = 1.0) -> Float[np.ndarray, "s d"]:
    """Points about on the zero set: the cells of a grid that it may pass through, moved onto it. They are looked
    for from cells of four times the edge down, each halved where the surface is near: a tenth of the work."""
    cells, edge = GRID // 4, 8 * extent / GRID
    axis = (np.arange(cells) + 0.5) * edge - extent
    near = np.stack(np.meshgrid(*[axis] * field.dimension, indexing="ij"), -1).reshape(-1, field.dimension)
    halves = np.array(list(np.ndindex((2,) * field.dimension))) - 0.5
    for level in range(3):
        if level:
            edge /= 2
            near = (near[:, None] + edge * halves).reshape(-1, field.dimension)
        value = abs(field.distance(field.array(near)).cpu().numpy())
        near = near[value < 1.5 * edge] if (value < 1.5 * edge).any() else near[np.argsort(value)[:8]]
    found = field.distance_and_gradient(field.array(near))
    value, gradient = (part.cpu().numpy().astype(float) for part in found)
    if not np.isfinite(value).all() or not np.isfinite(gradient).all():
        raise InputError("this latent is no surface: its distances are not finite")
    return near - np.clip(value[:, None] * gradient, -edge, edge)


class HyperMLP(nn.Module):
    """f(x; z) = MLP(x) with parameters base + scale · (directions z).

    Args:
        config: of the small MLP, which starts as a sphere of `config.radius` for z = 0.
        dimension: 2 or 3.
        latent: length of z.
        generator: source of the initial weights.
    """

    def __init__(
        self, config: MLPConfig, dimension: int, *, latent: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config, self.dimension, self.latent = config, dimension, latent
        start = MLP(config, dimension, generator=generator)
        self.shapes = [tuple(layer.weight.shape) for layer in start.layers]
        self.base = nn.Parameter(_flat(start))
        self.directions = nn.Parameter(
            0.1 / math.sqrt(latent) * torch.randn(len(self.base), latent, generator=generator)
        )
        scale = [torch.full((o * i + o,), 1 / math.sqrt(i)) for o, i in self.shapes]
        self.register_buffer("scale", torch.cat(scale), persistent=False)
        self.scale: Tensor

    def forward(
        self, x: Float[Tensor, "k n d"], latents: Float[Tensor, "k z"]
    ) -> tuple[Float[Tensor, "k n"], Float[Tensor, "k n d"]]:
        """Value and spatial gradient at points of k shapes."""
        flat = self.base + (latents @ self.directions.T) * self.scale
        layers, at = [], 0
        for index, (o, i) in enumerate(self.shapes):
            weight = flat[:, at : at + o * i].view(-1, o, i)
            shift = flat[:, at + o * i : at + o * i + o].unsqueeze(1)
            layers.append((weight / math.sqrt(2) if index in self.config.skip else weight, shift))
            at += o * i + o
        return value_and_gradient(x, layers, self.config.skip, self.config.beta)

    @torch.no_grad()
    def decode(self, latent: Float[Tensor, " z"]) -> MLP:
        """The small network of one shape, on this one's device and in its type."""
        flat = self.base + (self.directions @ latent.to(self.base)) * self.scale
        network, at = unwritten_mlp(self.config, self.dimension, like=flat), 0
        for layer, (o, i) in zip(network.layers, self.shapes, strict=True):
            layer.weight.copy_(flat[at : at + o * i].view(o, i))
            layer.bias.copy_(flat[at + o * i : at + o * i + o])
            at += o * i + o
        return network


def _flat(network: MLP) -> Tensor:
    """All parameters of an MLP one after the other: weight and bias of each layer."""
    parts = [part for layer in network.layers for part in (layer.weight.flatten(), layer.bias)]
    return torch.cat(parts).detach().clone()
