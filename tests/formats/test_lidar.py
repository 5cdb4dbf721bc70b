"""What scanners write comes back with all that is in it; a broken file is one sentence."""

import dataclasses
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from igr.cloud.pointcloud import read_points
from igr.cloud.read import read_table
from igr.errors import InputError
from igr.formats import lidar
from igr.formats.table import Table
from torture import scanners
from torture.mutations import mutated

pytest.importorskip("laspy")
pytest.importorskip("lazrs")
pytest.importorskip("pye57")
pypcd4 = pytest.importorskip("pypcd4")

RNG = np.random.default_rng(5)
POINTS = scanners.cloud(300) + [4e5, 5e6, 100.0]
COLORS = RNG.integers(0, 256, (300, 3)).astype(np.uint8)
QUATERNION, PLACE = np.array([0.5, -0.5, 0.1, 0.7]), np.array([10.0, -20.0, 1.5])
QUATERNION /= np.linalg.norm(QUATERNION)
TURN = Rotation.from_quat(QUATERNION[[1, 2, 3, 0]])


def with_colors(points, colors):
    names = ("colorRed", "colorGreen", "colorBlue")
    return scanners.cartesian(points) | dict(zip(names, colors.T, strict=True))


@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_las_and_laz_give_the_points_in_their_scale_and_what_is_known_of_each(tmp_path, suffix):
    columns = {
        "intensity": np.arange(300) * 100,
        "classification": np.repeat([2, 6], 150),
        "gps_time": RNG.random(300),
    }
    columns |= {
        name: 257 * column.astype("u2") for name, column in zip(("red", "green", "blue"), COLORS.T, strict=True)
    }
    columns |= {"return_number": np.ones(300, int), "scan_angle": np.arange(300), "quality": RNG.random(300)}
    table = read_table(scanners.las(tmp_path / f"a.{suffix}", POINTS, **columns))
    np.testing.assert_allclose(table.points, POINTS, atol=6e-5)
    assert table.points.dtype == np.float64
    assert table.attributes["colors"].dtype == np.uint8
    np.testing.assert_array_equal(table.attributes["colors"], COLORS)
    for name in ("intensity", "classification", "gps_time", "scan_angle", "quality"):
        np.testing.assert_array_equal(table.attributes[name], columns[name], err_msg=name)
    assert "return_number" not in table.attributes  # it is the same for all
    assert table.attributes["classification"].dtype == np.uint8
    assert table.viewpoints is None


@pytest.mark.parametrize("factor", [1, 256, 257])
def test_las_colors_are_the_same_whether_8_or_16_bits_were_used(tmp_path, factor):
    columns = {
        name: factor * part.astype("u2") for name, part in zip(("red", "green", "blue"), COLORS.T, strict=True)
    }
    table = read_table(scanners.las(tmp_path / "a.las", POINTS, form=2, **columns))
    np.testing.assert_array_equal(table.attributes["colors"], COLORS)


def test_las_points_marked_as_withheld_are_left_out_and_normals_found(tmp_path):
    normals = RNG.normal(size=(300, 3))
    named = dict(zip(("NormalX", "NormalY", "NormalZ"), normals.T, strict=True))
    table = read_table(scanners.las(tmp_path / "a.las", POINTS, withheld=np.arange(300) < 10, **named))
    np.testing.assert_array_equal(table.normals, normals[10:])
    assert "left out 10 points marked as withheld" in table.notes


def test_a_class_that_all_points_have_is_kept(tmp_path):
    cloud = read_points(scanners.las(tmp_path / "a.las", POINTS, classification=np.full(300, 2)))
    assert len(cloud.of_classes(2, 6)) == 300


