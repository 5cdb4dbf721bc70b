"""The network of the default shape space: a small MLP whose every weight is affine in the latent.

Ha, Dai, Le: HyperNetworks. ICLR 2017. A latent that is concatenated to the input moves only biases; one that moves
all weights lets a network of a tenth of the size tell shapes apart, and what is computed for each point is that
small network alone.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .config import MLPConfig
from .network import MLP, unwritten_mlp, value_and_gradient


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
