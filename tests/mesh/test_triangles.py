"""Triangles: what is read, what is refused, and points spread over them."""

import numpy as np
import pytest
import trimesh

from igr.errors import InputError
from igr.mesh.triangles import face_normals, is_watertight, read_mesh, sample_mesh

CORNERS = np.array([[0.0, 0, 0], [3, 0, 0], [0, 4, 0], [0, 0, 5]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def write_off(path, corners=CORNERS, faces=FACES):
    rows = [" ".join(map(str, row)) for row in corners] + [f"3 {a} {b} {c}" for a, b, c in faces]
    path.write_text("\n".join(["OFF", f"{len(corners)} {len(faces)} 0", *rows, ""]))
    return path


def test_a_file_keeps_every_corner_and_its_order(tmp_path):
    corners, faces = read_mesh(write_off(tmp_path / "a.off"))
    np.testing.assert_array_equal(corners[faces], CORNERS[FACES])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", "is damaged"),
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 nan\n0 1 0\n3 0 1 2\n", "NaN or infinite corners"),
        ("a.glb", "glTF", "is damaged or no mesh file"),
    ],
)
def test_a_broken_mesh_is_refused_in_one_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_mesh(tmp_path / name)


def test_normals_are_of_unit_length_and_point_outward_or_are_zero():
    normals = face_normals(CORNERS, np.vstack([FACES, [[0, 0, 1]]]))
    np.testing.assert_allclose(normals[:3], [[0, 0, -1], [0, -1, 0], [-1, 0, 0]])
    np.testing.assert_allclose(normals[3], np.array([20, 15, 12]) / 769**0.5)
    assert not normals[4].any()


def test_samples_lie_on_their_triangle_and_are_as_many_as_its_area():
    points, face = sample_mesh(CORNERS, FACES, 20_000, np.random.default_rng(0))
    heights = ((points - CORNERS[FACES[face, 0]]) * face_normals(CORNERS, FACES)[face]).sum(1)
    np.testing.assert_allclose(heights, 0, atol=1e-12)
    areas = np.array([6, 7.5, 10, 769**0.5 / 2])
    np.testing.assert_allclose(np.bincount(face) / 20_000, areas / areas.sum(), atol=0.02)
    for index in range(4):
        np.testing.assert_allclose(points[face == index].mean(0), CORNERS[FACES[index]].mean(0), atol=0.1)


@pytest.mark.parametrize("faces", [FACES[:0], [[0, 0, 1]]])
def test_a_mesh_without_area_cannot_be_sampled(faces):
    with pytest.raises(InputError, match="no triangles with an area"):
        sample_mesh(CORNERS, np.asarray(faces), 10, np.random.default_rng(0))


@pytest.mark.parametrize("cut", [0, 1])
def test_a_mesh_is_watertight_where_trimesh_says_so(cut):
    ball = trimesh.creation.icosphere(2)
    faces = np.asarray(ball.faces)[cut:]
    assert is_watertight(faces) == trimesh.Trimesh(ball.vertices, faces, process=False).is_watertight == (not cut)


def test_no_triangles_hold_no_water():
    assert not is_watertight(np.empty((0, 3), int))
