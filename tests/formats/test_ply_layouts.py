"""PLY, PTX and OBJ with all that people have in them: lists, splats, attributes, stations, colors."""

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_layouts import COLORS, COUNT, CURVATURE, INTENSITY, NORMALS, POINTS, holds, npy, read, text

from igr.cloud.pointcloud import read_points
from igr.errors import InputError

TYPES = {"f8": "double", "f4": "float", "u1": "uchar", "i1": "char", "u2": "ushort", "i2": "short", "i4": "int",
         "u4": "uint", "i8": "int64", "u8": "uint64", "f2": "float16", "?": "bool"}  # fmt: skip
FORMS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


class Lists(list):
    """A property that is a list in each row."""

    def __init__(self, rows, counted="u1", kind="i4"):
        super().__init__(rows)
        self.types = counted, kind


def ply(form, *elements):
    """A PLY file of (name, {property: array or Lists}), written value by value."""
    order, head, body = FORMS[form], f"ply\nformat {form} 1.0\n", []
    for name, properties in elements:
        count = len(next(iter(properties.values())))
        head += f"element {name} {count}\n"
        for label, values in properties.items():
            if isinstance(values, Lists):
                head += "property list {} {} {}\n".format(*(TYPES[kind] for kind in values.types), label)
            else:
                head += f"property {TYPES[values.dtype.str.lstrip('<>|').replace('b1', '?')]} {label}\n"
        for i in range(count):
            row = []
            for values in properties.values():
                if isinstance(values, Lists):
                    counted, kind = values.types
                    row += [np.array(len(values[i]), order + counted), *np.array(values[i], order + kind)]
                else:
                    row.append(values[i])
            if form == "ascii":
                body.append((" ".join(str(np.asarray(value).item() + 0) for value in row) + "\n").encode())
            else:
                body += [
                    np.asarray(value).astype(np.asarray(value).dtype.newbyteorder(order)).tobytes()
                    for value in row
                ]
    return head.encode() + b"end_header\n" + b"".join(body)


XYZ = {axis: POINTS[:, i] for i, axis in enumerate("xyz")}
NXYZ = {f"n{axis}": NORMALS[:, i] for i, axis in enumerate("xyz")}
RGB = {name: COLORS[:, i].astype("u1") for i, name in enumerate(("red", "green", "blue"))}
SAME = Lists([[i, i + 1, i + 2] for i in range(COUNT)])
UNEVEN = Lists([[*range(i % 5)] for i in range(COUNT)])
WEIGHTS = Lists([[0.5] * (i % 4) for i in range(COUNT)], "i4", "f4")
TAIL = {"classification": np.arange(COUNT, dtype="u1"), "scalar_Dip": CURVATURE[:, 0]}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "lists",
    [
        {"v": SAME},
        {"v": UNEVEN},
        {"v": UNEVEN, "w": WEIGHTS},
        {"v": SAME, "w": UNEVEN},
        {"w": Lists([[]] * COUNT)},
    ],
)
@pytest.mark.parametrize("place", ["behind", "between", "before"])
def test_lists_in_vertices_are_skipped(tmp_path, form, lists, place):
    """OpenMVS writes in each vertex which pictures saw it."""
    vertex = {
        "behind": XYZ | NXYZ | TAIL | lists,
        "between": XYZ | NXYZ | lists | TAIL,
        "before": lists | XYZ | NXYZ | TAIL,
    }[place]
    content = ply(form, ("vertex", vertex), ("face", {"vertex_indices": Lists([[0, 1, 2], [1, 2, 3, 4]])}))
    holds(read(tmp_path, "a.ply", content), normals=NORMALS, **TAIL)
    if form != "ascii":
        with pytest.raises(InputError, match=r"a\.ply is cut short: it announces 60 points and is too small"):
            read(tmp_path, "a.ply", ply(form, ("vertex", vertex))[:-1])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("faces", [SAME, UNEVEN])
def test_lists_in_elements_before_the_vertices_are_skipped(tmp_path, form, faces):
    elements = ("camera", {"id": np.arange(3, dtype="i2")}), ("face", {"v": faces, "flag": TAIL["classification"]})
    holds(read(tmp_path, "a.ply", ply(form, *elements, ("vertex", XYZ | {"v": UNEVEN}))))


@pytest.mark.parametrize("form", FORMS)
def test_types_that_are_not_needed_are_read_over(tmp_path, form):
    values = np.arange(COUNT) % 2
    extra = {kind.replace("?", "ground"): values.astype(kind) for kind in TYPES}
    holds(read(tmp_path, "a.ply", ply(form, ("vertex", XYZ | extra))), **extra)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("names", ["red green blue", "r g b", "diffuse_red diffuse_green diffuse_blue"])
