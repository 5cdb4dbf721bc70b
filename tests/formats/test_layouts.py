"""The layouts that people have: what columns are is told by their names, by their numbers, or by an option."""

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from igr.cloud.pointcloud import as_cloud, read_points
from igr.cloud.read import read_table
from igr.errors import InputError

COUNT = 60
RNG = np.random.default_rng(11)
POINTS = (RNG.normal(size=(COUNT, 3)) * [30, 40, 5] + [430_000, 5_411_000, 320]).round(3)
NORMALS = RNG.normal(size=(COUNT, 3))
NORMALS = (NORMALS / np.linalg.norm(NORMALS, axis=1, keepdims=True)).round(6)
COLORS = RNG.integers(0, 256, (COUNT, 3))
INTENSITY = RNG.integers(0, 4096, (COUNT, 1))
CURVATURE = RNG.random((COUNT, 1)).round(6)


def text(*parts, separator=" "):
    rows = np.hstack([np.asarray(part, object) for part in parts])
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def read(folder, name, content, columns=None):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, columns)


def holds(table, *, points=POINTS, normals=None, colors=None, **attributes):
    """Whether a table has these parts and no others."""
    np.testing.assert_array_equal(table.points, points)
    assert (table.normals is None) == (normals is None)
    if normals is not None:
        np.testing.assert_array_equal(table.normals, normals)
    expected = {**({} if colors is None else {"colors": colors}), **attributes}
    assert sorted(table.attributes) == sorted(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(table.attributes[name], np.reshape(values, table.attributes[name].shape))
    if colors is not None:
        assert table.attributes["colors"].dtype == np.uint8


N, C, G, K = {"normals": NORMALS}, {"colors": COLORS}, {"intensity": INTENSITY}, {"intensity": CURVATURE}
INDEX = np.arange(1, COUNT + 1)[:, None]
UNNAMED = {
    "x y z intensity": ([POINTS, INTENSITY], G),
    "index x y z": ([INDEX, POINTS], {}),
    "x y z of homogeneous coordinates": ([POINTS, np.ones((COUNT, 1), int)], {}),
    "x y z r g b": ([POINTS, COLORS], C),
    "x y z and fractions r g b": ([POINTS, COLORS / 255], C),
    "x y z and 16 bits of r g b": ([POINTS, COLORS * 257], C),
    "x y z nx ny nz": ([POINTS, NORMALS], N),
    "x y z i r g b": ([POINTS, INTENSITY, COLORS], C | G),
    "x y z r g b i": ([POINTS, COLORS, INTENSITY], C | G),
    "x y z r g b alpha": ([POINTS, COLORS, np.full((COUNT, 1), 255)], C),
    "x y z nx ny nz curvature": ([POINTS, NORMALS, CURVATURE], N | K),
    "x y z i nx ny nz": ([POINTS, INTENSITY, NORMALS], N | G),
    "index x y z r g b": ([INDEX, POINTS, COLORS], C),
    "x y z r g b nx ny nz": ([POINTS, COLORS, NORMALS], N | C),
    "x y z nx ny nz r g b": ([POINTS, NORMALS, COLORS], N | C),
    "x y z i r g b nx ny nz": ([POINTS, INTENSITY, COLORS, NORMALS], N | C | G),
    "x y z r g b nx ny nz i": ([POINTS, COLORS, NORMALS, INTENSITY], N | C | G),
    "x y z r g b i nx ny nz": ([POINTS, COLORS, INTENSITY, NORMALS], N | C | G),
    "x y z intensity ring": (
        [POINTS, CURVATURE, INTENSITY % 16],
        {"column4": CURVATURE, "column5": INTENSITY % 16},
    ),
    "x y z class return returns": (
        [POINTS, INTENSITY % 7, INTENSITY % 3, INTENSITY % 2],
        {"column4": INTENSITY % 7, "column5": INTENSITY % 3, "column6": INTENSITY % 2},
    ),
}


@pytest.mark.parametrize("name", UNNAMED)
@pytest.mark.parametrize("suffix", ["txt", "npy", "asc"])
def test_columns_without_names_are_what_their_numbers_can_be(tmp_path, name, suffix):
    """x y z intensity was a curve in the plane, x y z i r g b refused."""
    parts, expected = UNNAMED[name]
    content = text(*parts)
    if suffix == "npy":
        stream = io.BytesIO()
        np.save(stream, np.hstack(parts))
        content = stream.getvalue()
    table = read(tmp_path, f"a.{suffix}", content)
    holds(table, **expected)
    assert (table.notes == ()) == (name == "x y z nx ny nz")


@pytest.mark.parametrize(
    "suffix", ["asc", "xyzn", "xyzrgb", "pwn", "dat", "neu", "3d", "xyz", "csv", "PTS", "anything", ""]
)
def test_what_reads_as_text_is_text(tmp_path, suffix):
    holds(read(tmp_path, f"scan.{suffix}" if suffix else "scan", text(POINTS, NORMALS)), **N)


HEADERS = {
    "CloudCompare": f"//X Y Z R G B Nx Ny Nz\n{COUNT}\n",
    "number sign": "# X Y Z R G B Nx Ny Nz\n",
    "words above": "Scan of a hall, 2024-05-03\n# made by hand\nx,y,z,red,green,blue,normal_x,normal_y,normal_z\n",
    "quoted": '"X";"Y";"Z";"R";"G";"B";"NormalX";"NormalY";"NormalZ"\n',
    "units": "x [m], y [m], z [m], r (8 bit), g, b, nx, ny, nz\n",
    "units between blanks": "x [m] y [m] z [m] r g b nx ny nz\n",
    "Tecplot": 'TITLE = "hall"\nVARIABLES = "X", "Y", "Z", "R", "G", "B", "nx", "ny", "nz"\nZONE I=60\n',
    "a separator behind": "x,y,z,r,g,b,nx,ny,nz,\n",
    "ParaView": '"Points:0","Points:1","Points:2","rgb:0","rgb:1","rgb:2","Normals:0","Normals:1","Normals:2"\n',
}


@pytest.mark.parametrize("separator", [" ", ",", ";", "\t"])
@pytest.mark.parametrize("name", HEADERS)
def test_a_line_above_names_the_columns(tmp_path, name, separator):
    table = read(tmp_path, "a.txt", HEADERS[name] + text(POINTS, COLORS, NORMALS, separator=separator))
    holds(table, **N, **C)
    assert table.notes == ()


def test_a_comment_that_is_no_header_is_none(tmp_path):
    holds(read(tmp_path, "a.xyz", "# x y z of a hall\n# x y\n" + text(POINTS)))


def test_other_named_columns_are_attributes(tmp_path):
    content = "X,Y,Z,Intensity,Classification,Return Number,alpha\n"
    table = read(tmp_path, "a.csv", content + text(POINTS, INTENSITY, INTENSITY % 7, INDEX, INDEX, separator=","))
    holds(
        table, **{"intensity": INTENSITY, "classification": INTENSITY % 7, "Return Number": INDEX, "alpha": INDEX}
    )


def test_planar_columns_may_have_attributes_too(tmp_path):
    table = read(tmp_path, "a.csv", "x,y,weight\n" + text(POINTS[:, :2], CURVATURE, separator=","))
    holds(table, points=POINTS[:, :2], weight=CURVATURE)


@pytest.mark.parametrize("separator", [";", " ", "\t"])
def test_commas_may_be_decimal_points(tmp_path, separator):
    content = text(POINTS, INTENSITY, separator=separator).replace(".", ",")
    holds(read(tmp_path, "a.csv", content), **G)


CODES = np.array([["EG", "curb, left", 'so "called"', "12a"][i % 4] for i in range(COUNT)], object)[:, None]
QUOTED = np.array([[f'"{code[0].replace(chr(34), chr(34) * 2)}"'] for code in CODES], object)


def test_a_survey_is_read_by_its_names_and_its_codes_left_aside(tmp_path):
    """x is the easting: the surface would be a mirror image if the columns were taken in order."""
    rows = text(INDEX, POINTS[:, [1, 0, 2]], QUOTED, separator=",")
    table = read(tmp_path, "a.csv", "Point,Northing,Easting,Elevation,Code\n" + rows)
    holds(table, Point=INDEX)
    assert table.notes == ("left column 5 (Code) aside, which holds words",)


@pytest.mark.parametrize("points", [INDEX, np.array([f"P{i}" for i in range(COUNT)], object)[:, None]])
@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2]])
@pytest.mark.parametrize("separator", [",", " "])
def test_a_survey_without_names_is_point_northing_easting_elevation_code(tmp_path, points, order, separator):
    codes = CODES if separator == " " else QUOTED
    table = read(
        tmp_path,
        "a.csv",
        text(points, POINTS[:, order], np.char.replace(codes.astype(str), " ", "_"), separator=separator),
    )
    holds(table)
    said = "easting, northing" if order[0] == 0 else "northing, easting"
    assert f"took its columns for point, {said}, elevation and code (the option columns overrules)" in table.notes


