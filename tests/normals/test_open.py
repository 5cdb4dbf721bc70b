"""Bare points of open sheets: one side, the sensor's where there was one, and an honest word about it."""

import numpy as np
import pytest

from examples.clouds.open_scans import SCANS
from examples.clouds.solids import sample_solid
from igr.cloud.pointcloud import PointCloud
from igr.normals.estimate import orient
from igr.normals.given import judge_normals


def height_field(rng, n, height, slope):
    """Points of z = height(x, y) and their upward normals."""
    x, y = rng.uniform(-1, 1, (2, n))
    across, along = slope(x, y)
    normals = np.c_[-across, -along, np.ones(n)]
    return np.c_[x, y, height(x, y)], normals / np.linalg.norm(normals, axis=1, keepdims=True)


def sheet(rng, n=6000):
    return height_field(rng, n, lambda x, y: 0.1 * x * y, lambda x, y: (0.1 * y, 0.1 * x))


def terrain(rng, n=12_000):
    def height(x, y):
        return 0.12 * np.sin(5 * x + 1) * np.cos(4 * y) + 0.3 * x

    return height_field(
        rng,
        n,
        height,
        lambda x, y: (
            0.6 * np.cos(5 * x + 1) * np.cos(4 * y) + 0.3,
            -0.48 * np.sin(5 * x + 1) * np.sin(4 * y),
        ),
    )