@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_colors_of_every_kind(tmp_path, form, names, kind):
    values = COLORS * {"u1": 1, "u2": 257, "f4": 1 / 255}[kind]
    colors = {name: values[:, i].astype(kind) for i, name in enumerate(names.split())}
    alpha = {"alpha": np.full(COUNT, 255, "u1")}
    content = ply(form, ("vertex", XYZ | colors | alpha | {"intensity": INTENSITY[:, 0].astype("f4")}))
    holds(read(tmp_path, "a.ply", content), colors=COLORS, intensity=INTENSITY)


@pytest.mark.parametrize("form", FORMS)
def test_gaussian_splats_are_points_with_colors(tmp_path, form):
    """Their normals are all zero; they were called colors."""
    constant = {f"f_dc_{i}": ((COLORS[:, i] / 255 - 0.5) / 0.28209479).astype("f4") for i in range(3)}
    rest = {f"f_rest_{i}": np.ones(COUNT, "f4") for i in range(45)}
    zero = {name: np.zeros(COUNT, "f4") for name in ("nx", "ny", "nz", "opacity", "scale_0", "rot_0")}
    table = read(tmp_path, "a.ply", ply(form, ("vertex", XYZ | zero | constant | rest)))
    holds(table, colors=COLORS, opacity=np.zeros(COUNT))
    assert table.notes == (
        "holds 60 Gaussian splats: their centers are taken for points of the surface",
        "its normals are all zero, which is to have none",
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from([*FORMS]),
    lists=st.lists(st.integers(0, 4), min_size=COUNT, max_size=COUNT),
    counted=st.sampled_from(["u1", "i1", "u2", "i4", "u4", "i8"]),
    names=st.permutations(["x", "y", "z", "list", "red", "green", "blue", "quality", "other"]),
)
def test_what_is_written_is_read(tmp_path, form, lists, counted, names):
    ragged = {name: Lists([[1] * n for n in lists], counted, "u2") for name in ("list", "other")}
    every = XYZ | RGB | ragged | {"quality": CURVATURE[:, 0]}
    holds(read(tmp_path, "a.ply", ply(form, ("vertex", {name: every[name] for name in names}))), colors=COLORS,
          quality=CURVATURE)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["ascii.ply", "little.ply", "a.ptx", "a.pts", "a.csv", "s.npy"]),
    place=st.floats(0, 1),
    near_start=st.booleans(),
    patch=st.one_of(st.binary(max_size=8), st.integers(-1, 10**12).map(lambda n: str(n).encode())),
    removed=st.integers(0, 12),
)
def test_a_mutated_layout_is_read_or_refused(tmp_path, name, place, near_start, patch, removed):
    content = SOUND[name]
    at = int(place * min(len(content), 300 if near_start else len(content)))
    (tmp_path / name).write_bytes(content[:at] + patch + content[at + removed :])
    try:
        cloud = read_points(tmp_path / name)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert np.isfinite(cloud.points).all()


# ---------------------------------------------------------------------------------------------- PTX


def station(rows, position, matrix, columns, turned=None):
    axes = np.eye(3) if turned is None else turned
    lines = [
        f"{columns}",
        f"{len(rows) // columns}",
        *(" ".join(map(repr, map(float, line))) for line in (position, *axes, *matrix)),
    ]
    return "\n".join(lines) + "\n" + text(rows)


def rigid(angle, offset):
    """A matrix for row vectors: x' = (x y z 1) M."""
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    matrix[3, :3] = offset
    return matrix


LOCAL = np.random.default_rng(5).normal(size=(COUNT, 3)).round(5) * 10
SEEN = CURVATURE
PLACES = np.array([[1000.0, 2000.0, 50.0], [1010.0, 2003.0, 51.0]])


def stations(*, colors=True, missing=(7, 30)):
    content, expected = "", []
    for i, place in enumerate(PLACES):
        matrix = rigid(0.5 + i, place)
        rows = np.hstack([LOCAL, SEEN, *([COLORS] if colors else [])]).astype(object)
        if colors:
            rows[:, 4:] = COLORS
        rows[list(missing), :3] = 0
        content += station(rows, place, matrix, columns=6)
        kept = np.delete(LOCAL, missing, axis=0)
        expected.append((np.c_[kept, np.ones(len(kept))] @ matrix)[:, :3])
    return content, np.vstack(expected)


