"""The shipped body stays a body: closed, of human size, the same skin in every pose."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import KDTree

from examples.clouds.body import Body
from examples.clouds.motions import MOTIONS


@pytest.fixture(scope="module")
def body():
    return Body()


def test_the_body_at_rest_is_closed_outward_and_of_human_size(body):
    vertices = body.pose()
    mesh = trimesh.Trimesh(vertices, body.faces, process=False)
    assert mesh.is_watertight
    assert mesh.body_count == 1
    assert 0.05 < mesh.volume < 0.1
    height = np.ptp(vertices[:, 2])
    assert 1.5 < height < 1.9
    assert np.ptp(vertices[:, 1]) < np.ptp(vertices[:, 0]) < height


def test_left_and_right_mirror_each_other(body):
    assert KDTree(body.pose()).query(body.pose() * [-1, 1, 1])[0].max() < 0.01


def test_turning_the_root_turns_the_whole_body(body):
    turned = body.pose(pose={"root": [0, 0, 90]})
    moved = body.pose()[:, [1, 0, 2]] * [-1, 1, 1]
    offset = turned - moved
    np.testing.assert_allclose(offset, np.broadcast_to(offset[0], offset.shape), atol=1e-9)


def test_a_bone_moves_only_what_hangs_on_it(body):
    moved = np.linalg.norm(body.pose(pose={"upperleg01.L": [-60, 0, 0]}) - body.pose(), axis=1)
    rest = body.pose()
    assert (moved[rest[:, 0] < -0.1] == 0).all()
    assert (moved[rest[:, 2] > 0.4 * rest[:, 2].max()] < 1e-9).all()
    assert moved[np.argmin(rest[:, 2] - rest[:, 0])] > 0.3


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_motion_moves_the_body_keeps_its_volume_and_begins_again(body, motion):
    rest = trimesh.Trimesh(body.pose(), body.faces, process=False)
    poses = [body.pose(pose=MOTIONS[motion](t)) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    np.testing.assert_allclose(poses[0], poses[-1], atol=1e-9)
    assert 0.03 < max(np.abs(pose - poses[0]).max() for pose in poses) < 1.5
    for pose in poses:
        mesh = trimesh.Trimesh(pose, body.faces, process=False)
        assert mesh.volume == pytest.approx(rest.volume, rel=0.08)
        assert 1.2 < np.ptp(pose, 0).max() < 2.2


def test_people_differ_and_do_not_depend_on_each_other(body):
    two = list(body.family(2, 2, motions=("knees", "hips"), seed=4))
    assert [entry[:3] for entry in two[:3]] == [
        ("person00", "knees", 0),
        ("person00", "knees", 1),
        ("person00", "hips", 0),
    ]
    one = list(body.family(1, 2, motions=("knees", "hips"), seed=4))
    for first, second in zip(one, two, strict=False):
        np.testing.assert_array_equal(first[3], second[3])
    assert np.abs(two[0][3] - two[4][3]).max() > 0.02


def test_every_person_is_of_human_size(body):
    for *_, vertices in body.family(8, 1, motions=("shake_shoulders",)):
        assert 1.3 < np.ptp(vertices[:, 2]) < 2.1
        assert 0.035 < trimesh.Trimesh(vertices, body.faces, process=False).volume < 0.15


def test_unknown_bones_are_an_error(body):
    with pytest.raises(ValueError, match="wing"):
        body.pose(pose={"wing": [0, 0, 1]})
