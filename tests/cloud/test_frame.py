"""The unit frame is undone exactly, and strays are told from clean clouds of every kind."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import KDTree
from shapes import DATA, directions

from igr.cloud import frame
from igr.cloud.frame import Frame, stray_points, unit_frame
from igr.cloud.pointcloud import read_points


def solid(name, n, seed=0):
    mesh = {
        "box": trimesh.creation.box((1, 2, 3)),
        "torus": trimesh.creation.torus(1.0, 0.3, 64, 32),
        "plate": trimesh.creation.box((1, 1, 0.01)),
        "rod": trimesh.creation.box((1, 0.03, 0.03)),
    }[name]
    return np.asarray(trimesh.sample.sample_surface(mesh, n, seed=seed)[0])


# ---------------------------------------------------------------------------------------------- frame


@settings(max_examples=100, deadline=None)
@given(
    dimension=st.integers(2, 3),
    size=st.floats(1e-12, 1e12),
    distance=st.floats(0, 1e6),
    seed=st.integers(0, 1000),
)
def test_the_frame_is_undone_to_rounding(dimension, size, distance, seed):
    rng = np.random.default_rng(seed)
    points = (rng.normal(size=(50, dimension)) + distance * rng.normal(size=dimension)) * size
    unit = unit_frame(points)
    back = unit.to_input(unit.to_unit(points))
    assert np.abs(back - points).max() <= 2 * np.spacing(np.abs(points).max())


def test_coordinates_of_a_national_grid_come_back_to_the_nanometer():
    points = directions(1000) * 30 + [5e5, 5e6, 100]
    unit = unit_frame(points)
    np.testing.assert_allclose(unit.to_input(unit.to_unit(points)), points, rtol=0, atol=2e-9)


@pytest.mark.parametrize("radius", [0.9, 0.5])
def test_the_cloud_fills_the_ball(radius):
    points = solid("box", 2000) * 7 + 100
    unit = unit_frame(points, radius=radius).to_unit(points)
    assert np.linalg.norm(unit, axis=1).max() == pytest.approx(radius, abs=1e-12)
    np.testing.assert_allclose(unit.min(axis=0), -unit.max(axis=0), atol=1e-12)


def test_the_frame_moves_and_scales_with_the_cloud():
    points = solid("torus", 500)
    first, second = unit_frame(points), unit_frame(4 * points + 8)
    assert second.scale == pytest.approx(4 * first.scale, rel=1e-14)
    np.testing.assert_allclose(second.center, 4 * first.center + 8, atol=1e-12)


def test_distances_scale_and_shapes_pass_through():
    unit = Frame(np.array([1.0, 2.0, 3.0]), 4.0)
    x = np.random.default_rng(0).normal(size=(5, 4, 3))
    apart = np.linalg.norm(unit.to_unit(x[0]) - unit.to_unit(x[1]), axis=-1) * unit.scale
    np.testing.assert_allclose(apart, np.linalg.norm(x[0] - x[1], axis=-1))
    assert unit.to_unit(x).shape == unit.to_input(x).shape == x.shape
    assert unit.to_unit(np.zeros(3, np.float32)).dtype == np.float64


def test_a_stray_has_no_say():
    points = solid("torus", 2000)
    with_stray = np.vstack([points, [[9.0, 9.0, 9.0]]])
    assert unit_frame(with_stray).scale == unit_frame(points).scale
    assert unit_frame(with_stray, strays=np.zeros(2001, bool)).scale > 3 * unit_frame(points).scale


# --------------------------------------------------------------------------------------------- strays


@pytest.mark.parametrize("name", ["box", "torus", "plate", "rod"])
@pytest.mark.parametrize("n", [10, 50, 200, 5000])
@pytest.mark.parametrize("noise", [0, 0.01])
def test_clean_clouds_have_no_strays(name, n, noise):
    points = solid(name, n)
    points = points + noise * np.ptp(points, axis=0).max() * np.random.default_rng(1).normal(size=points.shape)
    assert not stray_points(points).any()


@pytest.mark.parametrize("name", ["box", "torus", "plate"])
@pytest.mark.parametrize("n", [400, 20_000])
@pytest.mark.parametrize("abrupt", [True, False])
def test_uneven_sampling_is_no_reason(name, n, abrupt):
    """Twenty times fewer points on one half, all at once or bit by bit."""
    points = solid(name, n)
    place = (points[:, 0] - points[:, 0].min()) / np.ptp(points[:, 0])
    kept = np.random.default_rng(2).random(n) < 20.0 ** -(np.round(place) if abrupt else place)
    assert not stray_points(points[kept]).any()


@pytest.mark.parametrize("ratio", [1, 5, 20])
def test_a_second_part_far_away_is_no_stray(ratio):
    parts = [solid("torus", 4000), solid("box", 4000 // ratio) + [50, 0, 0]]
    assert not stray_points(np.vstack(parts)).any()


def test_an_uneven_outline_has_no_strays():
    angle = np.random.default_rng(3).random(2000) * np.pi
    angle = np.concatenate([angle, -angle[::20]])
    assert not stray_points(np.stack([np.cos(angle), np.sin(angle)], axis=1)).any()


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("n", [300, 20_000])
@pytest.mark.parametrize("count", [1, 4])
def test_a_few_points_far_away_are_strays(dimension, n, count):
    points = directions(n, dimension)
    far = 8 + 0.05 * np.random.default_rng(4).normal(size=(count, dimension))
    strays = stray_points(np.vstack([far, points]))
    assert strays[:count].all()
    assert not strays[count:].any()


@pytest.mark.parametrize("name", ["sphere", "box", "torus"])
@pytest.mark.parametrize("scale", [1e-3, 1e6])
@pytest.mark.parametrize("seed", [1, 5])
def test_five_percent_scattered_in_twice_the_box_are_strays(name, scale, seed):
    """All that stand off the surface by more than five times its spacing."""
    points = directions(20_000) if name == "sphere" else solid(name, 20_000)
    low, high = points.min(axis=0), points.max(axis=0)
    spread = np.random.default_rng(seed).random((1000, 3)) * 2 - 1
    scattered = (low + high) / 2 + spread * (high - low)
    strays = stray_points((np.vstack([points, scattered]) + 3) * scale)
    tree = KDTree(points)
    off = tree.query(scattered)[0] > 5 * np.median(tree.query(points, 13)[0][:, -1])
    assert strays[20_000:][off].all()
    assert strays[:20_000].sum() <= 2


def test_scattered_points_around_an_outline_are_strays():
    scattered = (np.random.default_rng(6).random((500, 2)) * 2 - 1) * 2
    strays = stray_points(np.vstack([directions(10_000, 2), scattered]))
    assert strays[10_000:].mean() > 0.6
    assert strays[:10_000].sum() <= 2


def test_points_all_in_one_place_are_left_to_the_checks():
    assert not stray_points(np.zeros((100, 3))).any()


def test_large_clouds_are_judged_by_a_sample(monkeypatch):
    monkeypatch.setattr(frame, "SAMPLE", 5000)
    points = np.vstack([directions(50_000), [[5.0, 0, 0], [0, 0, -4.0]]])
    np.testing.assert_array_equal(np.flatnonzero(stray_points(points)), [50_000, 50_001])


def test_one_cloud_has_one_answer():
    points = np.vstack([solid("torus", 5000), np.random.default_rng(7).random((250, 3)) * 6 - 3])
    order = np.random.default_rng(8).permutation(len(points))
    np.testing.assert_array_equal(stray_points(points)[order], stray_points(points[order]))


@pytest.mark.skipif(not DATA.is_dir(), reason="development data are not here")
def test_the_one_stray_of_the_bunny_is_found():
    cloud = read_points(DATA / "raw_scans" / "bunny_10scans_registered.ply")
    strays = stray_points(cloud.points)
    assert strays.sum() == 1
    assert np.ptp(cloud.points[~strays], axis=0).max() == pytest.approx(0.156, abs=0.001)


@pytest.mark.skipif(not DATA.is_dir(), reason="development data are not here")
def test_real_scans_and_outlines_are_clean():
    for path in [*DATA.glob("srb/*_scan.ply"), *DATA.glob("2d/*.xyz"), DATA / "raw_scans" / "kitten.ply"]:
        assert not stray_points(read_points(path).points).any(), path.name