def test_codes_of_two_words_do_not_make_the_commas_decimal(tmp_path):
    names, codes = np.array([f"P{i}" for i in range(COUNT)], object)[:, None], np.full((COUNT, 1), "top of curb")
    holds(read(tmp_path, "a.csv", text(names, POINTS[:, [1, 0, 2]], codes, separator=",")))


def test_a_local_survey_without_names_has_its_northing_first(tmp_path):
    local = POINTS - [430_000, 5_411_000, 0]
    table = read(tmp_path, "a.txt", text(INDEX, local[:, [1, 0, 2]], np.full((COUNT, 1), "EG"), separator=","))
    holds(table, points=local[:, [0, 1, 2]])


def test_labels_behind_a_scan_do_not_make_it_a_survey(tmp_path):
    content = text(POINTS, INTENSITY, np.full((COUNT, 1), "ground"))
    holds(read(tmp_path, "a.txt", content), **G)


def test_a_name_among_point_numbers_leaves_them_aside(tmp_path):
    """Also beyond the rows that are looked at first."""
    for row in (5, 1000):
        numbers = np.arange(1200).astype(object)[:, None]
        numbers[row] = "BM1"
        content = "name,easting,northing,height\n" + text(numbers, np.tile(POINTS, (20, 1)), separator=",")
        table = read(tmp_path, "a.csv", content)
        holds(table, points=np.tile(POINTS, (20, 1)))
        assert len(table.notes) == 1
        assert table.notes[0].startswith("left column 1 (name) aside")


