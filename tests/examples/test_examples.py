"""The shipped clouds: as they were made, truthful, drawn by a seed, readable by ourselves."""

import numpy as np
import pytest
import trimesh
from scipy.ndimage import binary_dilation
from scipy.spatial import KDTree

from examples.clouds.make import CLOUDS, FOLDER, make_cloud, make_family, write_clouds
from examples.clouds.solids import SOLIDS, solid_distance
from igr.cloud.pointcloud import read_points
from igr.errors import InputError
from igr.examples import EXAMPLES, SUFFIXES, example_cloud, write_example
from igr.images.read import read_views
from igr.scans.folders import list_scans, read_split
from igr.scans.preprocess import Preprocessing, preprocess


@pytest.mark.parametrize("name", SOLIDS)
def test_points_of_solids_lie_on_them_with_their_normals(name):
    cloud = example_cloud(name, points=3000)
    distance, gradient = solid_distance(name, cloud.points)
    np.testing.assert_allclose(distance, 0, atol=4e-5)
    same = (cloud.normals * gradient).sum(1) > 1 - 2e-8
    assert same.mean() > 0.999  # but where rounding moves a point onto an edge of the box
    outside, _ = solid_distance(name, cloud.points + 0.01 * cloud.normals)
    np.testing.assert_allclose(outside, 0.01, atol=4e-5)


@pytest.mark.parametrize("name", CLOUDS)
def test_a_shipped_cloud_is_what_is_made(name):
    shipped, made = example_cloud(name), make_cloud(name)
    step = np.ptp(np.concatenate([made.points, made.vertices]), axis=0) / 65535
    for one, other in ((shipped.points, made.points), (shipped.vertices, made.vertices)):
        assert (abs(one - other) <= 0.501 * step).all()
    assert np.linalg.norm(shipped.normals - made.normals, axis=1).max() < 7e-5
    if made.faces is None:
        assert shipped.faces is None
    else:
        np.testing.assert_array_equal(shipped.faces, made.faces)


def test_what_makes_the_clouds_writes_files_like_those_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr("examples.clouds.make.CLOUDS", ("outline",))
    write_clouds(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dfaust.npz", "outline.npz"]
    for path in tmp_path.iterdir():
        with np.load(path) as made, np.load(FOLDER / path.name) as shipped:
            assert sorted(made) == sorted(shipped)
            for key in made:
                assert made[key].dtype == shipped[key].dtype
                assert made[key].shape == shipped[key].shape


def test_the_shipped_clouds_are_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.npz")) < 3.5e6


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


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ("dfaust", "photos", "body-bare")])
def test_same_seed_same_cloud(name):
    first, second, other = (example_cloud(name, points=500, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.points, second.points)
    assert not np.array_equal(first.points, other.points)


def test_some_points_are_those_of_the_whole_cloud_with_their_normals():
    whole, some = example_cloud("body"), example_cloud("body", points=300)
    assert whole.points.shape == whole.normals.shape == (50_000, 3)
    assert some.points.shape == (300, 3)
    distance, nearest = KDTree(whole.points).query(some.points)
    assert distance.max() == 0
    np.testing.assert_array_equal(whole.normals[nearest], some.normals)


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


def test_the_truth_of_an_outline_is_its_curve(tmp_path):
    written = write_example("outline", tmp_path / "leaf.npy", reference=True)
    assert [path.name for path in written] == ["leaf.npy", "leaf_truth.xyz"]
    curve = np.loadtxt(written[1])
    assert KDTree(curve).query(example_cloud("outline").points)[0].max() < 1
    assert np.linalg.norm(curve - np.roll(curve, 1, 0), axis=1).max() < 0.2


def test_dfaust_is_the_family_that_is_made(tmp_path):
    written = write_example("dfaust", tmp_path)
    names, bodies, faces = make_family()
    assert [path.relative_to(tmp_path / "scans").with_suffix("").as_posix() for path in written[:-2]] == names
    step = np.ptp(bodies.reshape(-1, 3), axis=0) / 65535
    for path, vertices in list(zip(written, bodies, strict=False))[::5]:
        mesh = trimesh.load(path, process=False)
        assert (abs(mesh.vertices - vertices) <= 0.501 * step).all()
        np.testing.assert_array_equal(mesh.faces, faces)


def test_the_seed_chooses_the_split_of_dfaust(tmp_path):
    splits = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        splits.append(write_example("dfaust", tmp_path / folder, seed=seed)[-1].read_text())
    assert splits[0] == splits[1] != splits[2]


@pytest.mark.parametrize("asked", [{"points": 100}, {"reference": True}])
def test_dfaust_has_no_points_and_no_other_truth(tmp_path, asked):
    with pytest.raises(InputError, match="dfaust is a folder of meshes"):
        write_example("dfaust", tmp_path / "family", **asked)
    assert not (tmp_path / "family").exists()


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
        ("body-bare", "a.ply", 50_001, "example body-bare has .* at most 50,000, not 50,001"),
        ("outline", "a.xyz", 601, "at most 600, not 601"),
        ("torus", "a.ply", -5, "at least 10 points"),
        ("sphere", "none/a.ply", 50, "cannot be written"),
    ],
)
def test_a_wrong_request_is_refused_in_one_sentence(tmp_path, name, file, points, message):
    with pytest.raises(InputError, match=message):
        write_example(name, tmp_path / file, points=points)


def test_photographs_show_the_body_where_it_is(tmp_path, monkeypatch):
    """Every vertex of the truth lies on its mask, and every mask is filled by its vertices' box."""
    monkeypatch.setattr("igr.examples.PHOTOGRAPHS", (4, 64))
    _, truth = write_example("photos", tmp_path / "photos", reference=True)
    views = read_views(tmp_path / "photos")
    assert len(views) == 4
    vertices = trimesh.load(truth, process=False).vertices
    for view in views:
        column, row = view.seen_at(vertices)[0].round().astype(int).T
        grown = binary_dilation(view.mask, iterations=2)
        assert grown[row, column].mean() > 0.99
        rows, columns = np.nonzero(view.mask)
        assert abs(rows.max() - row.max()) <= 2
        assert abs(columns.min() - column.min()) <= 2
        assert view.image[view.mask].mean() > 40
        assert view.image[~binary_dilation(view.mask, iterations=2)].mean() < 5


def test_photographs_have_no_points(tmp_path):
    with pytest.raises(InputError, match="photos is a folder of pictures"):
        write_example("photos", tmp_path / "photos", points=100)
