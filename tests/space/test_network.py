"""Networks of shape spaces."""

import pytest
import torch
from families import SMALL

from igr.config import MLPConfig
from igr.field.networks import MLP
from igr.space.network import HyperMLP, SpaceField, SpaceNetwork, make_network, rotations


def small_networks():
    generator = torch.Generator().manual_seed(1)
    config = MLPConfig(width=20, layers=4, skip=(2,), beta=10.0)
    yield HyperMLP(config, 3, latent=5, generator=generator).double()
    yield MLP(config, 3, latent=5, generator=generator).double()


@pytest.mark.parametrize("kind", [0, 1])
def test_gradient_is_that_of_autograd(kind):
    network = list(small_networks())[kind]
    x, z = torch.randn(2, 7, 3, dtype=torch.double, requires_grad=True), torch.randn(2, 5, dtype=torch.double)
    value, gradient = network(x, z)
    (expected,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("kind", [0, 1])
def test_a_decoded_shape_is_the_network_at_its_latent(kind):
    network = list(small_networks())[kind]
    x, z = torch.randn(1, 50, 3, dtype=torch.double), torch.randn(1, 5, dtype=torch.double)
    plain = network.decode(z[0]).double()
    for own, decoded in zip(network(x, z), plain(x[0]), strict=True):
        torch.testing.assert_close(own[0], decoded, atol=1e-6, rtol=1e-5)  # decoded weights are float32
    torch.testing.assert_close(plain.value(x[0]), plain(x[0])[0])


def test_rows_belong_to_the_shapes_in_turn():
    network = SpaceNetwork(make_network(SMALL, 3), torch.randn(6, 4))
    field = SpaceField(network)
    x = torch.rand(12, 3)
    together = field.distance_and_gradient(x, shapes=(4, 1, 5))
    for place, shape in enumerate((4, 1, 5)):
        alone = field.distance_and_gradient(x[place::3], shapes=(shape,))
        torch.testing.assert_close(together[0][place::3], alone[0])
        torch.testing.assert_close(together[1][place::3], alone[1])


def test_a_posed_shape_is_the_shape_moved():
    network = SpaceNetwork(make_network(SMALL, 3), torch.randn(1, 4), posed=True)
    with torch.no_grad():
        network.turns[:] = torch.tensor([0.3, -0.2, 0.5])
        network.shifts[:] = torch.tensor([0.1, 0.0, -0.2])
    field, still = SpaceField(network), SpaceField(SpaceNetwork(network.network, network.latents.detach()))
    turn = rotations(network.turns.detach())[0]
    torch.testing.assert_close(turn @ turn.T, torch.eye(3))
    x = torch.rand(20, 3)
    value, gradient = field.distance_and_gradient(x, shapes=(0,))
    own, slope = still.distance_and_gradient((x - network.shifts.detach()) @ turn, shapes=(0,))
    torch.testing.assert_close(value, own)
    torch.testing.assert_close(gradient, slope @ turn.T)