def test_comments_and_empty_rows_are_no_points(tmp_path):
    """Spreadsheets end in rows of separators alone."""
    rows = text(POINTS, INTENSITY, separator=",").splitlines(keepends=True)
    rows.insert(5, ",,,\n")
    rows.insert(9, "# a, comment\n   \n// another\n")
    content = "x,y,z,i\n" + "".join(rows) + ",,,\n, , ,\n"
    holds(read(tmp_path, "a.csv", content), **G)
    counted = f"{COUNT}\n" + "".join(rows).replace(",,,\n", "\n")
    holds(read(tmp_path, "a.pts", counted), **G)


@pytest.mark.parametrize("columns", ["x y z intensity", "x,y,z,intensity", "x, y, z, i"])
def test_the_option_overrules_what_the_numbers_seem(tmp_path, columns):
    unit = np.hstack([POINTS[:, :2], NORMALS[:, :2] / np.linalg.norm(NORMALS[:, :2], axis=1, keepdims=True)])
    holds(read(tmp_path, "a.xyz", text(unit), columns), points=unit[:, :3], intensity=unit[:, 3])
    (tmp_path / "a.csv").write_text("x,y,nx,ny\n" + text(unit, separator=","))
    assert read_points(tmp_path / "a.csv", columns=columns).dimension == 3
    np.save(tmp_path / "a.npy", unit)
    assert read_points(tmp_path / "a.npy", columns=columns).dimension == 3


def test_number_signs_within_words_begin_no_comment(tmp_path):
    names, shades = np.full((COUNT, 1), "P#1"), np.full((COUNT, 1), "#ff0000")
    table = read(tmp_path, "a.csv", "name,x,y,z,color\n" + text(names, POINTS, shades, separator=","))
    holds(table)
    assert len(table.notes) == 2


