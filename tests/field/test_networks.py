"""Torch fields against double backward and finite differences."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from shapes import sphere  # noqa: E402

from igr.config import FAST, PAPER, Config, FeatureConfig, LatentConfig, MLPConfig  # noqa: E402
from igr.errors import InputError  # noqa: E402
from igr.field import native  # noqa: E402
from igr.field.field import NativeField  # noqa: E402
from igr.field.networks import MLP, softplus  # noqa: E402
from igr.field.torch_field import TorchField, torch_field  # noqa: E402
from igr.fit.objective import objective  # noqa: E402
from igr.fit.sampling import CloudSampler  # noqa: E402

SMALL_MLP = Config(network=MLPConfig(width=24, layers=6, skip=(3,)))
ODD_MLP = Config(network=MLPConfig(width=17, layers=5, skip=(2, 4), beta=10.0, radius=0.7))
WAVES = Config(network=MLPConfig(width=40, layers=4, skip=(2,), beta=10.0, octaves=3))
SMALL_FEATURES = Config(network=FeatureConfig(levels=4, coarsest=3, finest=40, log2_rows=9, width=16, bound=1.1))


def double_field(config, dimension, seed=0):
    field = torch_field(dataclasses.replace(config, seed=seed), dimension)
    field.network.double()
    for name, parameter in field.network.named_parameters():
        if name == "table":
            parameter.data.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    return field


def places(dimension, n=60, seed=0):
    return torch.tensor(np.random.default_rng(seed).uniform(-1.3, 1.3, (n, dimension)))


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("config", [SMALL_MLP, ODD_MLP, WAVES, SMALL_FEATURES])
def test_gradient_is_autograds(config, dimension):
    field = double_field(config, dimension)
    x = places(dimension).requires_grad_()
    value, gradient = field.network(x)
    (expected,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("config", [SMALL_MLP, ODD_MLP, WAVES, SMALL_FEATURES])
def test_gradient_is_the_limit_of_differences(config, dimension):
    network = double_field(config, dimension).network
    x, h = places(dimension, 30), 1e-6
    with torch.no_grad():
        _, gradient = network(x)
        for axis in range(dimension):
            step = torch.zeros(dimension, dtype=torch.double)
            step[axis] = h
            difference = (network(x + step)[0] - network(x - step)[0]) / (2 * h)
            torch.testing.assert_close(gradient[:, axis], difference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("config", [SMALL_MLP, ODD_MLP, WAVES, SMALL_FEATURES])
def test_parameter_derivatives_are_those_of_double_backward(config, dimension):
    field = double_field(config, dimension)
    parameters = dict(field.network.named_parameters())
    x = places(dimension)
    df, dg = torch.randn(len(x), dtype=torch.double), torch.randn(len(x), dimension, dtype=torch.double)

    leaf = x.clone().requires_grad_()
    value = field.network(leaf)[0]
    (gradient,) = torch.autograd.grad(value.sum(), leaf, create_graph=True)
    expected = torch.autograd.grad(
        (value * df).sum() + (gradient * dg).sum(), list(parameters.values()), allow_unused=True
    )

    field.distance_and_gradient(x, training=True)
    field.backward(df, dg)
    for (name, parameter), reference in zip(parameters.items(), expected, strict=True):
        assert reference is not None, name
        scale = reference.abs().max()
        assert (parameter.grad - reference).abs().max() <= 1e-5 * scale + 1e-12, name


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("config", [SMALL_MLP, ODD_MLP, WAVES, SMALL_FEATURES])
def test_the_value_alone_is_the_value(config, dimension):
    network, x = double_field(config, dimension).network, places(dimension)
    torch.testing.assert_close(network.value(x), network(x)[0].detach())


@pytest.mark.parametrize("config", [SMALL_MLP, ODD_MLP])
@pytest.mark.parametrize("latent", [0, 5])
def test_every_layer_takes_what_the_last_one_gives_and_the_input_where_it_comes_in_again(config, latent):
    network = MLP(config.network, 3, latent=latent)
    assert len(network.layers) == config.network.layers + 1
    given = 3 + latent
    for index, layer in enumerate(network.layers):
        again = index in config.network.skip
        assert layer.in_features == given + (3 + latent if again else 0)
        assert layer.in_features == (config.network.width if index else 3 + latent)
        given = layer.out_features
    assert given == 1


@pytest.mark.parametrize("dimension", [2, 3])
def test_features_end_at_the_cube(dimension):
    """On its boundary the slope is that from within; beyond, the features stay as they are there."""
    config = Config(network=FeatureConfig(levels=2, coarsest=2, finest=5, width=16, bound=1.1))
    network = double_field(config, dimension).network
    corner = torch.full((1, dimension), 1.1, dtype=torch.double)
    inward = corner - 1e-9
    values, slopes = network.features(corner)
    assert slopes.any()
    torch.testing.assert_close(network.features(inward)[1], slopes, atol=1e-6, rtol=1e-6)
    beyond = network.features(corner + torch.rand(20, dimension).double())
    torch.testing.assert_close(beyond[0], values.expand_as(beyond[0]))
    assert not beyond[1].any()


@pytest.mark.parametrize("dimension", [2, 3])
def test_features_of_a_corner_are_its_row_of_the_table(dimension):
    config = Config(network=FeatureConfig(levels=2, coarsest=2, finest=5, width=16, bound=1.1))
    network = double_field(config, dimension).network
    values = network.features(torch.tensor([[1.1, -1.1, 1.1][:dimension]]).double())[0].reshape(2, -1)
    for level, own in zip(network.levels, values, strict=True):
        m = level.resolution + 1
        row = {2: (m - 1) * m, 3: (m - 1) * m * m + (m - 1)}[dimension]
        torch.testing.assert_close(own, network.table[level.offset + row].detach())


def test_softplus_and_slope_are_exact_far_from_zero():
    a = torch.tensor([-50.0, -1.0, 0.0, 1.0, 50.0], dtype=torch.double)
    value, slope = softplus(a, 100.0)
    torch.testing.assert_close(value, torch.logaddexp(100.0 * a, 0 * a) / 100.0)
    torch.testing.assert_close(slope, torch.sigmoid(100.0 * a))


@pytest.mark.parametrize("dimension", [2, 3])
def test_paper_network_starts_as_a_sphere_of_radius_one(dimension):
    network = torch_field(PAPER, dimension).network
    directions = torch.nn.functional.normalize(torch.randn(500, dimension), dim=1)
    with torch.no_grad():
        inside, on = network(0.3 * directions)[0], network(1.0 * directions)[0]
        outside = network(1.6 * directions)[0]
    assert (inside < 0).all()
    assert (outside > 0).all()
    assert abs(on.mean()) < 0.1


def test_paper_network_has_the_published_shape():
    sizes = [tuple(layer.weight.shape) for layer in MLP(MLPConfig(), 3).layers]
    assert sizes == [(512, 3), (512, 512), (512, 512), (509, 512), (512, 512), *[(512, 512)] * 3, (1, 512)]
    assert sum(p.numel() for p in MLP(MLPConfig(), 3, latent=256).parameters()) > 1_700_000


def test_latents_shared_by_a_shape_equal_latents_at_every_point():
    network = MLP(MLPConfig(width=20, layers=4, skip=(2,)), 3, latent=5).double()
    x, z = torch.randn(3, 7, 3, dtype=torch.double), torch.randn(3, 5, dtype=torch.double)
    shared = network(x, z)[0]
    plain = network.layers
    inputs = torch.cat([z[:, None].expand(3, 7, 5), x], -1)
    h = inputs
    for index, layer in enumerate(plain):
        h = torch.cat([h, inputs], -1) / 2**0.5 if index in network.config.skip else h
        h = layer(h)
        h = softplus(h, network.config.beta)[0] if index < network.config.layers else h
    torch.testing.assert_close(shared, h.squeeze(-1))


@pytest.mark.parametrize("skip", [(), (1,), (3,), (1, 2), (2, 3), (1, 2, 3)])
def test_every_skip_that_can_be_configured_is_built_and_decoded(skip):
    network, latent = MLP(MLPConfig(width=12, layers=4, skip=skip), 3, latent=5).double(), torch.randn(5).double()
    x = places(3)
    plain = network.decode(latent).double()
    expected = network(x[None], latent[None])
    torch.testing.assert_close(plain(x), (expected[0][0], expected[1][0]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(plain.value(x), plain(x)[0])


def test_with_an_encoding_it_starts_as_the_network_without():
    """Sines and cosines are there, and count for nothing yet."""
    wavy, plain = (double_field(config, 3).network for config in (WAVES, WAVES))
    plain.config = dataclasses.replace(WAVES.network, octaves=0)
    for layer in (0, 2):
        linear, own = plain.layers[layer], plain.layers[layer].in_features - 18
        linear.weight = torch.nn.Parameter(linear.weight.detach()[:, :own])
    x = places(3)
    for one, two in zip(wavy(x), plain(x), strict=True):
        torch.testing.assert_close(one, two)
    with pytest.raises(InputError, match="octaves is for one surface"):
        Config(network=WAVES.network, latents=LatentConfig())


def test_a_network_too_narrow_to_skip_is_refused():
    assert MLP(MLPConfig(width=4, layers=4, skip=(2,)), 3).layers
    with pytest.raises(InputError, match="width is 8; to skip, it must be above the 8 inputs"):
        MLP(MLPConfig(width=8, layers=4, skip=(2,)), 3, latent=5)


@pytest.mark.parametrize("config", [SMALL_MLP, ODD_MLP, WAVES, SMALL_FEATURES])
def test_state_round_trip_is_exact(config):
    first, second = torch_field(config, 3), torch_field(dataclasses.replace(config, seed=9), 3)
    train_a_little(first, 3)
    second.load_state(first.state(optimizer=True))
    train_a_little(first, 2)
    train_a_little(second, 2)
    for name, value in first.state(optimizer=True).items():
        np.testing.assert_array_equal(value, second.state(optimizer=True)[name], err_msg=name)


def train_a_little(field: TorchField, steps: int) -> None:
    x = field.array(places(3, 40).numpy())
    for _ in range(steps):
        f, g = field.distance_and_gradient(x, training=True)
        field.backward(f, g)
        field.update(1e-3)


def test_backward_before_forward_is_an_error():
    field = torch_field(SMALL_MLP, 3)
    with pytest.raises(RuntimeError, match="needs a call of distance_and_gradient"):
        field.backward(torch.zeros(1), torch.zeros(1, 3))


def test_rows_that_no_point_touches_keep_value_and_moments():
    field = torch_field(SMALL_FEATURES, 3)
    before = field.state(optimizer=True)
    x = field.array(np.full((4, 3), 0.01))
    f, g = field.distance_and_gradient(x, training=True)
    field.backward(f * 0 + 1, g)
    field.update(1e-2)
    after = field.state(optimizer=True)
    changed = (before["table"] != after["table"]).any(1)
    assert 0 < changed.sum() <= 4 * 8
    assert (after["adam.exp_avg.table"][~changed] == 0).all()


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("instruction_set", native.instruction_sets() if native.available() else [])
def test_every_native_step_is_the_reference_s(monkeypatch, instruction_set, threads):
    """Each part of a step from the same input: along a run rounding grows, and two right programs drift apart."""
    monkeypatch.setenv("IGR_INSTRUCTION_SET", instruction_set)
    steps = 20
    network = FeatureConfig(levels=6, coarsest=4, finest=32, width=32, log2_rows=12)
    config = dataclasses.replace(FAST, network=network)
    points, normals = sphere(2000, radius=0.6)
    sampler = CloudSampler(points, dataclasses.replace(config.sampling, surface=256), seed=0, normals=normals)
    ours, theirs = NativeField(config, 3, threads=threads), torch_field(config, 3)
    assert ours.core.instruction_set == instruction_set
    for step in range(steps):
        for field in (ours, theirs):
            field.set_detail(step / steps)
        batch = sampler(step)
        f, g = ours.distance_and_gradient(ours.array(batch.points), training=True)
        found = theirs.distance_and_gradient(theirs.array(batch.points), training=True)
        assert_close({"f": f, "g": g}, {"f": found[0], "g": found[1]})
        loss = objective(f, g, batch, config.objective, step / steps)
        ours.backward(loss.df, loss.dg)
        theirs.backward(theirs.array(loss.df), theirs.array(loss.dg))
        parameters = dict(theirs.network.named_parameters())
        derivatives = {name: torch.tensor(values) for name, values in ours.core.gradients().items()}
        assert_close(derivatives, {name: parameter.grad for name, parameter in parameters.items()})
        for name, parameter in parameters.items():
            parameter.grad = derivatives[name]
        before = ours.state()
        for field in (ours, theirs):
            field.update(1e-2)
        after = [field.state(optimizer=True) for field in (ours, theirs)]
        assert_close(*after)
        assert_close(*({name: state[name] - before[name] for name in before} for state in after))
        theirs.load_state(after[0])


def assert_close(ours, theirs, tolerance=1e-4):
    """The same but for rounding, by the largest entry of a layer: sums that cancel are as exact as the others."""
    assert ours.keys() == theirs.keys()
    for layer in {name.replace("bias", "weight") for name in ours}:
        names = [name for name in ours if name.replace("bias", "weight") == layer]
        one, other = (np.concatenate([np.ravel(arrays[name]) for name in names]) for arrays in (ours, theirs))
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max(), layer


COMPILED = """
import dataclasses, numpy as np, torch
from igr.config import MLPConfig
from igr.config import PAPER
from igr.field.torch_field import torch_field
config = dataclasses.replace(PAPER, network=MLPConfig(width=64, layers=4, skip=(2,)), steps=10_000)
eager = torch_field(dataclasses.replace(config, steps=1), 3)
x, df, dg = torch.rand(500, 3), torch.rand(500), torch.rand(500, 3)
for precision, tolerance in (("float32", 1e-4), ("bfloat16", 0.1)):
    field = torch_field(dataclasses.replace(config, precision=precision), 3)
    assert field.worth_compiling
    for one in (eager, field):
        value, gradient = one.distance_and_gradient(x, training=True)
        one.backward(df, dg)
        one.found = value, gradient, one.network.lin1.weight.grad
    assert field.stepped is not field.network
    for one, other in zip(eager.found, field.found):
        assert (one - other).norm() < tolerance * one.norm()
"""


@pytest.mark.slow
def test_a_compiled_step_is_the_same_step():
    environment = os.environ | {"TORCH_COMPILE_DISABLE": "0"}
    done = subprocess.run([sys.executable, "-c", COMPILED], env=environment, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_derivatives_that_meet_in_one_row_are_summed_in_one_order():
    field = torch_field(SMALL_FEATURES, 3)
    x, found = places(3, 20_000).float(), []
    for _ in range(5):
        field.network.zero_grad()
        f, g = field.distance_and_gradient(x, training=True)
        field.backward(torch.sin(99 * f), torch.cos(99 * g))
        found.append(field.network.table.grad.clone())
    assert all(torch.equal(found[0], other) for other in found)
