"""The networks of the paper in torch: the preset `idr`, faithful to its section 4 and supplement, tested by terms.

The field is an MLP of 8 x 512 on encoded positions that also gives 256 features z of a place; a second network of
4 x 512 makes colors of (x̂, n̂, v, z). Normals and features depend on the parameters through x̂, too, so their
derivatives are carried on to the place where the ray meets the surface.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ..config import MLPConfig
from ..errors import InputError
from ..field.networks import encoded
from ..field.torch_field import TorchField, torch_field
from .config import PhotoConfig, RenderingConfig


class ImplicitNetwork(nn.Module):
    """f(x) and z(x): an MLP on encoded positions that starts as a sphere (Atzmon & Lipman 2020).

    Args:
        config: width, depth, skip connections, encoding, radius of the sphere.
        features: length of z.
        generator: source of the initial weights.
    """

    def __init__(self, config: MLPConfig, features: int, generator: torch.Generator) -> None:
        super().__init__()
        self.dimension, self.config = 3, config
        inputs = 3 + 6 * config.octaves
        sizes = [inputs, *[config.width] * config.layers, 1 + features]
        layers = []
        for index in range(config.layers + 1):
            outputs = sizes[index + 1] - (inputs if index + 1 in config.skip else 0)
            linear = nn.Linear(sizes[index], outputs)
            with torch.no_grad():
                if index == config.layers:
                    linear.weight.normal_(math.sqrt(math.pi / sizes[index]), 1e-4, generator=generator)
                    linear.bias.fill_(-config.radius)
                else:
                    linear.weight.normal_(0, math.sqrt(2 / outputs), generator=generator)
                    linear.bias.zero_()
                if index == 0:
                    linear.weight[:, 3:] = 0
                elif index in config.skip:
                    linear.weight[:, -(inputs - 3) :] = 0
            layers.append(weight_norm(linear))
        self.layers = nn.ModuleList(layers)

    def outputs(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n z"]]:
        """f and z."""
        first = h = encoded(x, self.config.octaves)
        for index, layer in enumerate(self.layers):
            h = layer(torch.cat([h, first], 1) / math.sqrt(2) if index in self.config.skip else h)
            if index < len(self.layers) - 1:
                h = nn.functional.softplus(h, beta=self.config.beta)
        return h[:, 0], h[:, 1:]

    def value(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """f alone."""
        return self.outputs(x)[0]

    def forward(self, x: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """f and ∇f, without derivatives by parameters."""
        f, g, _ = self.everything(x.detach().requires_grad_(), graph=False)
        return f.detach(), g

    def everything(
        self, x: Float[Tensor, "n 3"], *, graph: bool
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"], Float[Tensor, "n z"]]:
        """f, ∇f and z; with `graph` all of them can be derived once more."""
        with torch.enable_grad():
            f, z = self.outputs(x)
            (g,) = torch.autograd.grad(f.sum(), x, create_graph=graph)
        return f, g, z


class RenderingNetwork(nn.Module):
    """M(x, n, v, z): colors in [−1, 1] of a place, its normal, the encoded direction of the ray, and features.

    Args:
        config: width, depth, encoding.
        generator: source of the initial weights.
    """

    def __init__(self, config: RenderingConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.dimension, self.octaves = 3, config.octaves
        sizes = [3 + 3 + 3 + 6 * config.octaves + config.features, *[config.width] * config.layers, 3]
        layers = []
        for inputs, outputs in pairwise(sizes):
            linear = nn.Linear(inputs, outputs)
            bound = 1 / math.sqrt(inputs)
            with torch.no_grad():
                linear.weight.uniform_(-bound, bound, generator=generator)
                linear.bias.uniform_(-bound, bound, generator=generator)
            layers.append(weight_norm(linear))
        self.layers = nn.ModuleList(layers)

    def forward(
        self, x: Float[Tensor, "n 3"], n: Float[Tensor, "n 3"], v: Float[Tensor, "n 3"], z: Float[Tensor, "n z"]
    ) -> Float[Tensor, "n 3"]:
        """The colors."""
        h = torch.cat([x, encoded(v, self.octaves), n, z], 1)
        for layer in self.layers[:-1]:
            h = torch.relu(layer(h))
        return torch.tanh(self.layers[-1](h))


class IdrField(TorchField):
    """The paper's field: its features are derived by, too.

    Args:
        config: of the run.
        device: where it computes.
    """

    def __init__(self, config: PhotoConfig, *, device: str = "cpu") -> None:
        assert config.rendering is not None
        network = config.field.network
        if not isinstance(network, MLPConfig):
            raise InputError("the rendering network of the paper goes with an MLP, not with grids of features")
        generator = torch.Generator().manual_seed(config.field.seed)
        self.config = config.field
        super().__init__(ImplicitNetwork(network, config.rendering.features, generator), device=device)
        self.places, self.features, self.by_features = (torch.empty(0),) * 3

    def distance_and_gradient(
        self, x: Tensor, *, training: bool = False, shapes: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Value (n,) and spatial gradient (n, 3) at `x`; `training` keeps the graph, and the features."""
        if not training:
            return self.network(x)
        self.places = x.detach().requires_grad_()
        f, g, self.features = self.network.everything(self.places, graph=True)
        self.by_features = torch.zeros_like(self.features)
        self._pending = f, g
        return f.detach(), g.detach()

    def carried_on(self, rows: int, dn: Tensor, dz: Tensor) -> Float[Tensor, "rows 3"]:
        """Derivative by place of the first rows of the last training call, from those by unit normals and
        features; the latter are kept for `backward`."""
        _, g = self._pending
        self.by_features[:rows] = dz
        normals = nn.functional.normalize(g[:rows], dim=1)
        return torch.autograd.grad(
            [normals, self.features], self.places, [dn, self.by_features], retain_graph=True
        )[0][:rows]

    def backward(self, df: Tensor, dg: Tensor) -> None:
        """Parameter derivatives from dL/df, dL/d∇f and dL/dz of the last training call."""
        self.network.zero_grad(set_to_none=True)
        torch.autograd.backward([*self._pending, self.features], [df, dg, self.by_features])
        self._pending = ()

    def alone(self) -> TorchField:
        """f without its features, as surfaces hold and save it: the MLP that it is."""
        field = torch_field(self.config, 3, device=str(self.device))
        state: dict[str, np.ndarray] = {}
        for index, layer in enumerate(self.network.layers):
            rows = 1 if index == self.network.config.layers else len(layer.bias)
            for kind in ("weight", "bias"):
                state[f"lin{index}.{kind}"] = getattr(layer, kind)[:rows].detach().cpu().numpy()
        field.load_state(state)
        return field