def test_the_option_leaves_columns_aside_and_turns_them_round(tmp_path):
    table = read(tmp_path, "a.txt", text(INDEX, POINTS[:, [2, 0, 1]], COLORS), "- z x y _ _ _")
    holds(table)
    with pytest.raises(InputError, match=r"a\.txt: line 1 has 7 columns, and columns='x y z' names 3\."):
        read(tmp_path, "a.txt", text(INDEX, POINTS, COLORS), "x y z")
    with pytest.raises(InputError, match="no columns x and y; their names are: a, b, c"):
        read(tmp_path, "a.txt", text(POINTS), "a b c")
    with pytest.raises(InputError, match=r"a\.obj says itself what it holds"):
        read(tmp_path, "a.obj", "v 0 0 0\n", "x y z")


@pytest.mark.parametrize("head", ["lat,lon,alt", "Latitude,Longitude,Height", "lng,lat,h"])
def test_degrees_are_not_read_as_meters(tmp_path, head):
    with pytest.raises(InputError, match="degrees and no lengths; project them first"):
        read(tmp_path, "a.csv", head + "\n" + text(POINTS, separator=","))


def test_degrees_beside_coordinates_are_attributes(tmp_path):
    table = read(tmp_path, "a.csv", "lat,lon,x,y,z\n" + text(CURVATURE, CURVATURE, POINTS, separator=","))
    holds(table, lat=CURVATURE, lon=CURVATURE)


@pytest.mark.parametrize("extra", [[], [INTENSITY], [INTENSITY, COLORS]])
def test_several_scans_in_a_file_are_one_cloud(tmp_path, extra):
    rows = text(POINTS, *extra).splitlines(keepends=True)
    parts = [rows[:10], [], rows[10:40], rows[40:]]
    content = "".join(f"{len(part)}\n" + "".join(part) for part in parts)
    table = read(tmp_path, "a.pts", content)
    named = dict(zip(("intensity", "colors"), extra, strict=False))
    holds(table, scan=np.repeat([0, 1, 2], [10, 30, 20]), **named)
    with pytest.raises(InputError, match=r"cut short: it announces 20 points and holds 19\."):
        read(tmp_path, "a.pts", content[: content[:-1].rindex("\n") + 1])
    with pytest.raises(InputError, match=r"line 2 has 'none' where"):
        read(tmp_path, "a.pts", content.replace(rows[0].split()[0], "none", 1))


# ------------------------------------------------------------------------------------------- arrays


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


IMAGE = POINTS.reshape(6, 10, 3).copy()
IMAGE[2, 3], IMAGE[4, 5] = 0, np.nan


@pytest.mark.parametrize("image", [IMAGE, np.moveaxis(IMAGE, 2, 0), IMAGE.astype(">f8")])
def test_missing_pixels_of_an_image_of_points_are_left_out(tmp_path, image):
    table = read(tmp_path, "a.npy", npy(image))
    holds(table, points=np.delete(POINTS, [23, 45], axis=0))
    assert table.notes == ("left out 2 of 60 pixels, where nothing was measured",)
    np.testing.assert_array_equal(as_cloud(image).points, table.points)


def test_an_image_may_hold_colors(tmp_path):
    holds(read(tmp_path, "a.npy", npy(np.hstack([POINTS, COLORS]).reshape(6, 10, 6))), **C)
    with pytest.raises(InputError, match=r"a picture, \(6, 10, 3\) of bytes"):
        read(tmp_path, "a.npy", npy(COLORS.reshape(6, 10, 3).astype(np.uint8)))


def structured(*fields):
    rows = np.zeros(COUNT, [field[:-1] for field in fields])
    for name, *_, values in fields:
        if values is not None:
            rows[name] = np.reshape(values, rows[name].shape)
    return rows


