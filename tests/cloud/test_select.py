"""Parts of a cloud: what is known of each point goes with it, and a small object in a large box is noticed."""

import numpy as np
import pytest

import igr
from igr.cli.main import main
from igr.cli.output import joined_numbers
from igr.config import FAST
from igr.errors import InputError
from igr.reconstruction import cleaned

RNG = np.random.default_rng(8)
POINTS = RNG.uniform(0, 10, (2000, 3))
CLOUD = igr.as_cloud(POINTS, attributes={"number": np.arange(2000), "classification": np.arange(2000) % 4})


def sphere(count):
    directions = RNG.normal(size=(count, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def room(count, size):
    """The walls of a cube."""
    points = RNG.uniform(0, size, (count, 3))
    points[np.arange(count), RNG.integers(0, 3, count)] = size * RNG.integers(0, 2, count)
    return points


def notes(points):
    found = []
    cleaned(igr.as_cloud(points), FAST, found.append)
    return found


def test_a_crop_keeps_what_is_in_the_box_and_what_is_known_of_it():
    part = CLOUD.crop(1, 2, 3, 6, 7, 8)
    inside = ((POINTS >= [1, 2, 3]) & (POINTS <= [6, 7, 8])).all(axis=1)
    np.testing.assert_array_equal(part.points, POINTS[inside])
    np.testing.assert_array_equal(part.attributes["number"], np.flatnonzero(inside))
    assert part.notes == (f"the crop leaves {inside.sum()} of 2,000 points",)


def test_a_crop_in_the_plane_takes_four_numbers():
    planar = igr.as_cloud(POINTS[:, :2])
    assert len(planar.crop(0, 0, 5, 5)) == (POINTS[:, :2] <= 5).all(axis=1).sum()
    with pytest.raises(InputError, match="needs xmin ymin xmax ymax"):
        planar.crop(0, 0, 0, 5, 5, 5)


def test_an_empty_crop_names_the_box_of_the_cloud():
    own = r"the cloud's own box is 1 2 3 9 9 9\.$"
    corners = np.vstack([[[1.0, 2, 3], [9, 9, 9]], RNG.uniform(4, 8, (50, 3))])
    with pytest.raises(InputError, match=r"leaves 0 points of 52, at least 10 are needed; " + own):
        igr.as_cloud(corners).crop(20, 20, 20, 30, 30, 30)
    for box in ((0, 0, 0, 0, 1, 1), (0, 0, 0, 1, 1), (np.nan, 0, 0, 1, 1, 1)):
        with pytest.raises(InputError, match="is no box"):
            CLOUD.crop(*box)


def test_thinning_keeps_the_point_nearest_the_mean_of_each_cell():
    size = 2.0
    part = CLOUD.thin(size)
    cells = np.floor((POINTS - POINTS.min(axis=0)) / size)
    kept = set(part.attributes["number"].tolist())
    for cell in np.unique(cells, axis=0):
        rows = np.flatnonzero((cells == cell).all(axis=1))
        (one,) = kept & set(rows.tolist())
        apart = np.linalg.norm(POINTS[rows] - POINTS[rows].mean(axis=0), axis=1)
        assert one == rows[apart.argmin()]
    np.testing.assert_array_equal(part.points, POINTS[part.attributes["number"]])


def test_thinning_is_the_same_far_away_and_by_any_size():
    points = np.round(POINTS, 1) + np.arange(2000)[:, None] * 2.0**-20
    points = np.round(points * 2.0**20) / 2.0**20  # exact, also far away
    moved = igr.as_cloud(points + 2.0**22).thin(1.5)
    np.testing.assert_array_equal(moved.points - 2.0**22, igr.as_cloud(points).thin(1.5).points)
    assert len(CLOUD.thin(1e-300)) == 2000
    with pytest.raises(InputError, match=r"leaves 1 point of 2,000.*give a smaller size"):
        CLOUD.thin(100)
    for size in (0, -1, np.nan, np.inf):
        with pytest.raises(InputError, match="make no grid"):
            CLOUD.thin(size)


def test_classes_are_chosen_or_named():
    assert set(CLOUD.of_classes(1, 3, 7).attributes["classification"]) == {1, 3}
    with pytest.raises(
        InputError, match=r"choosing class 9 leaves 0 points .* its classes are 0 \(500\), 1 \(500\)"
    ):
        CLOUD.of_classes(9)
    with pytest.raises(InputError, match="no attribute 'classification'"):
        igr.as_cloud(POINTS).of_classes(2)


def test_a_small_object_in_a_large_room_is_told_the_crop():
    object_ = 0.5 * sphere(50_000) + [20, 22, 10]
    cloud = np.vstack([object_, room(5000, 50.0)])
    (note,) = [note for note in notes(cloud) if "--crop" in note]
    assert note.startswith(
        "91% of the points lie within 1 of a box of 50, 0.011 apart where the finest cell is 0.3"
    )
    box = [float(word) for word in note.split("--crop ")[1].split()]
    part = igr.as_cloud(cloud).crop(*box)
    assert 49_900 < len(part) < 50_100
    assert not any("--crop" in note for note in notes(part.points))


@pytest.mark.parametrize("name", ["sphere", "dense sphere", "box", "terrain", "noisy", "uneven"])
def test_an_ordinary_cloud_is_told_no_crop(name):
    points = sphere({"dense sphere": 200_000, "uneven": 200_000}.get(name, 20_000))
    if name == "box":
        points = room(20_000, 3.0)
    elif name == "terrain":
        x, y = RNG.uniform(0, 300, (2, 50_000))
        points = np.column_stack([x, y, 10 * np.sin(x / 30)])
    elif name == "noisy":
        points += 0.02 * RNG.normal(size=points.shape)
    elif name == "uneven":
        points = points[(points[:, 0] > 0.5) | (RNG.random(len(points)) < 0.1)]
    assert not any("--crop" in note for note in notes(points))


def test_the_numbers_of_a_crop_end_where_the_scan_begins():
    before = ["reconstruct", "--crop", "-1", "0", "1e3", "2", "3.5", "4", "scan.ply", "--steps", "5"]
    assert joined_numbers(before) == ["reconstruct", "--crop=-1 0 1e3 2 3.5 4", "scan.ply", "--steps", "5"]
    for same in (
        ["mesh", "7"],
        ["reconstruct", "--crop"],
        ["reconstruct", "--crop", "a.ply"],
        ["--crop=1 2", "3"],
    ):
        assert joined_numbers(same) == same


def test_the_command_line_selects_in_every_scan(tmp_path, capsys):
    points = 3 + sphere(4000)
    for name in ("one", "two"):
        np.save(tmp_path / f"{name}.npy", np.hstack([points, points - 3]))
    scans, ending = [str(tmp_path / "one.npy"), str(tmp_path / "two.npy")], ["--steps", "10", "--resolution", "16"]
    box = ["--crop", "0", "0", "0", "6", "6", "3.5"]
    assert main(["reconstruct", *box, *scans, "--voxel", "0.1", "-o", str(tmp_path / "out"), *ending]) == 0
    told = capsys.readouterr().err
    for name in ("one", "two"):
        assert f"{name}.npy: the crop leaves {(points[:, 2] <= 3.5).sum():,} of 4,000 points" in told
        assert f"{name}.npy: one point a cell of 0.1 leaves" in told
    for wrong, word in (("--classes=2,x", "names no classes"), ("--crop=1 2 x", "else than numbers")):
        assert main(["reconstruct", scans[0], wrong]) == 2
        assert word in capsys.readouterr().err