def test_many_points_come_in_several_parts(tmp_path, monkeypatch):
    points = RNG.uniform(0, 100, (600_000, 3))
    table = read_table(
        scanners.las(tmp_path / "a.laz", points, scale=1e-3, intensity=np.arange(600_000) // 300_000)
    )
    np.testing.assert_allclose(table.points, points, atol=6e-4)
    assert table.attributes["intensity"].sum() == 300_000  # constant in the first part


def test_e57_scans_are_placed_by_their_poses_and_know_their_scanner(tmp_path):
    other = RNG.normal(size=(100, 3))
    scans = [
        with_colors(TURN.inv().apply(POINTS - PLACE), COLORS)
        | {"pose": (QUATERNION, PLACE), "intensity": np.ones(300)},
        with_colors(other, COLORS[:100]) | {"pose": ((1, 0, 0, 0), (0, 0, 0)), "intensity": RNG.random(100)},
        with_colors(other + 1, COLORS[:100]) | {"rowIndex": np.arange(100)},
    ]
    table = read_table(scanners.e57(tmp_path / "a.e57", scans))
    np.testing.assert_allclose(table.points, np.vstack([POINTS, other, other + 1]), rtol=1e-10)
    np.testing.assert_array_equal(table.attributes["colors"], np.vstack([COLORS, COLORS[:100], COLORS[:100]]))
    np.testing.assert_array_equal(table.attributes["scan"], np.repeat([0, 1, 2], [300, 100, 100]))
    assert "intensity" not in table.attributes
    assert "left the intensity aside, which not all scans have" in table.notes
    np.testing.assert_allclose(table.viewpoints, [PLACE, [0, 0, 0]])
    np.testing.assert_array_equal(
        table.views, np.repeat([0, -1, 1], [300, 100, 100])
    )  # a merged cloud says nothing


def test_e57_points_without_a_return_are_left_out_and_normals_turn_along(tmp_path):
    normals = np.tile([0.0, 0.0, 1.0], (300, 1))
    named = dict(zip(lidar.E57_NORMALS, normals.T, strict=True))
    scan = (
        scanners.cartesian(POINTS)
        | named
        | {"cartesianInvalidState": np.arange(300) % 3, "pose": (QUATERNION, PLACE)}
    )
    cloud = read_points(scanners.e57(tmp_path / "a.e57", [scan]))
    np.testing.assert_allclose(cloud.points, TURN.apply(POINTS[::3]) + PLACE, rtol=1e-10)
    np.testing.assert_allclose(cloud.normals, TURN.apply(normals[::3]), atol=1e-12)
    assert (cloud.views == 0).all()
    assert cloud.notes == ("removed 200 rows with NaN or infinity",)


def test_e57_angles_become_points_around_the_scanner(tmp_path):
    points = RNG.normal(size=(200, 3))
    ranges = np.linalg.norm(points, axis=1)
    azimuth, elevation = np.arctan2(points[:, 1], points[:, 0]), np.arcsin(points[:, 2] / ranges)
    scan = {"sphericalRange": ranges, "sphericalAzimuth": azimuth, "sphericalElevation": elevation}
    table = read_table(scanners.e57(tmp_path / "a.e57", [scan]))
    np.testing.assert_allclose(table.points, points, atol=1e-12)
    np.testing.assert_array_equal(table.viewpoints, [[0, 0, 0]])


def test_e57_colors_of_16_bits_are_scaled_by_their_limit(tmp_path):
    scan = with_colors(POINTS, 257 * COLORS.astype(int)) | {"color_top": 65535}
    np.testing.assert_array_equal(
        read_table(scanners.e57(tmp_path / "a.e57", [scan])).attributes["colors"], COLORS
    )


PCD = dict(zip("xyz", (POINTS - POINTS.mean(0)).astype("f4").T, strict=True))
PACKED = (COLORS.astype("u4") << np.array([16, 8, 0], "u4")).sum(axis=1).astype("u4")


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("form", ["u4", "f4"])
def test_pcd_gives_points_normals_colors_and_intensity(tmp_path, kind, form):
    axes = RNG.normal(size=(3, 300)).astype("f4")
    fields = PCD | {"rgb": PACKED.view(form), "intensity": RNG.random(300).astype("f4")}
    fields |= dict(zip(("normal_x", "normal_y", "normal_z"), axes, strict=True))
    table = read_table(scanners.pcd(tmp_path / "a.pcd", kind, fields, viewpoint="1 2 3 1 0 0 0"))
    np.testing.assert_array_equal(table.points.T, list(PCD.values()))
    np.testing.assert_array_equal(table.normals, axes.T)
    np.testing.assert_array_equal(table.attributes["colors"], COLORS)
    np.testing.assert_array_equal(table.attributes["intensity"], fields["intensity"])
    np.testing.assert_array_equal(table.viewpoints, [[1, 2, 3]])
    assert (table.views == 0).all()


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
def test_pcd_written_by_its_library_is_read(tmp_path, kind):
    """Its text has ten decimals."""
    values = np.column_stack([*PCD.values(), np.random.default_rng(4).random(300).astype("f4")])
    pypcd4.PointCloud.from_xyzi_points(values).save(tmp_path / "a.pcd", pypcd4.Encoding(kind))
    table = read_table(tmp_path / "a.pcd")
    np.testing.assert_allclose(table.points, values[:, :3], atol=1e-10)
    np.testing.assert_allclose(table.attributes["intensity"], values[:, 3], atol=1e-10)


def test_pcd_of_a_depth_camera_older_versions_and_padding(tmp_path):
    """Organised clouds are NaN where nothing was seen; .5 says COLUMNS and no COUNT; a default is no viewpoint."""
    rows = {name: np.where(np.arange(300) % 2, values, np.nan).astype("f4") for name, values in PCD.items()}
    path = scanners.pcd(tmp_path / "a.pcd", "ascii", rows, COUNT="", POINTS="", WIDTH="20", HEIGHT="15")
    path.write_bytes(path.read_bytes().replace(b"FIELDS", b"COLUMNS").replace(b"VERSION 0.7", b"VERSION .5"))
    cloud = read_points(path)
    assert len(cloud) == 150
    assert cloud.viewpoints is None
    padded = {**PCD, "_": np.zeros(300, "u1")}
    np.testing.assert_array_equal(read_table(scanners.pcd(path, "binary", padded)).points.T, list(PCD.values()))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"POINTS": "301"}, "cut short: it announces 301 points and holds 300"),
        ({"POINTS": "1" + "0" * 15}, "far more than it can hold|cut short"),
        ({"FIELDS": "a b c"}, "has the fields a b c; x, y and z are needed"),
        ({"TYPE": "F F Q"}, "damaged or of another kind"),
        ({"COUNT": "1 1"}, "damaged or of another kind"),
    ],
)
def test_a_pcd_header_that_does_not_fit_is_refused(tmp_path, change, match):
    with pytest.raises(InputError, match=match):
        read_table(scanners.pcd(tmp_path / "a.pcd", "binary", PCD, **change))


