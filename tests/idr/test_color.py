"""The color network: its derivatives, and that it learns what light does."""

import dataclasses

import numpy as np

from igr.idr.color import ColorNetwork
from igr.idr.config import FAST_PHOTOS

RNG = np.random.default_rng(1)
SMALL = dataclasses.replace(
    FAST_PHOTOS.field, network=dataclasses.replace(FAST_PHOTOS.field.network, levels=3, finest=24, log2_rows=12)
)


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def places(count):
    x, n, v = (RNG.normal(0, 1, (count, 3)) for _ in range(3))
    return (0.4 * unit(x)).astype(np.float32), unit(n), unit(v)


def test_derivatives_by_place_and_normal_are_those_of_the_colors():
    network = ColorNetwork(SMALL)
    for field in network.fields:  # smooth features, so that differences tell the derivative
        state = field.state()
        state["table"][...] = 0
        field.load_state(state)
    x, n, v = places(200)
    toward = RNG.normal(0, 1, (200, 3)).astype(np.float32)
    _, dx, dn = network.loss(x, n, v, lambda colors: (0.0, toward))
    for derivative, place in ((dx, 0), (dn, 1)):
        step = RNG.normal(0, 1, x.shape).astype(np.float32)
        ends = []
        for sign in (1, -1):
            told = [x, n, v]
            told[place] = told[place] + sign * np.float32(1e-3) * step
            ends.append((network.colors(*told) * toward).sum(1))
        found, expected = (derivative * step).sum(1), (ends[0] - ends[1]) / 2e-3
        assert np.median(np.abs(found - expected)) < 1e-2 * np.abs(expected).mean()  # a ReLU may turn in between


def test_it_learns_paint_under_a_head_light():
    network = ColorNetwork(SMALL)

    def truth(x, n, v):
        paint = 0.5 + 0.4 * np.sin(6 * x)
        return paint * (0.3 + 0.7 * np.maximum(-(n * v).sum(1, keepdims=True), 0))

    for _ in range(300):
        x, n, v = places(512)
        seen = truth(x, n, v)
        network.loss(x, n, v, lambda c, seen=seen: (float(np.abs(c - seen).mean()), np.sign(c - seen) / c.size))
        network.update(5e-3, 5e-3)
    x, n, v = places(2000)
    assert np.abs(network.colors(x, n, v) - truth(x, n, v)).mean() < 0.05


def test_the_same_seed_is_the_same_network():
    one, two = (ColorNetwork(SMALL) for _ in range(2))
    told = places(30)
    assert (one.colors(*told) == two.colors(*told)).all()
    other = ColorNetwork(dataclasses.replace(SMALL, seed=5))
    assert (one.colors(*told) != other.colors(*told)).any()
