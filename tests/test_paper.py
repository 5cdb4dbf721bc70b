"""The preset `paper` against an independent step: plain modules, double backward, torch's own optimizer."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from shapes import directions  # noqa: E402

from igr.config import Config, MLPConfig, SamplingConfig  # noqa: E402
from igr.fit import Schedule, fit  # noqa: E402
from igr.network import MLP  # noqa: E402
from igr.objective import objective  # noqa: E402
from igr.presets import PAPER  # noqa: E402
from igr.sampling import CloudSampler  # noqa: E402
from igr.torchfield import torch_field  # noqa: E402


class Reference(torch.nn.Module):
    """The published network as its text reads, with autograd for everything."""

    def __init__(self, source: MLP) -> None:
        super().__init__()
        self.skip, self.beta = source.config.skip, source.config.beta
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(layer.in_features, layer.out_features) for layer in source.layers
        )
        for mine, theirs in zip(self.layers, source.layers, strict=True):
            mine.load_state_dict(theirs.state_dict())

    def forward(self, x):
        h = x
        for index, layer in enumerate(self.layers):
            if index in self.skip:
                h = torch.cat([h, x], -1) / np.sqrt(2)
            h = layer(h)
            if index < len(self.layers) - 1:
                h = torch.nn.functional.softplus(h, beta=self.beta)
        return h[:, 0]


def reference_losses(config, sampler, steps, dimension):
    network = Reference(torch_field(config, dimension).network)
    adam = torch.optim.Adam(network.parameters(), lr=config.optimizer.initial)
    losses = []
    for step in range(steps):
        batch = sampler(step)
        x = torch.tensor(batch.points, requires_grad=True)
        f = network(x)
        (g,) = torch.autograd.grad(f.sum(), x, create_graph=True)
        m = batch.surface
        loss = f[:m].abs().mean() + 0.1 * (g[m:].norm(dim=-1) - 1).square().mean()
        if batch.normals is not None:
            loss = loss + (g[:m] - torch.tensor(batch.normals)).norm(dim=-1).mean()
        adam.param_groups[0]["lr"] = config.optimizer.rate(step, 0.0)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return losses


def our_losses(config, sampler, steps, dimension):
    losses = []
    fit(
        torch_field(config, dimension),
        sampler,
        lambda f, g, batch, share: objective(f, g, batch, config.objective, share),
        Schedule(config.optimizer, steps),
        on_step=lambda progress: losses.append(progress.loss.total),
    )
    return losses


def cloud(dimension, n=400):
    normals = directions(n, dimension)
    return normals * [0.9, 0.5, 0.7][:dimension], normals


SMALL = SamplingConfig(surface=128, neighbor=20)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("with_normals", [True, False])
def test_first_losses_are_those_of_double_backward(dimension, with_normals):
    config = dataclasses.replace(PAPER, network=MLPConfig(width=64), sampling=SMALL)
    points, normals = cloud(dimension)
    sampler = CloudSampler(points, SMALL, seed=0, normals=normals if with_normals else None)
    ours, theirs = (
        our_losses(config, sampler, 20, dimension),
        reference_losses(config, sampler, 20, dimension),
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.slow
def test_first_losses_at_full_width():
    points, normals = cloud(3)
    sampler = CloudSampler(points, SMALL, seed=0, normals=normals)
    config: Config = dataclasses.replace(PAPER, sampling=SMALL, precision="float32")
    np.testing.assert_allclose(
        our_losses(config, sampler, 10, 3), reference_losses(config, sampler, 10, 3), rtol=1e-4
    )


def test_paper_preset_is_the_published_table():
    assert PAPER.optimizer.rate(0, 0) == 5e-3
    assert PAPER.optimizer.rate(2000, 0) == 2.5e-3
    assert PAPER.optimizer.rate(10**6, 0) == 5e-6
    assert (PAPER.objective.surface, PAPER.objective.normals, PAPER.objective.eikonal) == (1.0, 1.0, 0.1)
    assert PAPER.objective.off_surface == PAPER.objective.warm_start == PAPER.objective.far_sign == 0
    points, _ = cloud(3, 20000)
    batch = CloudSampler(points, PAPER.sampling, seed=0)(0)
    assert batch.surface == 16384
    assert len(batch.points) == 16384 * 2 + 2048
    uniform = batch.points[-2048:]
    assert abs(uniform).max() <= 1.8
    assert abs(uniform).max() > 1.75
