"""Files of meshes and curves: read back by others, exact where the format allows."""

import json

import numpy as np
import pytest
import trimesh

from igr.errors import InputError
from igr.formats.table import linear_light, srgb
from igr.mesh.write import CURVE_FORMATS, MESH_FORMATS, check_output, named_columns, write_curves, write_mesh

SPHERE = trimesh.creation.icosphere(subdivisions=3)
ANGLE = np.linspace(0, 2 * np.pi, 101)
CIRCLE = np.c_[np.cos(ANGLE), np.sin(ANGLE)] * 7 + [100, 50]
CIRCLE[-1] = CIRCLE[0]


@pytest.mark.parametrize("suffix", MESH_FORMATS)
def test_a_mesh_is_read_back(tmp_path, suffix):
    path = tmp_path / f"ball{suffix}"
    write_mesh(path, SPHERE.vertices, SPHERE.faces)
    again = trimesh.load(path, force="mesh")
    assert again.is_watertight
    assert len(again.faces) == len(SPHERE.faces)
    assert again.volume == pytest.approx(SPHERE.volume, rel=1e-5)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".off"])
def test_coordinates_far_from_the_origin_keep_their_tenth_of_a_millimetre(tmp_path, suffix):
    far = np.asarray(SPHERE.vertices) + [500_000.123, 5_000_000.456, 100.0]
    write_mesh(tmp_path / f"far{suffix}", far, SPHERE.faces)
    again = trimesh.load(tmp_path / f"far{suffix}", process=False)
    assert abs(np.asarray(again.vertices) - far).max() < 1e-4


def test_attributes_of_the_vertices_are_kept_in_ply(tmp_path):
    confidence = np.linspace(0, 1, len(SPHERE.vertices))
    write_mesh(tmp_path / "a.ply", SPHERE.vertices, SPHERE.faces, attributes={"confidence": confidence})
    raw = trimesh.load(tmp_path / "a.ply", process=False).metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_allclose(raw["confidence"], confidence, atol=1e-6)


def test_curves_are_read_back_as_json_and_npz(tmp_path):
    write_curves(tmp_path / "c.json", [CIRCLE])
    np.testing.assert_array_equal(json.loads((tmp_path / "c.json").read_text())["curves"][0], CIRCLE)
    write_curves(tmp_path / "c.npz", [CIRCLE, CIRCLE + 1])
    with np.load(tmp_path / "c.npz") as data:
        np.testing.assert_array_equal(data["curve1"], CIRCLE + 1)


@pytest.mark.parametrize("suffix", [".dxf", ".svg"])
def test_drawings_hold_the_closed_curve(tmp_path, suffix):
    write_curves(tmp_path / f"c{suffix}", [CIRCLE])
    text = (tmp_path / f"c{suffix}").read_text()
    if suffix == ".dxf":
        with open(tmp_path / "c.dxf", "rb") as file:
            path = trimesh.load_path(file, file_type="dxf")
        np.testing.assert_allclose(path.bounds, [[93, 43], [107, 57]], atol=0.02)
    else:
        assert 'viewBox="92.72' in text
        assert text.count("M ") == text.count(" Z") == 1


@pytest.mark.parametrize(
    ("name", "dimension", "message"),
    [
        ("a.xyz", 3, "a mesh is written as .ply"),
        ("a.ply", 2, "a planar curve is written as .svg"),
        ("a", None, "without a suffix"),
        ("none/a.ply", 3, "there is no folder"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(tmp_path, name, dimension, message):
    with pytest.raises(InputError, match=message):
        check_output(tmp_path / name, dimension)


def test_a_folder_is_no_output(tmp_path):
    (tmp_path / "x.ply").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        check_output(tmp_path / "x.ply", 3)


def test_every_known_format_passes_the_check(tmp_path):
    for suffix in MESH_FORMATS:
        check_output(tmp_path / f"a{suffix}", 3)
    for suffix in CURVE_FORMATS:
        check_output(tmp_path / f"a{suffix}", 2)


COLORS = np.random.default_rng(0).integers(0, 256, (len(SPHERE.vertices), 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".ply", ".obj"])
def test_colors_are_read_back_by_others(tmp_path, suffix):
    write_mesh(tmp_path / f"a{suffix}", SPHERE.vertices, SPHERE.faces, colors=COLORS)
    again = trimesh.load(tmp_path / f"a{suffix}", process=False)
    np.testing.assert_array_equal(again.visual.vertex_colors[:, :3], COLORS)


def test_a_glb_has_its_colors_in_linear_light_and_does_not_shine(tmp_path):
    write_mesh(tmp_path / "a.glb", SPHERE.vertices, SPHERE.faces, colors=COLORS)
    (again,) = trimesh.load(tmp_path / "a.glb", process=False).geometry.values()
    found = again.visual.vertex_attributes["color"][:, :3]
    assert abs(found - 255 * linear_light(COLORS)).max() <= 0.5
    assert abs(255 * srgb(found / 255) - COLORS)[COLORS >= 40].max() < 2.5
    assert again.visual.material.metallicFactor == 0


@pytest.mark.parametrize("suffix", [".stl", ".off"])
def test_formats_without_colors_leave_them_out(tmp_path, suffix):
    write_mesh(tmp_path / f"a{suffix}", SPHERE.vertices, SPHERE.faces)
    write_mesh(tmp_path / f"b{suffix}", SPHERE.vertices, SPHERE.faces, colors=COLORS)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_attributes_keep_their_types_in_ply(tmp_path):
    count = np.arange(len(SPHERE.vertices))
    values = {
        "class": count.astype(np.uint8) % 7,
        "scan": count - 3,
        "large": count + 2**40,
        "sure": count % 2 == 0,
        "time": 1e9 + count / 1000,
        "height": count / 3,
    }
    write_mesh(tmp_path / "a.ply", SPHERE.vertices, SPHERE.faces, attributes=values)
    raw = trimesh.load(tmp_path / "a.ply", process=False).metadata["_ply_raw"]["vertex"]["data"]
    kinds = {"class": "u1", "scan": "i4", "large": "f8", "sure": "u1", "time": "f8", "height": "f4"}
    for name, kind in kinds.items():
        assert raw.dtype[name] == np.dtype(kind), name
        np.testing.assert_allclose(raw[name], values[name], rtol=1e-6 if kind == "f4" else 0)


def test_names_that_mean_something_else_are_changed():
    numbers = np.zeros(4)
    given = {
        "x": numbers,
        "gps time": numbers,
        "NX": numbers,
        "confidence": numbers,
        "uv": np.zeros((4, 2)),
        "": numbers,
    }
    columns = named_columns(given, {"confidence"})
    assert list(columns) == ["scan_x", "gps_time", "scan_NX", "scan_confidence", "uv_0", "uv_1", "_"]
    assert all(values.shape == (4,) for values in columns.values())
    assert list(named_columns({"a b": numbers, "a_b": numbers}, ())) == ["a_b", "scan_a_b"]
