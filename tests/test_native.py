"""The native core against a plain float64 reference, on every instruction set of the machine."""

from __future__ import annotations

import numpy as np
import pytest

from igr import native
from igr.config import FeatureConfig
from igr.encoding import HASH_PRIMES, Level, feature_levels

if not native.available():
    pytest.skip(native.unavailable_reason(), allow_module_level=True)

SETS = native.instruction_sets()
BETA, BOUND = 20.0, 1.2


def levels_for(dimension: int, features: int, count: int = 4) -> list[Level]:
    """A few levels, the coarse ones dense and the fine ones hashed."""
    config = FeatureConfig(levels=count, features=features, coarsest=4, finest=40, log2_rows=10)
    levels = feature_levels(config, dimension)
    assert not levels[0].hashed
    assert levels[-1].hashed
    return levels


def make_core(dimension=3, *, features=2, width=64, threads=2, instruction_set="auto", seed=0):
    core = native.NativeCore(
        dimension, levels_for(dimension, features), features, width, BETA, BOUND, threads, instruction_set
    )
    rng = np.random.default_rng(seed)
    for name, values in core.parameters().items():
        scale = {"table": 0.3, "bias3": 0.1}.get(name, 1 / np.sqrt(values.shape[-1]))
        values[...] = rng.normal(0, scale, values.shape)
    return core


def points_for(dimension: int, n: int, seed: int = 1) -> np.ndarray:
    """Points inside the cube and, every tenth, up to 1.5 times its half edge away along each axis."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-BOUND, BOUND, (n, dimension))
    x[::10] *= 1.5
    return x.astype(np.float32)


class Reference:
    """The field in float64 torch, written for clarity."""

    def __init__(self, core, levels):
        self.torch = pytest.importorskip("torch")
        self.levels, self.weights = levels, core.level_weights
        self.parameters = {
            name: self.torch.tensor(value.astype(np.float64), requires_grad=True)
            for name, value in core.parameters().items()
        }

    def features(self, x, level: Level):
        torch, dimension = self.torch, x.shape[1]
        place = ((x / BOUND + 1) / 2 * level.resolution).clamp(0, level.resolution)
        cell = place.detach().floor().clamp(max=level.resolution - 1)
        t, cell = place - cell, cell.long()
        total = 0
        for corner in np.ndindex(*[2] * dimension):
            index = cell + torch.tensor(corner)
            row, weight = torch.zeros(len(x), dtype=torch.long), torch.ones(len(x), dtype=torch.float64)
            for axis in range(dimension):
                own = index[:, axis]
                row = row ^ (own * HASH_PRIMES[axis]) if level.hashed else row * (level.resolution + 1) + own
                weight = weight * (t[:, axis] if corner[axis] else 1 - t[:, axis])
            row = row % level.rows if level.hashed else row
            total = total + weight[:, None] * self.parameters["table"][level.offset + row]
        return total

    def __call__(self, points):
        torch, p = self.torch, self.parameters
        x = torch.tensor(points.astype(np.float64), requires_grad=True)
        inputs = [float(w) * self.features(x, level) for w, level in zip(self.weights, self.levels, strict=True)]
        h = torch.cat([x, *inputs], 1)
        for layer in "12":
            h = torch.nn.functional.softplus(h @ p["weight" + layer].T + p["bias" + layer], BETA, threshold=1e9)
        f = h @ p["weight3"] + p["bias3"]
        return f, torch.autograd.grad(f.sum(), x, create_graph=True)[0]

    def derivatives(self, f, g, df, dg):
        names = list(self.parameters)
        loss = (f * self.torch.tensor(df)).sum() + (g * self.torch.tensor(dg)).sum()
        return dict(
            zip(names, self.torch.autograd.grad(loss, [self.parameters[name] for name in names]), strict=True)
        )


def assert_close(ours, truth, tolerance=1e-4):
    truth = np.asarray(truth.detach() if hasattr(truth, "detach") else truth)
    assert np.abs(ours - truth).max() <= tolerance * max(np.abs(truth).max(), 1e-6)


def random_directions(n: int, dimension: int):
    rng = np.random.default_rng(2)
    return rng.normal(size=n).astype(np.float32), rng.normal(size=(n, dimension)).astype(np.float32)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize(("dimension", "features", "width"), [(3, 2, 64), (2, 2, 64), (3, 1, 32), (2, 4, 32), (3, 4, 64)])
def test_values_gradients_and_derivatives_agree_with_float64(dimension, features, width, instruction_set):
    core = make_core(dimension, features=features, width=width, instruction_set=instruction_set)
    assert core.instruction_set == instruction_set
    core.level_weights = np.array([1.0, 0.7, 1.0, 0.3], np.float32)
    x = points_for(dimension, 333)
    reference = Reference(core, levels_for(dimension, features))
    f, g = core.forward(x)
    true_f, true_g = reference(x)
    assert_close(f, true_f)
    assert_close(g, true_g)
    df, dg = random_directions(len(x), dimension)
    core.backward(df, dg)
    truth = reference.derivatives(true_f, true_g, df, dg)
    for name, gradient in core.gradients().items():
        assert_close(gradient, truth[name])
    assert_close(core.evaluate(x), true_f)
    assert_close(core.evaluate_with_gradient(x)[1], true_g)
