"""Clouds: what is refused, what is mended and noted, and which way normals point."""

import dataclasses

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from shapes import DATA, directions, sphere, torus

import igr
from igr.cloud.pointcloud import MINIMUM_POINTS, PointCloud, as_cloud, read_points
from igr.errors import InputError
from igr.normals.outwardness import inward_normals, outwardness

POINTS = np.random.default_rng(5).normal(size=(60, 3))
NORMALS = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)


# --------------------------------------------------------------------------------- what a cloud is


@pytest.mark.parametrize("columns", [2, 3, 4, 6])
def test_columns_mean_what_they_mean_in_files(columns):
    table = {2: POINTS[:, :2], 3: POINTS, 4: np.hstack([POINTS[:, :2], directions(60, 2)])}.get(
        columns, np.hstack([POINTS, NORMALS])
    )
    cloud = as_cloud(table)
    assert (cloud.dimension, len(cloud), cloud.name) == (2 if columns in (2, 4) else 3, 60, "array")
    assert (cloud.normals is None) == (columns < 4)
    np.testing.assert_array_equal(cloud.points, POINTS[:, : cloud.dimension])


def test_lists_and_tensors_are_clouds_too():
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(as_cloud(POINTS.tolist()).points, POINTS)
    np.testing.assert_array_equal(as_cloud(torch.tensor(POINTS, requires_grad=True)).points, POINTS)
    half = torch.tensor(POINTS, dtype=torch.bfloat16)
    np.testing.assert_array_equal(as_cloud(half, half).points, half.double().numpy())


def test_a_cloud_is_handed_through_and_a_path_is_read(tmp_path):
    cloud = as_cloud(POINTS)
    assert as_cloud(cloud) is cloud
    np.savetxt(tmp_path / "a.xyz", POINTS, fmt="%.17g")
    read = as_cloud(tmp_path / "a.xyz")
    assert read.name == "a.xyz"
    np.testing.assert_array_equal(read.points, POINTS)
    np.testing.assert_array_equal(read_points(str(tmp_path / "a.xyz")).points, POINTS)


@pytest.mark.parametrize("scale", [1e-90, 1e-12, 1e12, 1e90])
def test_any_unit_will_do(scale):
    np.testing.assert_array_equal(as_cloud(POINTS * scale).points, POINTS * scale)


def test_the_input_is_never_changed():
    table = np.hstack([POINTS, 3 * NORMALS])
    table[0, 0] = -0.0
    before = table.copy()
    cloud = as_cloud(table)
    cloud.points[:] = 0
    np.testing.assert_array_equal(table, before)


@pytest.mark.parametrize(
    "given",
    [
        {"points": POINTS[:, :1]},
        {"points": POINTS[None]},
        {"points": POINTS.astype("f4")},
        {"points": POINTS * [1, 1, np.inf]},
        {"points": POINTS, "normals": 2 * NORMALS},
        {"points": POINTS, "normals": NORMALS * np.nan},
        {"points": POINTS, "normals": NORMALS[1:]},
        {"points": POINTS[1:], "normals": NORMALS},
    ],
)
def test_a_cloud_made_by_hand_keeps_its_promises(given):
    with pytest.raises(InputError, match="cloud: "):
        PointCloud(**given)


# ------------------------------------------------------------------------------------ what is mended


def with_rows(rows, value, table=POINTS):
    changed = table.copy()
    changed[rows] = value
    return changed


def test_missing_returns_are_removed_with_their_normals():
    cloud = as_cloud(with_rows(slice(0, 40), np.nan), NORMALS)
    assert cloud.notes == ("removed 40 rows with NaN or infinity",)
    np.testing.assert_array_equal(cloud.points, POINTS[40:])
    np.testing.assert_allclose(cloud.normals, NORMALS[40:])


def test_normals_get_unit_length():
    lengths = np.linspace(0.2, 3, 60)[:, None]
    cloud = as_cloud(POINTS, NORMALS * lengths)
    assert cloud.notes == ("normalized 60 normals of length 0.2 to 3",)
    np.testing.assert_allclose(cloud.normals, NORMALS, atol=1e-12)


