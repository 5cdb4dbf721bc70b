"""Every loss term against autograd, in numpy and in torch."""

import dataclasses

import numpy as np
import pytest

from igr.config import ObjectiveConfig
from igr.fit import objective as terms
from igr.fit.sampling import Batch

torch = pytest.importorskip("torch")

ALL_ON = ObjectiveConfig(off_surface=0.3, warm_start=0.7, near_distance=0.4, far_sign=0.9, off_surface_alpha=5.0)


def values(n=40, d=3, seed=0):
    rng = np.random.default_rng(seed)
    unit = rng.normal(size=(n, d))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return rng.normal(0, 0.3, n), rng.normal(size=(n, d)), unit, rng.uniform(0, 1, n), rng.normal(0, 0.5, n)


F, G, NORMALS, TRUST, TARGET = values()

CASES = {
    "surface_distance": (F, terms.surface_distance),
    "surface_distance, quadratic": (F, lambda f: terms.surface_distance(f, 0.2)),
    "normal_alignment": (G, lambda g: terms.normal_alignment(g, same(NORMALS, g))),
    "weighted normals": (G, lambda g: terms.normal_alignment(g, same(NORMALS, g), same(TRUST, g))),
    "eikonal": (G, terms.eikonal),
    "off_surface": (F, lambda f: terms.off_surface(f, 5.0)),
    "known_distance": (F, lambda f: terms.known_distance(f, same(TARGET, f))),
    "unsigned_distance": (F, lambda f: terms.unsigned_distance(f, same(abs(TARGET), f))),
    "unsigned_gradient": (G, lambda g: terms.unsigned_gradient(g, same(NORMALS, g))),
    "far_sign": (F, lambda f: terms.far_sign(f, same(TARGET, f))),
}


def same(array, like):
    return torch.tensor(array) if isinstance(like, torch.Tensor) else array


