"""The preset idr: the paper's networks, and each term's derivatives against torch's of the whole composition."""

import dataclasses

import numpy as np
import pytest

import igr

torch = pytest.importorskip("torch")

from igr.cloud.frame import Frame  # noqa: E402
from igr.config import MLPConfig  # noqa: E402
from igr.idr.batches import RayBatch  # noqa: E402
from igr.idr.config import IDR, RenderingConfig  # noqa: E402
from igr.idr.network import IdrColors, IdrField, encoded  # noqa: E402
from igr.idr.terms import ray_objective  # noqa: E402

SMALL = dataclasses.replace(
    IDR,
    field=dataclasses.replace(
        IDR.field,
        network=MLPConfig(width=64, layers=4, skip=(2,), beta=20.0, radius=0.6, octaves=3),
    ),
    rendering=RenderingConfig(width=32, layers=2, features=8, octaves=2),
)
RAYS = 24


@pytest.fixture
def field():
    """The field a few random steps off its sphere, so that the encoding counts."""
    field = IdrField(SMALL)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in field.network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return field


def on_the_surface(field, count):
    """Places of the zero set, and directions of rays that enter there."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 3, generator=generator)
    x = 0.6 * x / x.norm(dim=1, keepdim=True)
    for _ in range(60):
        f, g = field.distance_and_gradient(x)
        x = x - 0.7 * g * (f / g.square().sum(1))[:, None]
    v = -g / g.norm(dim=1, keepdim=True) + 0.3 * torch.randn(count, 3, generator=generator)
    return x, v / v.norm(dim=1, keepdim=True)


def test_sizes_and_schedule_are_the_papers():
    field = IdrField(IDR)
    shapes = [tuple(layer.weight.shape) for layer in field.network.layers]
    assert shapes == [(512, 39), (512, 512), (512, 512), (473, 512), *[(512, 512)] * 4, (257, 512)]
    colors = IdrColors(IDR, field).network
    shapes = [tuple(layer.weight.shape) for layer in colors.layers]
    assert shapes == [(512, 9 + 24 + 256), *[(512, 512)] * 3, (3, 512)]
    assert [IDR.alpha_at(share) for share in (0, 0.2, 0.7)] == [50, 100, 1600]
    assert [IDR.field.optimizer.rate(0, share) for share in (0, 0.6, 0.9)] == [1e-4, 5e-5, 2.5e-5]
    assert (IDR.mask, IDR.eikonal, IDR.rays) == (100, 0.1, 2048)


def test_it_starts_as_a_sphere():
    field = IdrField(IDR)
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    x = x / x.norm(dim=1, keepdim=True)
    assert (field.distance(0.2 * x) < 0).all()
    assert (field.distance(1.2 * x) > 0).all()


def test_the_encoding_is_sines_and_cosines_of_octaves():
    x = torch.tensor([[0.1, -0.2, 0.3]])
    found = encoded(x, 2)[0]
    expected = torch.cat([x[0], x[0].sin(), x[0].cos(), (2 * x[0]).sin(), (2 * x[0]).cos()])
    assert torch.allclose(found, expected)


def test_the_gradient_is_that_of_the_value(field):
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(2)) / 2
    step = torch.eye(3) * 1e-3
    _, g = field.distance_and_gradient(x)
    for axis in range(3):
        slope = (field.distance(x + step[axis]) - field.distance(x - step[axis])) / 2e-3
        assert torch.allclose(g[:, axis], slope, atol=5e-3)


@pytest.mark.parametrize("kept", ["color", "mask", "eikonal", "all"])
def test_each_term_moves_the_parameters_as_the_equation_does(field, kept):
    """Ours knows f, ∇f and z where the rays met the surface; torch derives the loss of the whole composition, x̂ of
    equation 3 with normals and features there, by itself."""
    weights = {
        name: getattr(SMALL, name) if kept in (name, "all") else 0.0 for name in ("color", "mask", "eikonal")
    }
    config = dataclasses.replace(SMALL, **weights)
    x, v = on_the_surface(field, RAYS)
    rng = np.random.default_rng(3)
    missed, space = rng.normal(0, 0.5, (10, 3)), rng.uniform(-1, 1, (15, 3))
    points = np.concatenate([x.numpy(), missed, space]).astype(np.float32)
    seen, inside = rng.random((RAYS, 3)).astype(np.float32), rng.random(10) < 0.5
    batch = RayBatch(
        points, RAYS, None, None, np.empty(0, np.float32),
        directions=v.numpy(), colors=seen, inside=inside, rays=40,
    )  # fmt: skip
    colors = IdrColors(config, field)

    f, g = field.distance_and_gradient(torch.tensor(points), training=True)
    loss = ray_objective(f.numpy(), g.numpy(), batch, colors, config, 0.0)
    field.backward(torch.tensor(loss.df), torch.tensor(loss.dg))
    found = [parameter.grad.clone() for parameter in field.network.parameters()]

    network = field.network
    g0 = network(x)[1].detach()
    met = x - v * (network.value(x) / (g0 * v).sum(1))[:, None]
    _, normal, z = network.everything(met, graph=True)
    told = colors.network(met, nn_normal(normal), v, z) / 2 + 0.5
    color = (told - torch.tensor(seen)).abs().sum() / 40
    least = network.value(torch.tensor(missed, dtype=torch.float32))
    shown = torch.tensor(inside, dtype=torch.float32)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(-50 * least, shown, reduction="sum")
    places = torch.tensor(space, dtype=torch.float32).requires_grad_()
    length = network.everything(places, graph=True)[1].norm(dim=1)
    total = (
        config.color * color + config.mask * entropy / (50 * 40) + config.eikonal * (length - 1).square().mean()
    )
    assert loss.total == pytest.approx(total.item(), rel=1e-4)
    network.zero_grad()
    total.backward()
    largest = max(parameter.grad.abs().max() for parameter in network.parameters())
    for ours, parameter in zip(found, network.parameters(), strict=True):
        assert (ours - parameter.grad).abs().max() < 2e-3 * largest


def nn_normal(gradient):
    return gradient / gradient.norm(dim=1, keepdim=True)


def test_a_few_steps_lower_the_loss(field):
    x, v = on_the_surface(field, RAYS)
    colors = IdrColors(SMALL, field)
    seen = np.full((RAYS, 3), 0.2, np.float32)
    batch = RayBatch(
        np.concatenate([x.numpy(), x.numpy()]), RAYS, None, None, np.empty(0, np.float32),
        directions=v.numpy(), colors=seen, inside=np.empty(0, bool), rays=RAYS,
    )  # fmt: skip
    quiet = dataclasses.replace(SMALL, eikonal=0.0)
    losses = []
    for _ in range(20):
        f, g = field.distance_and_gradient(torch.tensor(batch.points), training=True)
        loss = ray_objective(f.numpy(), g.numpy(), batch, colors, quiet, 0.0)
        field.backward(torch.tensor(loss.df), torch.tensor(loss.dg))
        colors.update(1e-3, 1e-3)
        losses.append(loss.terms["color"])
    assert losses[-1] < 0.5 * losses[0]


def test_without_its_features_the_field_is_an_mlp_that_can_be_saved(field, tmp_path):
    alone, x = field.alone(), torch.rand(40, 3) - 0.5
    for one, two in zip(alone.distance_and_gradient(x), field.distance_and_gradient(x), strict=True):
        assert torch.allclose(one, two, atol=1e-5)
    samples = on_the_surface(field, 30)[0].numpy()
    surface = igr.Surface(alone, Frame(np.zeros(3), 1.0), SMALL.field, samples=samples)
    surface.save(tmp_path / "idr.igr")
    again = igr.Surface.load(tmp_path / "idr.igr")
    assert again.config == SMALL.field
    assert np.allclose(again.distance(x.numpy()), surface.distance(x.numpy()), atol=1e-6)


def test_colors_without_a_loss_take_no_step(field):
    colors = IdrColors(SMALL, field)
    before = colors.state()
    colors.update(1.0, 1.0)
    assert all((before[name] == value).all() for name, value in colors.state().items())
