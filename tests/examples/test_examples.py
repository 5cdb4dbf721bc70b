"""The shipped clouds: truthful, seeded, readable by ourselves."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import KDTree

from igr.cloud.pointcloud import read_points
from igr.errors import InputError
from igr.examples import EXAMPLES, SUFFIXES, example_cloud, write_example
from igr.examples.solids import SOLIDS, solid_distance
from igr.scans.folders import list_scans, read_split
from igr.scans.preprocess import Preprocessing, preprocess


@pytest.mark.parametrize("name", SOLIDS)
def test_points_of_solids_lie_on_them_with_their_normals(name):
    cloud = example_cloud(name, points=3000)
    distance, gradient = solid_distance(name, cloud.points)
    np.testing.assert_allclose(distance, 0, atol=1e-12)
    assert (cloud.normals * gradient).sum(1).min() > 1 - 1e-9
    outside, _ = solid_distance(name, cloud.points + 0.01 * cloud.normals)
    np.testing.assert_allclose(outside, 0.01, atol=1e-9)


def test_the_body_is_a_scan_of_the_truth_in_millimetres_off_the_origin():
    scan = example_cloud("body", points=8000)
    assert np.ptp(scan.vertices[:, 2]) == pytest.approx(1750, rel=0.1)
    assert np.linalg.norm(scan.points.mean(0)) > 2000
    mesh = trimesh.Trimesh(scan.vertices, scan.faces, process=False)
    _, distance, face = trimesh.proximity.closest_point_naive(mesh, scan.points[::40])
    assert 0.1 < distance.mean() < 1.0
    assert ((mesh.face_normals[face] * scan.normals[::40]).sum(1) > 0.5).mean() > 0.99


def test_a_scanner_leaves_gaps_where_nothing_is_seen():
    scan = example_cloud("body", points=50_000)
    gap = KDTree(scan.points).query(scan.vertices)[0]
    soles = scan.vertices[:, 2] < scan.vertices[:, 2].min() + 2
    assert np.median(gap) < 5
    assert np.median(gap[soles]) < 10
    assert 0.005 < (gap > 15).mean() < 0.1


def test_body_bare_is_the_same_scan_without_normals():
    bare = example_cloud("body-bare", points=2000)
    np.testing.assert_array_equal(bare.points, example_cloud("body", points=2000).points)
    assert bare.normals is None


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ("dfaust", "body-bare")])
def test_same_seed_same_cloud(name):
    first, second, other = (example_cloud(name, points=500, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.points, second.points)
    assert not np.array_equal(first.points, other.points)


@pytest.mark.parametrize("name", ["sphere", "outline", "body-bare"])
def test_what_is_written_is_what_is_read(tmp_path, name):
    cloud = example_cloud(name, points=500)
    for suffix in SUFFIXES:
        (path,) = write_example(name, tmp_path / f"cloud{suffix}", points=500)
        read = read_points(path)
        for one, other in ((cloud.points, read.points), (read.points, cloud.points)):
            assert KDTree(one).query(other)[0].max() < 1e-6
        assert (read.normals is None) == (cloud.normals is None)


def test_the_truth_can_be_written_beside(tmp_path):
    written = write_example("torus", tmp_path / "t.ply", points=500, reference=True)
    assert [path.name for path in written] == ["t.ply", "t_truth.ply"]
    assert trimesh.load(written[1], process=False).is_watertight


def test_dfaust_is_a_family_in_its_layout(tmp_path):
    written = write_example("dfaust", tmp_path)
    scans = list_scans(tmp_path)
    assert len(written) == len(scans) + 2 == 50
    train, test = (read_split(tmp_path / "splits" / f"{kind}_all.json") for kind in ("train", "test"))
    assert sorted(train + test) == list(scans)
    assert len(train) == 36
    assert trimesh.load(next(iter(scans.values())), process=False).is_watertight
    assert len(preprocess(tmp_path, tmp_path, Preprocessing(20, mode=1), workers=1).done) == 12


@pytest.mark.parametrize(
    ("name", "file", "points", "message"),
    [
        ("teapot", "a.ply", None, "no example 'teapot'"),
        ("sphere", "a.stl", None, "not '.stl'"),
        ("sphere", "a.ply", 3, "at least 10 points"),
        ("sphere", "none/a.ply", 50, "cannot be written"),
    ],
)
def test_a_wrong_request_is_refused_in_one_sentence(tmp_path, name, file, points, message):
    with pytest.raises(InputError, match=message):
        write_example(name, tmp_path / file, points=points)
