"""Files in chunks give what the same files give whole, and what is decided is decided for all of them."""

import numpy as np
import pytest

from igr.cloud.clean import clean
from igr.cloud.read import read_table
from igr.errors import InputError
from igr.mesh.write import ply_bytes
from igr.tiles.chunks import survey
from torture import scanners

RNG = np.random.default_rng(8)
COUNT = 3000
POINTS = np.round(RNG.uniform(0, 50, (COUNT, 3)), 4) + [100.0, 200.0, 0.0]
NORMALS = RNG.normal(size=(COUNT, 3))
NORMALS /= np.linalg.norm(NORMALS, axis=1, keepdims=True)
COLORS = RNG.integers(0, 256, (COUNT, 3)).astype(np.uint8)
INTENSITY = RNG.integers(0, 4000, COUNT).astype(np.uint16)
TIMES = RNG.random(COUNT)


def npy(path, *columns, kind=np.float64, order="C"):
    np.save(path, np.asarray(np.column_stack(columns), kind, order=order))
    return path


def fields(path, **columns):
    rows = np.zeros(COUNT, [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    np.save(path, rows)
    return path


def ply(path, points=POINTS, **known):
    path.write_bytes(ply_bytes(points, **known))
    return path


def las(path, points=POINTS, colors=None, **columns):
    if colors is not None:
        columns |= dict(zip(("red", "green", "blue"), colors.T.astype("u2"), strict=True))
    return scanners.las(path, points, **columns)


def e57(path):
    names = ("colorRed", "colorGreen", "colorBlue")
    colored = [dict(zip(names, part.T, strict=True)) for part in np.split(COLORS, 2)]
    pose = (np.array([0.5, -0.5, 0.5, 0.5]), np.array([10.0, -20.0, 1.5]))
    first, second = (scanners.cartesian(part) for part in np.split(POINTS, 2))
    return scanners.e57(path, [first | colored[0] | {"pose": pose}, second | colored[1]])


def pcd(path):
    lines = ["VERSION .7", "FIELDS x y z", "SIZE 8 8 8", "TYPE F F F", "COUNT 1 1 1", f"WIDTH {COUNT}", "HEIGHT 1"]
    head = "\n".join([*lines, f"POINTS {COUNT}", "DATA binary", ""]).encode()
    path.write_bytes(head + POINTS.astype("<f8").tobytes())
    return path


MADE = {
    "plain npy": lambda at: npy(at / "a.npy", POINTS),
    "columns of Fortran": lambda at: npy(at / "a.npy", POINTS, NORMALS, kind=np.float32, order="F"),
    "normals and colors": lambda at: npy(at / "a.npy", POINTS, NORMALS, COLORS, INTENSITY),
    "numbered rows": lambda at: npy(at / "a.npy", np.arange(COUNT), POINTS, COLORS),
    "named fields": lambda at: fields(
        at / "a.npy", x=POINTS[:, 0], y=POINTS[:, 1], z=POINTS[:, 2], time=TIMES,
        **dict(zip(("red", "green", "blue"), COLORS.T / 255, strict=True)),
    ),
    "an image": lambda at: npy_image(at / "a.npy"),
    "ply": lambda at: ply(at / "a.ply", normals=3 * NORMALS, colors=COLORS, attributes={"intensity": INTENSITY}),
    "laz": lambda at: las(at / "a.laz", colors=257 * COLORS.astype(int), intensity=INTENSITY, gps_time=TIMES),
    "withheld": lambda at: las(at / "a.las", withheld=np.uint8(INTENSITY < 500), scan_angle=INTENSITY % 90),
    "e57": lambda at: e57(at / "a.e57"),
    "pcd": lambda at: pcd(at / "a.pcd"),
}  # fmt: skip


def npy_image(path):
    image = POINTS.reshape(60, 50, 3).copy()
    image[::7, ::5] = 0
    np.save(path, image)
    return path


def joined(tiles, rows):
    parts = list(tiles.chunks(rows))
    assert max(len(part.points) for part in parts) <= max(rows, COUNT)
    names = parts[0].attributes.keys()
    assert all(part.attributes.keys() == names for part in parts)
    normals = None if parts[0].normals is None else np.concatenate([part.normals for part in parts])
    attributes = {name: np.concatenate([part.attributes[name] for part in parts]) for name in names}
    return np.concatenate([part.points for part in parts]), normals, attributes, parts


@pytest.mark.parametrize("kind", MADE)
def test_chunks_are_the_file(tmp_path, kind):
    if kind in ("laz", "withheld", "e57"):
        pytest.importorskip("laspy")
        pytest.importorskip("pye57")
    path = MADE[kind](tmp_path)
    whole = clean(read_table(path), path.name)
    tiles = survey([path], rows=700)
    for rows in (COUNT + 1, 700):
        points, normals, attributes, parts = joined(tiles, rows)
        np.testing.assert_array_equal(points, whole.points)
        assert (normals is None) == (whole.normals is None)
        if normals is not None:
            np.testing.assert_allclose(normals, whole.normals, atol=1e-15)
        assert attributes.keys() == whole.attributes.keys() - {"withheld"}
        for name, values in attributes.items():
            assert values.dtype == whole.attributes[name].dtype
            np.testing.assert_array_equal(values, whole.attributes[name], err_msg=name)
        if whole.viewpoints is not None:
            np.testing.assert_array_equal(tiles.viewpoints, whole.viewpoints)
            np.testing.assert_array_equal(np.concatenate([part.views for part in parts]), whole.views)
    assert tiles.rows in (COUNT, len(whole.points))


def test_a_dark_tile_has_its_colors_in_as_many_bits_as_the_others(tmp_path):
    pytest.importorskip("lazrs")
    night = las(tmp_path / "a.laz", colors=np.full((COUNT, 3), 200))
    day = las(tmp_path / "b.laz", colors=256 * COLORS.astype(int))
    colors = joined(survey([day, night]), 1000)[2]["colors"]
    np.testing.assert_array_equal(colors, np.concatenate([np.zeros((COUNT, 3)), COLORS]))
    black = np.column_stack([POINTS, np.zeros((COUNT, 3)), INTENSITY])
    fractions = np.column_stack([POINTS, COLORS / 255, INTENSITY])
    names = "x y z red green blue intensity"
    paths = [npy(tmp_path / "1.npy", black), npy(tmp_path / "2.npy", fractions)]
    colors = joined(survey(paths, columns=names), 1000)[2]["colors"]
    np.testing.assert_array_equal(colors, np.concatenate([np.zeros((COUNT, 3)), COLORS]))


def test_what_some_tiles_lack_is_left_aside_and_told(tmp_path):
    one = ply(tmp_path / "a.ply", normals=NORMALS, colors=COLORS, attributes={"intensity": INTENSITY})
    other = ply(tmp_path / "b.ply", attributes={"intensity": INTENSITY})
    tiles = survey([one, other])
    assert tiles.notes == (
        "left the normals aside, which not all files have",
        "left colors aside, which not all files have",
    )
    _, normals, attributes, _ = joined(tiles, 1000)
    assert normals is None
    assert attributes.keys() == {"intensity"}


def test_what_is_the_same_in_each_scanners_file_but_not_in_all_is_kept(tmp_path):
    pytest.importorskip("lazrs")
    paths = [
        las(tmp_path / f"{i}.laz", point_source_id=np.full(COUNT, i), user_data=np.full(COUNT, 7)) for i in (1, 2)
    ]
    attributes = joined(survey(paths), 1000)[2]
    np.testing.assert_array_equal(attributes["point_source_id"], np.repeat([1, 2], COUNT))
    assert "user_data" not in attributes


def test_rows_that_are_no_points_are_removed_and_counted(tmp_path):
    points = POINTS.copy()
    points[::100] = np.nan
    normals = NORMALS.copy()
    normals[1::100] = 0
    tiles = survey([npy(tmp_path / "a.npy", points, normals)], rows=500)
    assert set(tiles.notes) == {
        "removed 30 rows with NaN or infinity",
        "removed 30 points whose normal has no direction",
    }
    found = joined(tiles, 500)
    np.testing.assert_array_equal(found[0], np.delete(points, np.s_[::100], 0)[np.arange(2970) % 99 != 0])
    normals[1::10] = 0
    tiles = survey([npy(tmp_path / "a.npy", points, normals)], columns="x y z nx ny nz")
    assert tiles.notes[1] == "left the normals aside, as 300 of 2,970 have no direction"
    assert joined(tiles, 500)[1] is None


def test_tiles_of_different_frames_are_told_of(tmp_path):
    near = [npy(tmp_path / f"{i}.npy", POINTS + [60.0 * i, 0, 0]) for i in range(3)]
    assert survey(near).notes == ()
    (note,) = survey([*near, npy(tmp_path / "far.npy", POINTS + [4e5, 5e6, 0])]).notes
    assert "far.npy lies 5.016e+06 from" in note
    assert note.endswith("are they in one frame, one coordinate system?")


def broken(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    return path


@pytest.mark.parametrize("kind", ["plain npy", "ply", "laz", "e57", "pcd"])
def test_a_tile_that_is_cut_short_is_named(tmp_path, kind):
    pytest.importorskip("pye57")
    good = npy(tmp_path / "0.npy", POINTS)
    with pytest.raises(InputError, match=r"^a\.\w+ (is|cannot|holds)"):
        survey([broken(MADE[kind](tmp_path)), good])


def test_what_is_only_read_whole_is_said_to_be(tmp_path):
    np.savetxt(tmp_path / "a.xyz", POINTS)
    np.savez(tmp_path / "a.npz", points=POINTS)
    (tmp_path / "a.ply").write_text("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
                                    "property float z\nend_header\n0 0 0\n")  # fmt: skip
    for name, said in (("a.xyz", "only read whole"), ("a.npz", "only read whole"), ("a.ply", "ASCII")):
        with pytest.raises(InputError, match=rf"^{name}.*{said}.*convert it to"):
            survey([tmp_path / name])
    np.save(tmp_path / "flat.npy", POINTS[:, :2])
    with pytest.raises(InputError, match=r"flat\.npy lies in the plane"):
        survey([tmp_path / "flat.npy"])
    with pytest.raises(InputError, match="no such file"):
        survey([tmp_path / "gone.laz"])
    with pytest.raises(InputError, match="no file"):
        survey([])


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path):
    path = npy(tmp_path / "a.npy", POINTS)
    tiles = survey([path])
    npy(path, POINTS[:2000])
    with pytest.raises(InputError, match=r"a\.npy has changed while it was read"):
        list(tiles.chunks())