def test_rounded_normals_are_not_worth_a_word():
    cloud = as_cloud(POINTS, NORMALS.astype("f4"))
    assert cloud.notes == ()
    np.testing.assert_allclose(np.linalg.norm(cloud.normals, axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("value", [0, np.nan, np.inf, 1e-9])
def test_points_whose_normal_has_no_direction_are_removed(value):
    cloud = as_cloud(POINTS, with_rows(7, value, NORMALS))
    assert cloud.notes == ("removed 1 point whose normal has no direction",)
    np.testing.assert_array_equal(cloud.points, np.delete(POINTS, 7, axis=0))


@pytest.mark.parametrize("unit", [1e-30, 1e6, 1e30])
def test_what_is_no_direction_does_not_depend_on_the_unit_of_the_normals(unit):
    lengths = np.ones((60, 1))
    lengths[7], lengths[8] = 1e-9, 1e-7
    cloud = as_cloud(POINTS, NORMALS * lengths * unit)
    np.testing.assert_array_equal(cloud.points, np.delete(POINTS, 7, axis=0))
    np.testing.assert_allclose(cloud.normals, np.delete(NORMALS, 7, axis=0))


def test_normals_that_are_mostly_missing_are_left_aside():
    cloud = as_cloud(POINTS, with_rows(slice(10), 0, NORMALS))
    assert cloud.notes == ("left the normals aside, as 10 of 60 have no direction",)
    assert (len(cloud), cloud.normals) == (60, None)


COLORS = np.random.default_rng(0).integers(0, 256, (60, 3))


@pytest.mark.parametrize("colors", [COLORS, COLORS / 255, np.full((60, 3), 255)])
def test_colors_are_no_normals(colors):
    cloud = as_cloud(np.hstack([POINTS, colors]))
    assert cloud.normals is None
    assert cloud.notes == ("took its columns for x y z r g b (the option columns overrules)",)
    np.testing.assert_array_equal(cloud.attributes["colors"], np.rint(colors * (1 if colors.max() > 1 else 255)))


def test_normals_that_all_point_to_one_octant_are_normals():
    assert as_cloud(np.hstack([POINTS, np.abs(NORMALS)])).normals is not None


def test_four_columns_without_unit_vectors_are_in_space():
    """x y z intensity, the commonest lidar text, became a curve in the plane."""
    cloud = as_cloud(np.hstack([POINTS, COLORS[:, :1]]))
    np.testing.assert_array_equal(cloud.points, POINTS)
    np.testing.assert_array_equal(cloud.attributes["intensity"], COLORS[:, 0])


@pytest.mark.parametrize("normals", [7 * NORMALS, 1000 * np.abs(NORMALS)])
def test_what_no_color_can_be_are_normals_of_any_length(normals):
    cloud = as_cloud(np.hstack([POINTS, normals]))
    np.testing.assert_allclose(cloud.normals, normals / np.linalg.norm(normals, axis=1, keepdims=True))


def test_the_first_of_equal_points_stays_in_place():
    cloud = as_cloud(np.vstack([POINTS, POINTS[::-1]]), np.vstack([NORMALS, -NORMALS[::-1]]))
    assert cloud.notes == ("removed 60 duplicate points",)
    np.testing.assert_array_equal(cloud.points, POINTS)
    np.testing.assert_allclose(cloud.normals, NORMALS)


@settings(max_examples=60, deadline=None)
@given(
    npst.arrays(
        np.float64,
        st.tuples(st.integers(10, 200), st.integers(2, 3)),
        elements=st.sampled_from([-0.0, 0.0, 1.0, 2.0, 0.5, 1e9, -1e-9, np.nextafter(1, 2)]),
    )
)
def test_exactly_the_equal_points_go(points):
    expected = np.unique(points, axis=0)
    try:
        cloud = as_cloud(points)
    except InputError:
        return
    np.testing.assert_array_equal(np.unique(cloud.points, axis=0), expected)
    assert len(cloud) == len(expected)


# ----------------------------------------------------------------------------------- what is refused

LINE = np.outer(POINTS[:, 0], [1.0, 2.0, 3.0]) + [5e5, 5e6, 0]
PLANE = POINTS @ [[1.0, 2, 3], [2, 4, 6], [1, 1, 2]] + [5e5, 5e6, 0]

REFUSED = {
    "few": (POINTS[:9], "array has 9 usable points, at least 10 are needed."),
    "none": (POINTS[:0], "array has 0 usable points, at least 10 are needed."),
    "same": (np.ones((60, 3)), "array has 1 usable point, at least 10 are needed (removed 59 duplicate points)."),
    "missing": (
        POINTS * np.nan,
        "array has 0 usable points, at least 10 are needed (removed 60 rows with NaN or infinity).",
    ),
    "line": (LINE, "array: all 60 points lie on one line, which encloses nothing."),
    "line 2D": (LINE[:, :2], "array: all 60 points lie on one line, which encloses nothing."),
    "far": (
        (POINTS + 1e6).astype("f4"),
        "array has a box of 4.25 at 1e+06 from the origin, where numbers come in steps of 0.06; move it to the "
        "origin before it is rounded.",
    ),
    "large": (POINTS * 1e101, "array has coordinates of 2e+101; scale it below 1e100."),
    "small": (POINTS * 1e-102, "array has a box of 4e-102; scale it above 1e-100."),
    "columns": (
        np.tile(POINTS, 5),
        "array has 15 columns; 2 to 12 (x y, x y z, and what belongs to them) can be told apart without names.",
    ),
    "flat": (POINTS[0], "points have shape (3,); one row a point is needed, (n, 2) or (n, 3)."),
    "ragged": ([[1, 2], [3]], "points: rows of different length are no array (n, 2) or (n, 3)."),
    "words": (b"scan", "points hold values of type |S4; plain numbers are needed."),
    "mesh": (trimesh.creation.box(), "points hold values of type object; plain numbers are needed."),
}


@pytest.mark.parametrize(
    "plane", [PLANE, ((PLANE - PLANE[0]) + 1e5).astype("f4"), (PLANE - PLANE[0]).astype("f4")]
)
def test_a_plane_in_space_is_a_patch_and_said_to_be_one(plane):
    (note,) = as_cloud(plane).notes
    assert note.startswith("all 60 points lie in one plane")


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_sentence(name):
    source, message = REFUSED[name]
    with pytest.raises(InputError) as error:
        as_cloud(source)
    assert str(error.value).startswith(message)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize("dimension", [2, 3])
def test_points_and_normals_may_come_apart(dimension):
    points, normals = POINTS[:, :dimension], directions(60, dimension)
    apart, together = as_cloud(points, normals), as_cloud(np.hstack([points, normals]))
    np.testing.assert_array_equal(apart.points, together.points)
    np.testing.assert_array_equal(apart.normals, together.normals)
    assert len(as_cloud(points)) == 60


def test_normals_go_with_an_array_of_as_many_points(tmp_path):
    with pytest.raises(InputError, match=r"points have shape \(60, 1\) and normals \(60, 1\)"):
        as_cloud(POINTS[:, :1], NORMALS[:, :1])
    with pytest.raises(InputError, match=r"points have shape \(60, 3\) and normals \(5, 3\)"):
        as_cloud(POINTS, NORMALS[:5])
    with pytest.raises(InputError, match=r"points have shape \(5, 3\) and normals \(60, 3\)"):
        as_cloud(POINTS[:5], NORMALS)
    for source in (as_cloud(POINTS), tmp_path / "a.xyz"):
        with pytest.raises(InputError, match="beside an array of points only"):
            as_cloud(source, NORMALS)


def test_the_least_number_of_points_is_enough():
    assert len(as_cloud(POINTS[:MINIMUM_POINTS])) == MINIMUM_POINTS


def test_a_thin_plate_is_no_plane():
    assert len(as_cloud(POINTS * [1, 1, 1e-3])) == 60


# ------------------------------------------------------------------------------------ inward normals


def box(n, size):
    mesh = trimesh.creation.box(size)
    points, faces = trimesh.sample.sample_surface(mesh, n, seed=1)
    return np.asarray(points), mesh.face_normals[faces]


def star(n, uneven=False):
    angle = np.random.default_rng(2).random(n) ** (3 if uneven else 1) * 2 * np.pi
    radius, slope = 1 + 0.4 * np.sin(5 * angle), 2 * np.cos(5 * angle)
    out, along = (
        np.stack(pair, axis=1) for pair in ((np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle)))
    )
    normals = radius[:, None] * out - slope[:, None] * along
    return radius[:, None] * out, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def noisy(shape):
    points, normals = shape
    rng = np.random.default_rng(3)
    normals = normals + 0.4 * rng.normal(size=normals.shape)
    points = points + 0.01 * np.ptp(points, axis=0).max() * rng.normal(size=points.shape)
    return points, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def cut(shape, share):
    points, normals = shape
    keep = np.argsort(points @ np.arange(1, points.shape[1] + 1))[: int(share * len(points))]
    return points[keep], normals[keep]


SHAPES = {
    "sphere": sphere(500),
    "sphere of 20 points": sphere(20),
    "octahedron's corners": (np.vstack([np.eye(3), -np.eye(3)]),) * 2,
    "square's corners": (np.vstack([np.eye(2), -np.eye(2)]),) * 2,
    "circle": sphere(60, 2),
    "torus": torus(500, ring=1.0),
    "plate": box(500, (1, 1, 0.01)),
    "rod": box(500, (1, 0.02, 0.02)),
    "star": star(300),
    "uneven star": star(2000, uneven=True),
    "noisy torus": noisy(torus(500, ring=1.0)),
    "noisy star": noisy(star(300)),
    "large torus": torus(30_000, ring=1.0),
    "half a torus": cut(torus(500, ring=1.0), 0.5),
    "half a sphere": cut(sphere(500), 0.5),
    "two thirds of a star": cut(star(500), 0.66),
    "noisy plate, cut": cut(noisy(box(4000, (1, 1, 0.1))), 0.7),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("scale", [1e-90, 1e9, 1e90])
def test_normals_turned_inside_out_are_found(name, scale):
    points, normals = SHAPES[name]
    points = points * scale + 3 * scale
    assert not inward_normals(points, normals)
    assert inward_normals(points, -normals)
    assert outwardness(points, -normals) == -outwardness(points, normals)


def test_normals_of_a_closed_surface_are_certain_and_random_ones_are_not():
    points, normals = sphere(5000)
    assert outwardness(points, normals) > 0.9
    assert abs(outwardness(points, directions(5000, seed=9))) < 0.1


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_an_arc_is_as_sure_as_its_share_of_the_circle(share):
    """It is seen from its own points under half its angle (the inscribed angle theorem)."""
    angle = np.linspace(0, 2 * np.pi * share, 400)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert outwardness(points, points) == pytest.approx(share, abs=0.02)


def test_nothing_is_outside_of_a_body_within_another():
    (outer, outward), (inner, radial) = sphere(1500), sphere(500, seed=1, radius=0.3)
    points = np.vstack([outer, inner])
    assert 0.95 < outwardness(points, np.vstack([outward, -radial])) <= 1  # a cavity
    assert outwardness(points, np.vstack([outward, radial])) < 0.9


def test_a_plane_sheet_has_no_inside():
    points = np.random.default_rng(0).random((500, 3)) * [1, 1, 1e-3]
    normals = np.tile([0.0, 0, 1], (500, 1))
    assert abs(outwardness(points, normals)) < 0.1
    assert not inward_normals(points, normals)
    assert not inward_normals(points, -normals)


@pytest.mark.skipif(not DATA.is_dir(), reason="development data are not here")
@pytest.mark.parametrize(
    "name", ["srb/anchor_scan", "srb/daratech_scan", "srb/lord_quas_scan", "raw_scans/kitten"]
)
def test_scanner_normals_point_outward(name):
    cloud = read_points(DATA / f"{name}.ply")
    assert outwardness(cloud.points, cloud.normals) > 0.75


@pytest.mark.skipif(not DATA.is_dir(), reason="development data are not here")
def test_every_sampled_mesh_is_oriented_right_from_500_points():
    for path in sorted((DATA / "meshes").glob("*.ply")):
        mesh = trimesh.load_mesh(path)
        points, faces = trimesh.sample.sample_surface(mesh, 500, seed=0)
        points, normals = np.asarray(points), mesh.face_normals[faces]
        assert outwardness(points, normals) > 0.3, path.name
        assert inward_normals(points, -normals), path.name


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((50, 3)), "cloud has 1 usable point, at least 10 are needed"),
        (np.zeros((1, 3)), "cloud has 1 usable point, at least"),
        (np.zeros((0, 3)), "cloud has 0 usable points"),
        (np.eye(3)[:2], "cloud has 2 usable points"),
        (np.arange(60.0).reshape(20, 3), "lie on one line"),
    ],
)
def test_a_cloud_that_a_user_made_is_checked_as_an_array_is(points, message):
    for use in (igr.as_cloud, igr.reconstruct):
        with pytest.raises(InputError, match=message):
            use(igr.PointCloud(points))