def half_sphere(rng, n=6000):
    normals = rng.normal(size=(n, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals[:, 2] = np.abs(normals[:, 2])
    return normals, normals


def catenoid(rng, n=12_000):
    angle, height = rng.uniform(0, 2 * np.pi, n), rng.uniform(-1.2, 1.2, n)
    across = np.c_[np.cos(angle), np.sin(angle)]
    normals = np.c_[across, -np.sinh(height)]
    points = np.c_[across * np.cosh(height)[:, None], height]
    return points, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def roofless_room(rng, n=15_000):
    """Floor and four walls, seen from inside."""
    wall = rng.integers(0, 5, n)
    a, b = rng.uniform(-1, 1, (2, n))
    points = np.select(
        [wall[:, None] == k for k in range(5)],
        [
            np.c_[a, b, 0 * a - 0.5],
            np.c_[0 * a - 1, a, b / 2],
            np.c_[0 * a + 1, a, b / 2],
            np.c_[a, 0 * a - 1, b / 2],
            np.c_[a, 0 * a + 1, b / 2],
        ],
    )
    inward = np.array([[0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    return points, inward[wall].astype(float)


SHEETS = {
    "sheet": sheet,
    "terrain": terrain,
    "half sphere": half_sphere,
    "catenoid": catenoid,
    "room without a ceiling": roofless_room,
}


def share_right(points, truth):
    """Share of the normals on the true side, and the same up to one flip of all."""
    right = ((orient(points).normals * truth).sum(1) > 0).mean()
    return right, max(right, 1 - right)


@pytest.mark.parametrize("name", SHEETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_sheet_has_one_side(name, seed):
    points, truth = SHEETS[name](np.random.default_rng(seed))
    assert share_right(points, truth)[1] > 0.995


@pytest.mark.parametrize("name", ["sheet", "terrain"])
def test_what_lies_flat_faces_up_wherever_it_is(name):
    points, truth = SHEETS[name](np.random.default_rng(0))
    assert share_right(1e5 * points + [4e5, 5e6, 100], truth)[0] > 0.995


@pytest.mark.parametrize("noise", [0.002, 0.01])
def test_noise_does_not_tear_a_sheet(noise):
    rng = np.random.default_rng(0)
    points, truth = terrain(rng)
    assert share_right(points + rng.normal(0, noise, points.shape), truth)[0] > 0.99


def test_all_that_a_sensor_saw_faces_it():
    rng = np.random.default_rng(0)
    points, truth = sample_solid("knot", 60_000, rng)
    sensor = np.array([0.5, -4.0, 1.0])
    direction = points - sensor
    distance = np.linalg.norm(direction, axis=1)
    direction /= distance[:, None]
    pixel = np.round(np.c_[direction[:, 0] / -direction[:, 1], direction[:, 2] / -direction[:, 1]] / 0.004)
    order = np.argsort(distance)
    seen = order[np.unique(pixel[order], axis=0, return_index=True)[1]]  # the nearest point of each pixel
    seen = seen[(truth[seen] * direction[seen]).sum(1) < -0.1]
    found = orient(points[seen] - sensor)
    assert ((found.normals * truth[seen]).sum(1) > 0).mean() > 0.995


@pytest.mark.parametrize("ratio", [5, 10])
def test_slices_of_a_body_are_a_body(ratio):
    step, angle = 0.01, np.linspace(0, 2 * np.pi, 500, endpoint=False)
    heights = np.arange(-0.95, 0.96, ratio * step)
    rings = [np.c_[np.sqrt(1 - z * z) * np.c_[np.cos(angle), np.sin(angle)], 0 * angle + z] for z in heights]
    points = np.concatenate(rings)
    points += np.random.default_rng(0).normal(0, 1e-3, points.shape)
    assert share_right(points, points)[0] > 0.995


def test_a_relief_seen_from_a_sensor_at_the_origin_faces_it():
    image = np.stack(np.meshgrid(*[np.linspace(-0.6, 0.6, 110)] * 2), -1).reshape(-1, 2)
    depth = 3 + 0.4 * np.sin(6 * image[:, 0]) + 0.3 * np.cos(7 * image[:, 1])
    points = depth[:, None] * np.c_[image[:, 0], np.ones(len(image)), image[:, 1]]
    found = orient(points)
    assert ((found.normals * points).sum(1) < 0).mean() > 0.995
    assert "origin" in found.faces


def test_closedness_tells_bodies_from_sheets():
    sheets = [make(np.random.default_rng(0))[0] for make in SHEETS.values()]
    assert max(orient(points).closed for points in sheets) < 0.5
    assert orient(sample_solid("knot", 8000, np.random.default_rng(0))[0]).closed > 0.9


def test_points_that_fill_a_volume_are_told_from_noisy_surfaces():
    rng = np.random.default_rng(0)
    for filled in (rng.uniform(-1, 1, (2000, 3)), 0.3 * rng.normal(size=(6000, 3))):
        assert "fill a volume" in orient(filled).sentence()
    knot = sample_solid("knot", 20_000, rng)[0]
    for cloud in (knot, knot + rng.normal(0, 0.02, knot.shape), knot[:500], sheet(rng)[0]):
        assert "fill a volume" not in orient(cloud).sentence()


def test_two_layers_of_few_points_are_no_open_sheet():
    rng = np.random.default_rng(0)
    side = rng.choice([-1.0, 1.0], 3000)
    points = np.c_[rng.uniform(-1, 1, (3000, 2)), 0.06 * side]
    assert share_right(points, np.c_[np.zeros((3000, 2)), side])[0] > 0.98


def seen_by_one(points, normals, sensor, cells=160):
    """The points that a sensor sees, by the nearest one in each pixel of its image, and their normals."""
    toward = points - sensor
    distance = np.linalg.norm(toward, axis=1)
    axis = -sensor / np.linalg.norm(sensor)
    sideways = np.cross(axis, [0.3, 0.5, 0.8])
    sideways /= np.linalg.norm(sideways)
    image = toward @ np.c_[sideways, np.cross(axis, sideways)] / (toward @ axis)[:, None]
    pixel = np.round(image / np.ptp(image) * cells)
    order = np.argsort(distance)
    first = order[np.unique(pixel[order], axis=0, return_index=True)[1]]
    seen = first[(normals[first] * toward[first]).sum(1) < 0]
    return points[seen], normals[seen]


@pytest.mark.parametrize("solid", ["knot", "torus", "box", "sphere"])
@pytest.mark.parametrize("sensor", [(3.0, 2.0, 1.0), (-1.0, 2.0, -3.0)])
def test_a_known_sensor_decides_every_side_that_it_saw(solid, sensor):
    points, normals = sample_solid(solid, 150_000, np.random.default_rng(0))[:2]
    points, normals = seen_by_one(points, normals, np.array(sensor))
    cloud = PointCloud(points, viewpoints=np.array([sensor]))
    found = orient(points, None, cloud.lines_of_sight())
    assert ((found.normals * normals).sum(1) > 0).mean() > 0.998
    assert "face where they were seen from" in found.sentence()


def test_scanners_inside_a_closed_room_see_its_walls_from_within():
    points, outward = sample_solid("box", 8000, np.random.default_rng(0))[:2]
    places = np.array([[0.1, 0.0, 0.0], [-0.2, 0.1, 0.1]])
    sight = PointCloud(points, viewpoints=places).lines_of_sight()
    assert ((orient(points, None, sight).normals * outward).sum(1) < 0).mean() > 0.995
    kept = judge_normals(points, -outward, None, sight)
    assert kept.use == "given"
    assert judge_normals(points, -outward).use == "turned"


@pytest.mark.parametrize("flipped", [0.3, 0.5])
def test_normals_of_no_side_take_that_which_was_seen(flipped):
    rng = np.random.default_rng(0)
    points, normals = terrain(rng)
    mixed = normals * np.where(rng.random(len(points)) < flipped, -1.0, 1.0)[:, None]
    sight = PointCloud(points, viewpoints=np.array([[0.0, 0.0, 5.0]])).lines_of_sight()
    found = judge_normals(points, mixed, None, sight)
    assert found.use == "re-oriented"
    assert ((found.normals * normals).sum(1) > 0).mean() > 0.999
    away = judge_normals(points, -normals, None, sight)
    assert away.use == "given"
    assert "face away" in away.sentence


def test_a_point_faces_the_viewpoint_that_saw_it_or_the_nearest():
    points = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]]).repeat(6, axis=0)
    places = np.array([[0.0, 0.0, 2.0], [10.0, 0.0, -2.0]])
    nearest = PointCloud(points, viewpoints=places).lines_of_sight()
    np.testing.assert_allclose(nearest[[0, -1]], [[0, 0, 1], [0, 0, -1]])
    views = np.array([1] * 6 + [-1] * 6)
    told = PointCloud(points, viewpoints=places, views=views).lines_of_sight()
    np.testing.assert_allclose(told[0], np.array([10, 0, -2]) / np.sqrt(104))
    np.testing.assert_allclose(told[-1], [0, 0, -1])


@pytest.mark.parametrize("name", ["terrain", "town", "crater", "leaf", "patch"])
def test_what_was_seen_from_above_faces_up_piece_by_piece(name):
    found = orient(SCANS[name](np.random.default_rng(1)))
    assert (found.normals[:, 2] > 0).mean() > 0.995
    assert found.faces == "up"


def test_the_recesses_of_a_facade_face_where_its_front_does():
    points = SCANS["facade"](np.random.default_rng(1))
    sides = np.sign(orient(points).normals[:, 1])
    assert abs(sides.mean()) > 0.99
