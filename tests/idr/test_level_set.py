"""Points of a level set as a function of the network's parameters (Atzmon et al. 2019)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from igr.config import MLPConfig  # noqa: E402
from igr.errors import InputError  # noqa: E402
from igr.field.networks import MLP  # noqa: E402
from igr.idr.rays import level_set_samples  # noqa: E402


def network():
    mlp = MLP(MLPConfig(width=32, layers=3, skip=(), beta=20.0), 3, generator=torch.Generator().manual_seed(3))
    return mlp.double()


def around(count=50):
    x = torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    return x / x.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_samples_lie_on_the_level_set(level):
    mlp = network()
    points = level_set_samples(mlp, around(), level=level, steps=20)
    assert (mlp.value(points.detach()) - level).abs().max() < 1e-9


def test_the_derivative_is_how_far_the_level_set_moves():
    """Against finite differences: points projected anew onto the level set of changed parameters move by as much
    along the normal."""
    mlp = network()
    base = level_set_samples(mlp, around(), steps=30)
    normals = mlp(base.detach())[1].detach()
    normals = normals / normals.norm(dim=1, keepdim=True)
    rows = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    ((base * normals).sum(1) * rows).sum().backward()
    for parameter in mlp.parameters():
        way = torch.randn(parameter.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
        expected = []
        with torch.no_grad():
            for step in (1e-5, -1e-5):
                parameter.add_(step * way)
                moved = level_set_samples(mlp, base.detach(), steps=30)
                expected.append((((moved - base) * normals).sum(1) * rows).sum().item())
                parameter.sub_(step * way)
        difference = (expected[0] - expected[1]) / 2e-5
        assert (parameter.grad * way).sum().item() == pytest.approx(difference, rel=1e-4, abs=1e-7)


def test_a_ball_pulled_outward_grows():
    """A loss of the points trains the parameters."""
    mlp = network()
    optimizer = torch.optim.Adam(mlp.parameters(), lr=1e-3)
    for _ in range(60):
        points = level_set_samples(mlp, around())
        loss = (points.norm(dim=1) - 1.2).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    reached = level_set_samples(mlp, around(), steps=20).norm(dim=1)
    assert np.abs(reached.detach().numpy() - 1.2).mean() < 0.05


def test_what_it_cannot_use_is_said():
    with pytest.raises(InputError, match="tensor of floating numbers"):
        level_set_samples(network(), np.zeros((3, 3)))
    with pytest.raises(InputError, match="must answer with values"):
        level_set_samples(lambda x: x, around())
