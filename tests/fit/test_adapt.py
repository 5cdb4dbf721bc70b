"""Spacing, noise, and the finest grid that follows from them."""

import dataclasses

import numpy as np
import pytest
from shapes import torus

from igr.config import FAST, PAPER
from igr.fit.adapt import PER_CELL, Sharpness, as_deep, as_sharp, finest_cell, grown, sharpness, useful
from igr.fit.sampling import Known, KnownSpace
from igr.normals.estimate import orient


@pytest.mark.parametrize("sigma", [0.001, 0.003, 0.01])
def test_noise_is_measured(sigma):
    points, normals = torus()
    noisy = points + np.random.default_rng(1).normal(0, sigma, points.shape)
    assert 0.6 * sigma < sharpness(noisy, normals).noise < 1.2 * sigma


@pytest.mark.parametrize("sigma", [0.02, 0.04])
def test_noise_beyond_the_spacing_is_measured_without_normals(sigma):
    """A cloud that is a thick layer: there the nearest neighbors err alike."""
    points, _ = torus()
    noisy = points + np.random.default_rng(1).normal(0, sigma, points.shape)
    assert 0.6 * sigma < sharpness(noisy, orient(noisy).normals).noise < 1.2 * sigma


def test_clean_and_curved_is_not_noisy():
    assert sharpness(*torus()).noise < 1e-4


def test_spacing_and_noise_scale_with_the_cloud():
    points, normals = torus()
    noisy = points + np.random.default_rng(1).normal(0, 0.003, points.shape)
    small, large = sharpness(noisy, normals), sharpness(1000 * noisy, normals)
    assert large.spacing == pytest.approx(1000 * small.spacing)
    assert large.noise == pytest.approx(1000 * small.noise)


def test_more_noise_means_coarser_cells():
    cells = [finest_cell(Sharpness(0.01, noise)) for noise in (0.0, 0.001, 0.01)]
    assert cells[0] == 0.01 * PER_CELL[3]
    assert cells == sorted(cells)


def test_measured_normals_carry_detail_through_noise():
    cloud = Sharpness(0.01, 0.05)
    assert as_sharp(FAST, cloud).network.finest > as_sharp(FAST, cloud, normals="estimated").network.finest


@pytest.mark.parametrize(
    ("noise", "dimension", "curvature"), [(0.0015, 3, 3), (0.02, 3, 6), (0.0015, 2, 3), (0.02, 2, 3)]
)
def test_the_balance_is_where_noise_and_bias_are_equal(noise, dimension, curvature):
    cloud = Sharpness(0.01, noise)
    h = finest_cell(cloud, dimension)
    assert noise / (h / cloud.spacing) ** ((dimension - 1) / 2) == pytest.approx(curvature * h * h / 8)


def test_only_an_adapting_preset_adapts():
    assert as_sharp(PAPER, Sharpness(0.01, 0.01)) is PAPER
    assert as_sharp(dataclasses.replace(FAST, adapt=False), Sharpness(0.01, 0.01)).network == FAST.network
    coarse = as_sharp(FAST, Sharpness(0.01, 0.01))
    assert coarse.network.finest < FAST.network.finest
    assert as_sharp(coarse, Sharpness(0.01, 0.0)) is coarse


def test_points_count_as_much_as_they_are_certain():
    told = [as_sharp(FAST, Sharpness(0.01, noise)).objective for noise in (0.0, 0.0004, 0.0016, 0.01)]
    weights = [one.surface / FAST.objective.surface for one in told]
    assert weights == pytest.approx([10, 4, 1, 1])
    assert [one.surface_width for one in told] == [0.0, 0.0004, 0.0016, 0.01]
    for one, weight in zip(told, weights, strict=True):
        assert one.near_distance == pytest.approx(weight * FAST.objective.near_distance)
        assert one.warm_start == pytest.approx(weight * FAST.objective.warm_start)
        assert one.eikonal == pytest.approx(weight**0.5 * FAST.objective.eikonal)


def test_a_field_starts_as_deep_as_the_body():
    for depth in (0.2, 0.8):
        far = KnownSpace(np.zeros((2, 3), np.float32), np.array([0.3, -depth], np.float32))
        started = as_deep(FAST, Known(far=far)).network.radius
        assert started == pytest.approx(max(depth, FAST.network.radius))
    assert as_deep(PAPER, Known(far=far)) is PAPER
    assert as_deep(FAST, Known()) is FAST


def test_estimated_normals_are_followed_less_closely():
    for noise in (0.0, 0.001, 0.01):
        cloud = Sharpness(0.01, noise)
        measured, estimated = (as_sharp(FAST, cloud, normals=kind).objective for kind in ("measured", "estimated"))
        assert estimated.surface < measured.surface


def test_smooth_measured_normals_carry_the_finest_cells():
    cells = [finest_cell(Sharpness(0.01, 0.005, rough)) for rough in (0.0, 0.01, 0.1, 1.0, np.inf)]
    assert cells[0] == 0.01 * PER_CELL[3]
    assert cells == sorted(cells)


def test_detail_grows_with_the_points_and_so_does_the_run():
    """Up to what the preset has room for nothing changes; four times the points have cells half as large."""
    room = FAST.network.carries
    assert grown(FAST, room) is FAST
    large = grown(FAST, 4 * room)
    assert large.network.finest == 2 * FAST.network.finest
    assert large.network.log2_rows == FAST.network.log2_rows + 2
    assert large.steps == 4 * FAST.steps
    ratios = [(n.finest / n.coarsest) ** (1 / (n.levels - 1)) for n in (FAST.network, large.network)]
    assert ratios[1] == pytest.approx(ratios[0], rel=0.07)
    assert grown(dataclasses.replace(FAST, adapt=False), 4 * room).network == FAST.network
    assert grown(FAST, 10**9) == grown(FAST, 10**12)
    assert useful(FAST, 10**6) == 10**6
    assert useful(FAST, 10**9) == useful(FAST, 10**12) < 3 * 10**6


def test_noise_leaves_less_to_grow_for():
    spacing = 0.001
    clean, noisy = (as_sharp(FAST, Sharpness(spacing, noise), count=2 * 10**6) for noise in (0.0, 0.01))
    assert clean.network.finest >= 2 * FAST.network.finest
    assert clean.steps > 3 * FAST.steps
    assert noisy.network.finest < FAST.network.finest
    assert noisy.steps == FAST.steps