@pytest.mark.parametrize("name", CASES)
def test_derivative_is_autograds(name):
    argument, term = CASES[name]
    leaf = torch.tensor(argument, requires_grad=True)
    value, derivative = term(leaf)
    (expected,) = torch.autograd.grad(value, leaf)
    torch.testing.assert_close(derivative.detach(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_numpy_and_torch_agree(name):
    argument, term = CASES[name]
    in_numpy, in_torch = term(argument), term(torch.tensor(argument))
    np.testing.assert_allclose(in_numpy[0], in_torch[0].numpy(), rtol=1e-12)
    np.testing.assert_allclose(in_numpy[1], in_torch[1].numpy(), rtol=1e-12, atol=1e-15)


def test_a_distance_function_costs_nothing():
    assert terms.eikonal(NORMALS)[0] == pytest.approx(0, abs=1e-15)
    assert terms.normal_alignment(NORMALS, NORMALS)[0] == 0
    assert terms.surface_distance(np.zeros(5))[0] == 0
    assert terms.known_distance(TARGET, TARGET)[0] == 0
    assert terms.far_sign(TARGET, TARGET)[0] == 0


def test_noise_up_to_the_width_costs_its_square_and_a_larger_distance_itself():
    at = {0.0: 0.1, 0.1: 0.125, -0.1: 0.125, 0.2: 0.2, -0.2: 0.2, 0.7: 0.7, -3.0: 3.0}
    for f, cost in at.items():
        assert terms.surface_distance(np.array([f]), 0.2)[0] == pytest.approx(cost)
    assert terms.surface_distance(np.array([0.5, -1.5]))[0] == pytest.approx(1)


def test_gradients_cost_their_distance_from_what_they_should_be():
    assert terms.eikonal(3 * NORMALS)[0] == pytest.approx(4)
    assert terms.eikonal(0 * NORMALS)[0] == pytest.approx(1)
    assert terms.normal_alignment(-NORMALS, NORMALS)[0] == pytest.approx(2)
    assert terms.normal_alignment(-NORMALS, NORMALS, TRUST)[0] == pytest.approx(2 * TRUST.mean())
    assert terms.unsigned_gradient(-3 * NORMALS, NORMALS)[0] == pytest.approx(2)
    across = np.roll(np.eye(3), 1, axis=0)
    assert terms.unsigned_gradient(across, np.eye(3))[0] == pytest.approx(2**0.5)


def test_values_near_zero_are_ghosts_by_half_at_ln_2_over_alpha():
    assert terms.off_surface(np.zeros(3), 5.0)[0] == 1
    assert terms.off_surface(np.array([np.log(2), -np.log(2)]) / 5, 5.0)[0] == pytest.approx(0.5)


def test_far_away_a_third_of_the_distance_with_the_right_sign_is_enough():
    distance = np.abs(TARGET).mean()
    for share, cost in {3: 0, 1: 0, 1 / 3: 0, 0: 1 / 3, -1: 4 / 3}.items():
        assert terms.far_sign(share * TARGET, TARGET)[0] == pytest.approx(cost * distance, abs=1e-12)
    assert (terms.far_sign(TARGET / 2, TARGET)[1] == 0).all()


def test_a_target_is_missed_by_the_mean_difference():
    assert terms.known_distance(TARGET + 0.3, TARGET)[0] == pytest.approx(0.3)
    assert terms.unsigned_distance(0 * TARGET, abs(TARGET))[0] == pytest.approx(abs(TARGET).mean())
    for sign in (1, -1):
        assert terms.unsigned_distance(sign * TARGET, abs(TARGET))[0] == 0


def test_derivatives_are_finite_where_a_length_is_zero():
    zero = np.zeros((4, 3))
    assert np.isfinite(terms.eikonal(zero)[1]).all()
    assert np.isfinite(terms.normal_alignment(NORMALS[:4], NORMALS[:4])[1]).all()


def batch(normals=NORMALS[:20]):
    return Batch(np.zeros((40, 3)), 20, normals, None, TARGET[:10], near_target=TARGET[10:20])


def test_total_is_the_weighted_sum_and_its_derivative():
    leaf_f, leaf_g = torch.tensor(F, requires_grad=True), torch.tensor(G, requires_grad=True)
    in_torch = dataclasses.replace(
        batch(),
        normals=torch.tensor(NORMALS[:20]),
        target=torch.tensor(TARGET[:10]),
        near_target=torch.tensor(TARGET[10:20]),
    )
    loss = terms.objective(leaf_f.detach(), leaf_g.detach(), in_torch, ALL_ON)
    total = (
        terms.surface_distance(leaf_f[:20])[0]
        + terms.normal_alignment(leaf_g[:20], in_torch.normals)[0]
        + 0.1 * terms.eikonal(leaf_g[20:])[0]
        + 0.3 * terms.off_surface(leaf_f[20:], 5.0)[0]
        + 0.7 * terms.known_distance(leaf_f[30:], in_torch.target)[0]
        + 0.9 * terms.far_sign(leaf_f[30:], in_torch.target)[0]
        + 0.4 * terms.known_distance(leaf_f[20:30], in_torch.near_target)[0]
    )
    df, dg = torch.autograd.grad(total, [leaf_f, leaf_g])
    assert loss.total == pytest.approx(total.item(), rel=1e-12)
    torch.testing.assert_close(loss.df.detach(), df)
    torch.testing.assert_close(loss.dg.detach(), dg)


@pytest.mark.parametrize("name", ["normals", "eikonal", "off_surface", "warm_start", "far_sign", "near_distance"])
def test_a_term_of_weight_zero_is_switched_off(name):
    off = dataclasses.replace(ALL_ON, **{name: 0.0})
    assert name not in terms.objective(F, G, batch(), off).terms
    assert name in terms.objective(F, G, batch(), ALL_ON).terms


def test_the_warm_start_acts_in_its_share_of_the_run_only():
    for progress, acts in {0.0: True, 0.19: True, ALL_ON.warm_share: False, 1.0: False}.items():
        assert ("warm_start" in terms.objective(F, G, batch(), ALL_ON, progress).terms) == acts


def test_what_changes_during_a_run_starts_at_its_beginning():
    weights = dataclasses.replace(ALL_ON, estimated_normals=0.05)
    estimated = dataclasses.replace(batch(), trust=TRUST[:20])
    unsaid, start = terms.objective(F, G, estimated, weights), terms.objective(F, G, estimated, weights, 0.0)
    assert unsaid.terms == start.terms
    assert unsaid.total == start.total


@pytest.mark.parametrize("width", [0.0, 0.2])
@pytest.mark.parametrize("surface", [1.0, 2.5])
def test_the_surface_term_has_the_weight_and_width_it_is_given(width, surface):
    alone = ObjectiveConfig(surface=surface, surface_width=width, normals=0.0, eikonal=0.0)
    loss = terms.objective(F, G, batch(), alone)
    value, derivative = terms.surface_distance(F[:20], width)
    assert loss.terms == {"surface": value}
    assert loss.total == pytest.approx(surface * value)
    np.testing.assert_allclose(loss.df, np.r_[surface * derivative, np.zeros(20)])
    assert not loss.dg.any()


def test_without_normals_the_normal_term_is_absent():
    assert "normals" not in terms.objective(F, G, batch(normals=None), ALL_ON).terms


@pytest.mark.parametrize("kind", ["sal", "sald"])
def test_sign_agnostic_objectives_do_not_know_the_sign(kind):
    away = dataclasses.replace(batch(None), nearest=NORMALS[20:] * abs(TARGET[20:, None]))
    weights = ObjectiveConfig(kind=kind)
    one, other = terms.objective(F, G, away, weights), terms.objective(-F, -G, away, weights)
    assert one.total == pytest.approx(other.total)
    np.testing.assert_allclose(one.df, -other.df)
    np.testing.assert_allclose(one.dg, -other.dg)
    exact = terms.objective(np.r_[np.zeros(20), abs(TARGET[20:])], G * 0 + NORMALS, away, weights)
    assert exact.total == pytest.approx(0, abs=1e-10)
    assert ("unsigned_gradient" in exact.terms) == (kind == "sald")


@pytest.mark.parametrize("kind", ["sal", "sald"])
def test_sign_agnostic_totals_are_the_weighted_sum_and_their_derivative(kind):
    away = torch.tensor(NORMALS[20:] * (0.1 + abs(TARGET[20:, None])))
    weights = ObjectiveConfig(kind=kind, surface=0.6, eikonal=0.3)
    f, g = torch.tensor(F, requires_grad=True), torch.tensor(G, requires_grad=True)
    h = away.norm(dim=1)
    total = 0.6 * f[:20].abs().mean() + (f[20:].abs() - h).abs().mean() + 0 * g.sum()
    if kind == "sald":
        direction = away / h[:, None]
        either = [(g[20:] - side * direction).norm(dim=1) for side in (1, -1)]
        total = total + 0.3 * torch.minimum(*either).mean()
    df, dg = torch.autograd.grad(total, [f, g])
    loss = terms.objective(f.detach(), g.detach(), dataclasses.replace(batch(None), nearest=away), weights)
    assert loss.total == pytest.approx(total.item(), rel=1e-12)
    torch.testing.assert_close(loss.df, df)
    torch.testing.assert_close(loss.dg, dg)


def test_from_some_time_on_the_field_decides_the_side_of_estimated_normals():
    flipped = dataclasses.replace(batch(-NORMALS[:20]), trust=TRUST[:20])
    weights = ObjectiveConfig(normals=1.0, estimated_normals=1.0, field_side=0.4)
    early = terms.objective(F, np.concatenate([NORMALS[:20]] * 2), flipped, weights, progress=0.3)
    late = terms.objective(F, np.concatenate([NORMALS[:20]] * 2), flipped, weights, progress=0.5)
    assert early.terms["normals"] == pytest.approx(2 * TRUST[:20].mean())
    assert late.terms["normals"] == pytest.approx(0, abs=1e-12)


def test_estimated_normals_lose_their_weight_during_the_run():
    weights = ObjectiveConfig(normals=0.5, estimated_normals=0.05)
    assert terms.normal_weight(weights, 0.7, estimated=False) == 0.5
    falling = [terms.normal_weight(weights, share, estimated=True) for share in (0, 0.5, 1, 2)]
    np.testing.assert_allclose(falling, [0.5, 0.05**0.5 * 0.5**0.5, 0.05, 0.05])