def test_a_cloud_is_made_of_arrays():
    with pytest.raises(InputError, match="made of numpy arrays"):
        igr.PointCloud([[1.0, 2.0, 3.0]])


@pytest.mark.parametrize("make", [igr.PointCloud, igr.as_cloud])
def test_a_checked_cloud_is_handed_through_and_a_spoiled_one_checked_again(make):
    cloud = igr.as_cloud(make(np.random.default_rng(0).normal(size=(50, 3))))
    assert igr.as_cloud(cloud) is cloud
    cloud.points[0] = np.nan
    assert len(igr.as_cloud(cloud)) == 49


def test_masked_points_are_missing():
    points = np.random.default_rng(0).normal(size=(50, 3))
    masked = np.ma.masked_array(points, mask=False)
    masked[3, 1] = np.ma.masked
    masked.data[3] = 100
    cloud = igr.as_cloud(masked)
    assert len(cloud) == 49
    assert cloud.points.max() < 100
    whole = np.ma.masked_array(np.arange(150).reshape(50, 3) ** 2 % 71, mask=False)
    whole[7] = np.ma.masked
    assert "removed 1 row with NaN" in igr.as_cloud(whole).notes[0]


@pytest.mark.parametrize("values", [np.ones((20, 3), complex), np.full((20, 3), "1.5"), np.full((20, 3), None)])
def test_what_are_no_plain_numbers_is_refused(values):
    for use in (igr.as_cloud, igr.orient_normals):
        with pytest.raises(InputError, match="plain numbers are needed"):
            use(values)


