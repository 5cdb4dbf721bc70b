"""The grids of features, how they are eased in, and what the network is before it is fitted."""

import numpy as np
import pytest
from shapes import directions

from igr.config import FeatureConfig
from igr.field.features import feature_levels, initial_parameters, level_weights


@pytest.mark.parametrize("dimension", [2, 3])
def test_resolutions_grow_by_one_factor_from_coarsest_to_finest(dimension):
    config = FeatureConfig(coarsest=8, finest=512, levels=7)
    assert [level.resolution for level in feature_levels(config, dimension)] == [8, 16, 32, 64, 128, 256, 512]


def test_levels_fill_the_table_without_gaps_and_share_rows_only_where_corners_outnumber_them():
    config = FeatureConfig(coarsest=7, finest=31, levels=3, log2_rows=12)  # (15 + 1)³ corners are just 2¹² rows
    coarse, exact, shared = feature_levels(config, 3)
    assert [level.resolution for level in (coarse, exact, shared)] == [7, 15, 31]
    assert (coarse.rows, exact.rows, shared.rows) == (8**3, 2**12, 2**12)
    assert (coarse.offset, exact.offset, shared.offset) == (0, 8**3, 8**3 + 2**12)
    assert (coarse.hashed, exact.hashed, shared.hashed) == (False, False, True)


def test_coarse_levels_come_first_and_one_at_a_time():
    config = FeatureConfig(levels=6, start_levels=2, full_detail_at=0.5)
    np.testing.assert_array_equal(level_weights(config, 0.0), [1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(level_weights(config, 0.25), [1, 1, 1, 1, 0, 0])
    np.testing.assert_allclose(level_weights(config, 0.3125), [1, 1, 1, 1, 0.5, 0])
    np.testing.assert_array_equal(level_weights(config, 0.5), np.ones(6))
    np.testing.assert_array_equal(level_weights(config, 1.0), np.ones(6))


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_without_a_schedule_every_level_counts_from_the_start(progress):
    config = FeatureConfig(levels=5, start_levels=2, full_detail_at=0.0)
    np.testing.assert_array_equal(level_weights(config, progress), np.ones(5))


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("radius", [0.3, 0.6])
def test_the_first_surface_is_about_a_sphere(dimension, radius):
    """Theorem 1 of SAL for the wide limit, with features too small to matter."""
    config = FeatureConfig(width=1000, levels=3, coarsest=4, finest=16, radius=radius)
    first = initial_parameters(config, dimension, np.random.default_rng(0))
    inputs = dimension + config.levels * config.features
    assert first["weight1"].shape == (1000, inputs)
    assert first["table"].shape == (
        sum(level.rows for level in feature_levels(config, dimension)),
        config.features,
    )
    assert 0 < np.abs(first["table"]).max() <= 1e-4
    assert abs(first["table"].mean()) < 1e-5
    direction = directions(200, dimension, seed=1)
    for length in (0.0, 0.5, 1.0):
        x = np.concatenate([length * direction, np.zeros((200, inputs - dimension))], 1)
        h = np.maximum(x @ first["weight1"].T + first["bias1"], 0)
        h = np.maximum(h @ first["weight2"].T + first["bias2"], 0)
        f = h @ first["weight3"] + first["bias3"]
        np.testing.assert_allclose(f, length - radius, atol=0.15)


def test_the_first_parameters_follow_the_generator_alone():
    config = FeatureConfig(levels=2, coarsest=4, finest=8)
    first, same, other = (initial_parameters(config, 3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for name, values in first.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, same[name])
    assert (first["table"] != other["table"]).any()