AXES = [("x", "<f8", POINTS[:, 0]), ("Y", ">f8", POINTS[:, 1]), ("z", "<f8", POINTS[:, 2])]
BYTES = [(name, "u1", COLORS[:, i]) for i, name in enumerate(("red", "green", "blue"))]
PACKED = COLORS @ [1 << 16, 1 << 8, 1]
FIELDS = {
    "axes": (AXES, {}),
    "colors": ([*AXES, *BYTES], C),
    "more": ([*AXES, ("label", "S4", None), ("time", "<f8", CURVATURE), ("intensity", "<u2", INTENSITY)],
             {"time": CURVATURE, "intensity": INTENSITY}),
    "triples": ([("xyz", "<f8", (3,), POINTS), ("normal", "<f8", (3,), NORMALS), ("rgb", "u1", (3,), COLORS)],
                N | C),
    "packed colors": ([*AXES, ("rgb", "<u4", PACKED)], C),
    "colors packed in floats": ([*AXES, ("rgb", "<f4", PACKED.astype(np.uint32).view(np.float32))], C),
    "bits of a time": ([*AXES, ("t", "<u4", (2,), np.hstack([INDEX, INDEX]))], {"t": np.hstack([INDEX, INDEX])}),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_arrays_with_named_fields(tmp_path, name):
    fields, expected = FIELDS[name]
    rows = structured(*fields)
    holds(read(tmp_path, "a.npy", npy(rows)), **expected)
    assert len(as_cloud(rows)) == COUNT
    image = rows.reshape(6, 10)
    holds(read(tmp_path, "a.npy", npy(image)), **expected)


def test_fields_between_padding(tmp_path):
    """As `np.dtype(…, align=True)` and ROS have them."""
    rows = np.zeros(COUNT, np.dtype([("x", "f4"), ("flag", "u1"), ("y", "f4"), ("z", "f8")], align=True))
    for i, axis in enumerate("xyz"):
        rows[axis] = POINTS[:, i]
    holds(read(tmp_path, "a.npy", npy(rows)), points=np.c_[rows["x"], rows["y"], rows["z"]], flag=np.zeros(COUNT))


def test_named_fields_never_hold_objects(tmp_path):
    rows = np.zeros(3, [("x", "f8"), ("y", "O")])
    stream = io.BytesIO()
    np.save(stream, rows, allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        read(tmp_path, "a.npy", stream.getvalue())


def test_an_archive_of_whatever_belongs_to_the_points(tmp_path):
    np.savez(
        tmp_path / "a.npz", Positions=POINTS, normals=NORMALS, RGB=COLORS / 255, intensity=INTENSITY,
        faces=np.zeros((9, 3)),
        names=np.array(["a"]), labels=INDEX[:, 0], viewpoint=[1.0, 2.0, 3.0], epoch=np.array(7.0),
    )  # fmt: skip
    table = read_table(tmp_path / "a.npz")
    holds(table, **N, **C, **G, labels=INDEX)
    np.testing.assert_array_equal(table.viewpoints, [[1, 2, 3]])


def test_an_archive_of_columns(tmp_path):
    np.savez(tmp_path / "a.npz", x=POINTS[:, 0], y=POINTS[:, 1], z=POINTS[:, 2], t=CURVATURE[:, 0])
    holds(read_table(tmp_path / "a.npz"), t=CURVATURE)


def test_an_archive_of_images(tmp_path):
    np.savez(tmp_path / "a.npz", points=IMAGE, color=COLORS.reshape(6, 10, 3), depth=CURVATURE.reshape(6, 10))
    keep = np.delete(np.arange(COUNT), [23, 45])
    holds(read_table(tmp_path / "a.npz"), points=POINTS[keep], colors=COLORS[keep], depth=CURVATURE[keep])


KNOWN = ["x", "y", "z", "nx", "ny", "nz", "red", "green", "blue", "intensity", "time", "label"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from(KNOWN), unique=True),
    separator=st.sampled_from([" ", ",", ";", "\t"]),
    mark=st.sampled_from(["", "# ", "//"]),
    data=st.data(),
)
def test_named_columns_in_any_order_are_what_they_are_called(tmp_path, names, separator, mark, data):
    names = data.draw(st.permutations([*{*names, "x", "y"}]))
    rows = data.draw(st.lists(st.lists(st.integers(0, 255), min_size=len(names), max_size=len(names)), min_size=2))
    content = mark + separator.join(names) + "\n" + "".join(separator.join(map(str, row)) + "\n" for row in rows)
    table, values = read(tmp_path, "a.txt", content), np.array(rows, float)
    for i, axis in enumerate(["x", "y", *(["z"] if "z" in names else [])]):
        np.testing.assert_array_equal(table.points[:, i], values[:, names.index(axis)])
    for name in {"intensity", "time", "label"} & {*names}:
        np.testing.assert_array_equal(table.attributes[name], values[:, names.index(name)])
    assert ("colors" in table.attributes) == ({"red", "green", "blue"} <= {*names})


@pytest.mark.parametrize(
    "header",
    ["Easting,Northing,RL", "E,N,Elev_m", "x_m,y_m,z_m", "X,Y,Ellipsoidal Height", "X mm,Y mm,Z mm", "x,y,depth"],
)
def test_a_height_by_any_name_is_the_third_axis(tmp_path, header):
    holds(read(tmp_path, "a.csv", header + "\n" + text(POINTS, separator=",")))


def test_a_third_column_of_no_known_name_is_said_to_be_left(tmp_path):
    table = read(tmp_path, "a.csv", "x,y,quality\n" + text(POINTS, separator=","))
    assert table.points.shape == (COUNT, 2)
    assert "took it for planar: none of its other columns (quality)" in table.notes[0]


def test_the_time_before_the_axes_is_no_axis(tmp_path):
    times = 1.6e9 + np.arange(COUNT)[:, None] / 8
    table = read(tmp_path, "a.csv", "time_s,x_m,y_m,z_m\n" + text(times, POINTS, separator=","))
    np.testing.assert_array_equal(table.points, POINTS)


def test_the_umlauts_of_windows_are_read(tmp_path):
    content = "Rechtswert;Hochwert;Höhe\n" + text(POINTS, separator=";")
    for encoding in ("cp1252", "utf-8"):
        holds(read(tmp_path, "a.csv", content.encode(encoding)))


@pytest.mark.parametrize("header", ["", "x\ty\tz\n", "x\ty\tz\t\n"])
def test_tabs_around_rows_are_no_columns(tmp_path, header):
    rows = text(POINTS, separator="\t")
    holds(read(tmp_path, "a.txt", header + rows.replace("\n", "\t\r\n")))
    holds(read(tmp_path, "a.txt", header + "\t" + rows.replace("\n", "\n\t")))


def test_a_point_without_an_intensity_is_still_a_point(tmp_path):
    table = read(tmp_path, "a.csv", "x,y,z,intensity\n" + text(POINTS, INTENSITY, separator=",") + "1,2,3,\n")
    assert len(table.points) == COUNT + 1
    assert "aside" in table.notes[0]


def test_reflectance_ring_and_time_are_no_normals(tmp_path):
    others = np.c_[RNG.integers(-2047, 2048, COUNT), np.arange(COUNT) % 16, np.arange(COUNT)]
    table = read(tmp_path, "a.xyz", text(POINTS, others))
    assert table.normals is None
    assert len(table.attributes) == 3


def test_what_cloudcompare_calls_colors_and_classes_are_such(tmp_path):
    shares, classes = COLORS / 255, RNG.integers(1, 7, (COUNT, 1))
    head = "//X,Y,Z,Rf,Gf,Bf,Classification\n"
    table = read(tmp_path, "a.asc", head + text(POINTS, shares, classes, separator=","))
    holds(table, colors=COLORS, classification=classes)


def test_a_flat_scan_with_a_constant_weight_is_in_space(tmp_path):
    flat = POINTS * [1, 1, 0]
    assert read(tmp_path, "a.xyz", text(flat, np.ones((COUNT, 1)))).points.shape == (COUNT, 3)


def test_attributes_and_viewpoints_that_are_none_are_refused():
    with pytest.raises(InputError, match="no array of numbers"):
        as_cloud(POINTS, attributes={"a": 5})
    with pytest.raises(InputError, match="viewpoints"):
        as_cloud(POINTS, viewpoints=[1e200, 0, 0])