@pytest.mark.parametrize("kind", ["las", "laz", "e57", "pcd"])
def test_what_is_no_such_file_is_refused(tmp_path, kind):
    for content in (
        b"not it",
        b"\0" * 5000,
        b"LASF" + b"\xff" * 400,
        b"ASTM-E57" + b"\xff" * 2000,
        b"DATA binary\n",
    ):
        (tmp_path / f"a.{kind}").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.\w+"):
            read_table(tmp_path / f"a.{kind}")


@pytest.mark.parametrize(("kind", "count"), [("las", 8 * 10**9), ("laz", 10**12)])
def test_more_points_than_bytes_are_not_made_room_for(tmp_path, kind, count):
    path = scanners.las(tmp_path / f"a.{kind}", POINTS)
    data = bytearray(path.read_bytes())
    data[247:255] = count.to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match="far more than it can hold"):
        read_table(path)


@pytest.mark.parametrize(
    ("name", "library"), [("a.las", "laspy"), ("a.laz", "lazrs"), ("a.e57", "pye57"), ("a.pcd", "lzf")]
)
def test_without_the_library_it_is_said_how_to_get_it(tmp_path, monkeypatch, name, library):
    kind = {"a.pcd": "pcd binary_compressed"}.get(name, name[2:])
    (tmp_path / name).write_bytes(scanners.small(kind)[name])
    (tmp_path / f"{library}.py").write_text("raise ModuleNotFoundError")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(InputError, match=rf"{name} needs {library}, .* pip install 'igr\[scans\]'"):
        read_table(tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("kind", scanners.KINDS)
def test_damaged_files_are_read_or_refused(tmp_path, kind):
    damaged(tmp_path, kind, 25)


@pytest.mark.parametrize("kind", scanners.KINDS)
def test_some_damaged_files_are_read_or_refused(tmp_path, kind):
    damaged(tmp_path, kind, 2)


def damaged(folder, kind, times):
    """`python -m torture readers` does the same a thousand times."""
    files, rng = scanners.small(kind), np.random.default_rng(11)
    given = "fused.ply" if kind == "fused" else "" if kind.startswith("colmap") else next(iter(files))
    for _ in range(times):
        chosen = sorted(files)[rng.integers(len(files))]
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(mutated(content, rng)[1] if name == chosen else content)
        try:
            table = read_table(folder / given)
        except InputError:
            continue
        assert isinstance(table, Table)
        assert all(len(values) == len(table.points) for values in table.attributes.values())
        assert dataclasses.replace(table).points.dtype == np.float64
