"""Sparse models of COLMAP, binary and text, and the visibility of fused clouds."""

import numpy as np
import pytest

from igr.cloud.pointcloud import read_points
from igr.cloud.read import read_table
from igr.errors import InputError
from igr.formats.colmap import is_model
from torture import scanners

RNG = np.random.default_rng(6)
POINTS = scanners.cloud(60)
MIDDLE = np.array([100.0, 200.0, -3.0])
COLORS = RNG.integers(0, 256, (60, 3))
SIDES = {4: (1, 0, 0), 9: (-1, 0, 0), 2: (0, 1, 0), 7: (0, -1, 0), 11: (0, 0, 1), 3: (0, 0, -1)}
OUTSIDE = {number: MIDDLE + 10 * np.array(side) for number, side in SIDES.items()}
"""Cameras all around the sphere, whose numbers are in no order."""
NUMBERS = list(OUTSIDE)


def facing(point):
    """The cameras in front of a point of the sphere, by number."""
    return [number for number, center in OUTSIDE.items() if (point - MIDDLE) @ (center - point) > 0]


TRACKS = [facing(point) for point in POINTS]


@pytest.mark.parametrize("form", ["bin", "txt"])
def test_a_model_gives_points_colors_errors_and_cameras(tmp_path, form):
    folder = scanners.colmap(tmp_path / "0", POINTS, COLORS, TRACKS, OUTSIDE, form=form)
    for path in (folder, folder / f"points3D.{form}"):
        table = read_table(path)
        np.testing.assert_array_equal(table.points, POINTS)
        np.testing.assert_array_equal(table.attributes["colors"], COLORS)
        np.testing.assert_array_equal(table.attributes["error"], 0.25 * np.arange(60))
        np.testing.assert_allclose(table.viewpoints, list(OUTSIDE.values()), atol=1e-12)
        for view, track in zip(table.views, TRACKS, strict=True):
            assert (NUMBERS[view] in track) if track else (view == -1)
    assert (table.views >= 0).sum() > 50
    assert read_points(folder).name == "0"


def test_of_several_cameras_the_one_in_their_middle_is_the_view(tmp_path):
    """The others may have seen the surface at a grazing angle."""
    around = {1: np.array([5.0, 0, 1]), 6: np.array([0.5, 0, 9]), 2: np.array([-5.0, 0, 1])}
    points = np.zeros((12, 3)) + np.arange(12)[:, None] * 1e-3
    tracks = [[1, 6, 2], [2, 1, 6], [6, 1, 2], [1], [], [99], [99, 2], [1, 1], [6], [2], [1, 2, 6, 99], [6, 6]]
    table = read_table(scanners.colmap(tmp_path, points, np.zeros((12, 3), int), tracks, around))
    np.testing.assert_array_equal(table.views, [1, 1, 1, 0, -1, -1, 2, 0, 1, 2, 1, 1])


def test_without_images_or_tracks_the_points_are_read_all_the_same(tmp_path):
    folder = scanners.colmap(tmp_path, POINTS, COLORS, [[]] * 60, OUTSIDE)
    assert (read_table(folder).views == -1).all()
    (folder / "images.bin").unlink()
    assert read_table(folder).viewpoints is None
    (folder / "points3D.bin").unlink()
    assert not is_model(folder)
    scanners.fused(folder / "points3D.ply", POINTS, TRACKS)
    np.testing.assert_allclose(read_table(folder).points, POINTS, rtol=1e-6)


@pytest.mark.parametrize("place", ["sparse", "sparse/0", "", "../sparse"])
def test_what_saw_the_points_of_a_fused_cloud_is_read_from_beside_it(tmp_path, place):
    (tmp_path / "dense").mkdir()
    scanners.colmap(tmp_path / "dense" / place, POINTS, COLORS, [[]] * 60, OUTSIDE)
    seen = [[NUMBERS.index(number) for number in track] for track in TRACKS]
    table = read_table(scanners.fused(tmp_path / "dense" / "fused.ply", POINTS, seen))
    np.testing.assert_allclose(table.viewpoints, list(OUTSIDE.values()), atol=1e-12)
    for view, track in zip(table.views, seen, strict=True):
        assert (view in track) if track else (view == -1)


def test_a_fused_cloud_without_images_is_read_without_views(tmp_path):
    table = read_table(scanners.fused(tmp_path / "fused.ply", POINTS, [[0]] * 60))
    assert table.viewpoints is None
    assert table.notes == ("left fused.ply.vis aside, as there are no images.bin near it",)


def test_the_visibility_of_another_cloud_is_refused(tmp_path):
    scanners.colmap(tmp_path / "sparse", POINTS, COLORS, [[]] * 60, OUTSIDE)
    path = scanners.fused(tmp_path / "fused.ply", POINTS, [[0]] * 60)
    scanners.fused(tmp_path / "other.ply", POINTS[:50], [[0]] * 50)
    (tmp_path / "other.ply.vis").replace(tmp_path / "fused.ply.vis")
    with pytest.raises(InputError, match=r"is of 50 points, and fused\.ply has 60"):
        read_table(path)


@pytest.mark.parametrize("file", ["points3D.bin", "images.bin"])
def test_a_model_that_is_cut_short_is_refused_wherever_it_ends(tmp_path, file):
    folder = scanners.colmap(tmp_path, POINTS[:12], COLORS[:12], [[4, 9]] * 12, OUTSIDE)
    data = (folder / file).read_bytes()
    for end in range(1, len(data), 7):
        (folder / file).write_bytes(data[:end])
        with pytest.raises(InputError, match=r"cut short|no points|damaged"):
            read_points(folder)
    (folder / file).write_bytes(b"\xff" * 8 + data[8:])
    with pytest.raises(InputError, match="cut short"):
        read_points(folder)


@pytest.mark.parametrize(
    ("file", "line", "match"),
    [
        ("points3D.txt", "1 2 3 4 5 6 7", "point 13 has 7 numbers, expected 8 and pairs"),
        ("points3D.txt", "1 2 3 4 5 6 seven 8", "something else than numbers"),
        ("points3D.txt", "1 2 3 4 5 6 7 8 9", "has 9 numbers"),
        ("images.txt", "1 2 3 4 five 6 7 8 1 a.jpg\n", "is no image"),
        ("images.txt", "1 0 0 0 0 6 7 8 1 a.jpg\n", "an image has no place"),
    ],
)
def test_a_line_that_is_none_of_its_text_is_refused(tmp_path, file, line, match):
    folder = scanners.colmap(tmp_path, POINTS[:12], COLORS[:12], [[4]] * 12, OUTSIDE, form="txt")
    with (folder / file).open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(InputError, match=match):
        read_table(folder)


def test_a_folder_that_is_a_model_is_one_scan(tmp_path, capsys):
    from igr.cli.scans import find_scans

    folder = scanners.colmap(tmp_path / "model", POINTS, COLORS, TRACKS, OUTSIDE)
    assert find_scans((folder,)) == {"model": folder}


def test_numbers_that_are_no_images_are_nobodys(tmp_path):
    folder = scanners.colmap(tmp_path, POINTS[:12], COLORS[:12], [[4]] * 12, OUTSIDE, form="txt")
    with (folder / "points3D.txt").open("a") as stream:
        stream.write("1 2 3 4 5 6 7 8 1e300 -1 nan 3 inf 4 -7 2\n")
    assert read_table(folder).views[-1] == -1
