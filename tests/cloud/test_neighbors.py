"""Neighbors are those that comparing all with all finds, whatever the order they are looked up in."""

import numpy as np
import pytest

from igr.cloud import neighbors
from igr.cloud.frame import unit_frame
from igr.cloud.neighbors import Neighbors, near_order


def brute(points, places, count):
    apart = np.linalg.norm(places[:, None] - points[None], axis=2)
    index = np.argsort(apart, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(apart, index, 1), index


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("count", [1, 5])
def test_they_are_the_nearest_in_any_order_of_the_places(d, count, monkeypatch):
    rng = np.random.default_rng(d)
    points, places = rng.normal(size=(300, d)), 5 * rng.normal(size=(400, d))
    distance, index = brute(points, places, count)
    for many in (10, 10_000):  # sorted along a curve, and as they come
        monkeypatch.setattr(neighbors, "MANY", many)
        found, rows = Neighbors(points).at(places, count)
        np.testing.assert_allclose(found.reshape(400, count), distance)
        np.testing.assert_array_equal(rows.reshape(400, count), index)


def test_where_nothing_is_within_reach_the_distance_is_infinite(monkeypatch):
    monkeypatch.setattr(neighbors, "MANY", 1)
    distance, _ = Neighbors(np.zeros((1, 3))).at(np.array([[0.5, 0, 0], [2.0, 0, 0]]), within=1.0)
    assert distance.tolist() == [0.5, np.inf]


def test_in_the_unit_frame_they_are_the_same_rows():
    points = 1000 + 50 * np.random.default_rng(0).normal(size=(200, 3))
    frame = unit_frame(points)
    near = Neighbors(points)
    here, there = near.table(6), near.in_frame(frame).table(6)
    np.testing.assert_array_equal(here[1], there[1])
    np.testing.assert_allclose(here[0], there[0] * frame.scale)


@pytest.mark.parametrize(("d", "measure"), [(2, 1.0), (3, 1.0)])
def test_areas_add_up_to_that_of_a_square_or_a_line(d, measure):
    rng = np.random.default_rng(1)
    points = np.zeros((5000, d))
    points[:, : d - 1] = rng.random((5000, d - 1))
    assert Neighbors(points).areas().sum() == pytest.approx(measure, rel=0.25)


@pytest.mark.parametrize("d", [2, 3])
def test_a_curve_keeps_neighbors_together(d):
    points = np.random.default_rng(2).random((4000, d))
    steps = np.linalg.norm(np.diff(points[near_order(points)], axis=0), axis=1)
    assert np.median(steps) < 0.2 * np.median(np.linalg.norm(np.diff(points, axis=0), axis=1))