@pytest.mark.parametrize("colors", [True, False])
@pytest.mark.parametrize("name", ["a.ptx", "a.txt", "a.PTX"])
def test_stations_come_into_one_frame_and_say_who_saw_what(tmp_path, colors, name):
    content, points = stations(colors=colors)
    table = read(tmp_path, name, content)
    keep = np.delete(np.arange(COUNT), (7, 30))
    np.testing.assert_allclose(table.points, points, atol=1e-9)
    np.testing.assert_array_equal(table.attributes["scan"], np.repeat([0, 1], len(keep)))
    np.testing.assert_array_equal(table.attributes["intensity"], np.tile(SEEN[keep, 0], 2))
    assert ("colors" in table.attributes) == colors
    if colors:
        np.testing.assert_array_equal(table.attributes["colors"], np.tile(COLORS[keep], (2, 1)))
    np.testing.assert_array_equal(table.viewpoints, PLACES)
    np.testing.assert_array_equal(table.views, table.attributes["scan"])
    assert table.notes == ()


def test_a_station_that_states_no_position_has_that_of_its_matrix(tmp_path):
    rows = np.hstack([LOCAL, SEEN])
    table = read(tmp_path, "a.ptx", station(rows, [0, 0, 0], rigid(0.3, PLACES[0]), 6))
    np.testing.assert_array_equal(table.viewpoints, PLACES[:1])
    assert "scan" not in table.attributes


def test_a_scanner_a_country_away_is_none(tmp_path):
    near, far = np.hstack([LOCAL, SEEN]), np.hstack([LOCAL + 1e6, SEEN])
    content = station(far, [0, 0, 0], np.eye(4), 6) + station(near, PLACES[0], rigid(0, PLACES[0]), 6)
    table = read(tmp_path, "a.ptx", content)
    np.testing.assert_array_equal(table.viewpoints, PLACES[:1])
    np.testing.assert_array_equal(table.views, np.repeat([-1, 0], COUNT))
    assert table.notes == ("station 1 has its scanner far from its points: not used as its place",)


BROKEN_PTX = {
    "cut": (
        lambda content: content[: content.rindex("\n", 0, -1) + 1],
        "is cut short: it announces 60 points and",
    ),
    "word": (lambda content: content.replace(str(CURVATURE[9, 0]), "none"), "line 20 has 'none' where a number"),
    "head": (lambda content: content.replace("1010.0", "x"), "the header of the station from line 71 on holds"),
    "lost": (lambda content: content.replace("\n10\n1010", "\n1010"), "a station is expected from line 71 on"),
    "huge": (lambda content: "9999999999" + content, "is cut short: it announces 999,999,999,960 points"),
}


@pytest.mark.parametrize("name", BROKEN_PTX)
def test_a_broken_station_is_refused_in_one_sentence(tmp_path, name):
    change, message = BROKEN_PTX[name]
    with pytest.raises(InputError, match=message):
        read(tmp_path, "a.ptx", change(stations()[0]))


# ------------------------------------------------------------------------------------------- meshes


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("faces", ["", "f 1 2 3\nf 2 3 4\n"])
def test_an_obj_carries_the_colors_of_its_vertices(tmp_path, scale, faces):
    rows = "".join("v " + line + "\n" for line in text(POINTS, COLORS / scale).splitlines())
    holds(read(tmp_path, "a.obj", rows + faces), colors=COLORS)


def test_a_glb_carries_the_colors_of_its_vertices(tmp_path):
    mesh = trimesh.creation.icosphere(1)
    mesh.visual.vertex_colors = np.hstack([COLORS[: len(mesh.vertices)], np.full((len(mesh.vertices), 1), 255)]) \
        if len(mesh.vertices) <= COUNT else np.tile([10, 20, 30, 255], (len(mesh.vertices), 1))  # fmt: skip
    table = read(tmp_path, "a.glb", mesh.export(file_type="glb"))
    np.testing.assert_array_equal(table.attributes["colors"], mesh.visual.vertex_colors[:, :3])


SURVEY = text(INTENSITY, POINTS, np.full((COUNT, 1), "EG"), separator=",")
HALVES = [f"30\n{text(POINTS[half], INTENSITY[half])}" for half in (slice(0, 30), slice(30, COUNT))]
ROWS = np.rec.fromarrays([*POINTS.T, *COLORS.T], names="x,y,z,red,green,blue")
SOUND = {
    "ascii.ply": ply("ascii", ("vertex", {"v": UNEVEN} | XYZ | RGB)),
    "little.ply": ply("binary_little_endian", ("vertex", XYZ | {"v": UNEVEN, "w": WEIGHTS})),
    "a.ptx": stations()[0].encode(),
    "a.pts": "".join(HALVES).encode(),
    "a.csv": ("Point,Northing,Easting,Elevation,Code\n" + SURVEY).encode(),
    "s.npy": npy(np.asarray(ROWS)),
}