def test_normals_cannot_be_given_and_ignored():
    points = np.random.default_rng(0).normal(size=(50, 3))
    with pytest.raises(InputError, match="normals are given as an array, and the options say to ignore them"):
        igr.reconstruct(points, normals=points, options=igr.Options(normals="ignore"))
    for normals in (None, "auto", "ignore"):  # nothing is given
        quick = dataclasses.replace(igr.FAST, steps=1)
        igr.reconstruct(points, normals=normals, config=quick, options=igr.Options(normals="ignore"))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.random.default_rng(0).normal(size=(50, 4)), r"points have shape \(50, 4\)"),
        (np.full((20, 3), np.nan), "hold NaN or infinity"),
        (np.random.default_rng(0).normal(size=(5, 3)), "there are 5 points, at least 10"),
        (np.zeros((50, 3)), "the cloud has a box of 0"),
        (np.zeros(50), r"shape \(50,\); one row a point"),
    ],
)
def test_points_that_cannot_be_oriented_are_refused(points, message):
    with pytest.raises(InputError, match=message):
        igr.orient_normals(points)


def test_what_a_caller_asks_of_numpy_is_his_own():
    points = np.random.default_rng(0).normal(size=(300, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    with np.errstate(all="raise"):
        for normals in (points, "auto"):
            surface = igr.reconstruct(points, normals=normals, config=dataclasses.replace(igr.FAST, steps=3))
        igr.orient_normals(points)
        surface.mesh(resolution=32)
        surface.confidence(points)
        surface.cast_rays([[0.0, 0, 0], [5.0, 0, 0]], [[1.0, 0, 0], [0, 1e-200, 0]])
        assert np.geterr() == dict.fromkeys(("divide", "over", "under", "invalid"), "raise")
