"""The preset `paper` against an independent step: plain modules, double backward, torch's own optimizer."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from shapes import directions  # noqa: E402

from igr.config import (  # noqa: E402
    PAPER,
    Config,
    MLPConfig,
    SamplingConfig,
)
from igr.field.networks import MLP  # noqa: E402
from igr.field.torch_field import torch_field  # noqa: E402
from igr.fit.loop import Schedule, fit  # noqa: E402
from igr.fit.objective import objective  # noqa: E402
from igr.fit.sampling import CloudSampler  # noqa: E402


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


def assert_steps_are_those_of_double_backward(config, sampler, steps, dimension):
    """Each step of a fit from the same state: along a run two right programs drift apart."""
    field = torch_field(config, dimension)
    reference = Reference(field.network)
    adam = torch.optim.Adam(reference.parameters())

    def loss(f, g, batch, share):
        x = batch.points.clone().requires_grad_()
        true_f = reference(x)
        (true_g,) = torch.autograd.grad(true_f.sum(), x, create_graph=True)
        m = batch.surface
        truth = true_f[:m].abs().mean() + 0.1 * (true_g[m:].norm(dim=-1) - 1).square().mean()
        if batch.normals is not None:
            truth = truth + (true_g[:m] - batch.normals).norm(dim=-1).mean()
        adam.zero_grad()
        truth.backward()
        found = objective(f, g, batch, config.objective, share)
        assert found.total == pytest.approx(truth.item(), rel=1e-5)
        return found

    def on_step(progress):
        adam.param_groups[0]["lr"] = config.optimizer.rate(progress.step - 1, 0.0)
        pairs = list(zip(field.network.parameters(), reference.parameters(), strict=True))
        for ours, truth in pairs:
            assert (ours.grad - truth.grad).norm() <= 1e-4 * truth.grad.norm()
            truth.grad = ours.grad.clone()
        adam.step()
        for ours, truth in pairs:
            torch.testing.assert_close(ours, truth, rtol=1e-6, atol=1e-8)
        reference.load_state_dict(dict(zip(reference.state_dict(), field.network.parameters(), strict=True)))

    state = fit(field, sampler, loss, Schedule(config.optimizer, steps), on_step=on_step)
    assert state.step == steps


def cloud(dimension, n=400):
    normals = directions(n, dimension)
    return normals * [0.9, 0.5, 0.7][:dimension], normals


SMALL = SamplingConfig(surface=128, neighbor=20)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("with_normals", [True, False])
def test_steps_are_those_of_double_backward(dimension, with_normals):
    config = dataclasses.replace(PAPER, network=MLPConfig(width=64), sampling=SMALL)
    points, normals = cloud(dimension)
    sampler = CloudSampler(points, SMALL, seed=0, normals=normals if with_normals else None)
    assert_steps_are_those_of_double_backward(config, sampler, 20, dimension)


@pytest.mark.slow
def test_steps_at_full_width():
    points, normals = cloud(3)
    sampler = CloudSampler(points, SMALL, seed=0, normals=normals)
    config: Config = dataclasses.replace(PAPER, sampling=SMALL, precision="float32")
    assert_steps_are_those_of_double_backward(config, sampler, 10, 3)


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