class IdrColors:
    """The rendering network beside its field, as `ColorNetwork` is beside the native one.

    Args:
        config: of the run.
        field: whose features it takes.
    """

    def __init__(self, config: PhotoConfig, field: IdrField) -> None:
        assert config.rendering is not None
        self.field = field
        generator = torch.Generator().manual_seed(config.field.seed + 1)
        self.trained = TorchField(RenderingNetwork(config.rendering, generator), device=str(field.device))
        self.network, self.due = self.trained.network, False

    def set_detail(self, progress: float) -> None:
        """Nothing: all of the detail is on from the start."""

    def colors(self, x: np.ndarray, n: np.ndarray, v: np.ndarray) -> Float[np.ndarray, "n 3"]:
        """Red, green, blue in [0, 1] of places x with normals n, seen along v; see `ColorNetwork.colors`."""
        array = self.field.array
        with torch.no_grad():
            z = self.field.network.outputs(array(x))[1]
            return (self.network(array(x), array(n), array(v), z) / 2 + 0.5).cpu().numpy()

    def loss(
        self,
        x: np.ndarray,
        n: np.ndarray,
        v: np.ndarray,
        term: Callable[[np.ndarray], tuple[float, np.ndarray]],
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """A loss of the colors, and its derivatives by x (all of them) and n; see `ColorNetwork.loss`. The rows
        are the first ones of the field's last training call."""
        rows = len(x)
        given: list[Any] = [self.field.array(part).requires_grad_() for part in (x, n)]
        z = self.field.features[:rows].detach().requires_grad_()
        colors = self.network(*given, self.field.array(v), z) / 2 + 0.5
        value, slopes = term(colors.detach().cpu().numpy())
        self.network.zero_grad(set_to_none=True)
        colors.backward(self.field.array(slopes))
        self.due = True
        dx, dn = (part.grad for part in given)
        dx = dx + self.field.carried_on(rows, dn, z.grad)  # type: ignore[arg-type]
        return value, dx.cpu().numpy(), dn.cpu().numpy()

    def update(self, rate: float, shade_rate: float) -> None:
        """One step of Adam, if there was a loss since the one before; features have no parameters of their own."""
        if self.due:
            self.trained.update(shade_rate)
        self.due = False

    def state(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and moments."""
        return self.trained.state(optimizer=True)

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take them back."""
        self.trained.load_state(state)
