"""The page about a result is whole, small, and needs nothing from outside."""

import base64
import io
import re

import numpy as np
import pytest
import trimesh
from analytic import sphere_surface

from igr.show.drawings import curves, cut, histogram
from igr.show.report import write_mesh_report, write_report
from igr.surface.attributes import Measured

ADDRESS = re.compile(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", re.IGNORECASE)
HISTORY = [
    {"step": step, "seconds": 0.1 * step, "learning_rate": 0.01, "loss": 1 / step, "eikonal": 0.1 / step**2}
    for step in range(1, 200)
]


@pytest.mark.parametrize("center", [(1.0, 2.0, 3.0), (1.0, 2.0)])
def test_a_page_tells_all_and_asks_nobody(tmp_path, center):
    surface = sphere_surface(2.0, center)
    surface.history = HISTORY
    surface.details |= {"normals": "given", "command": "igr reconstruct <scan>.ply"}
    write_report(tmp_path / "page.html", surface, facts={"watertight": True, "seconds": 7.25})
    text = (tmp_path / "page.html").read_text()
    assert len(text) < 4_000_000
    assert not ADDRESS.search(text)
    titles = ["At the points", "Confidence", "While fitting", "Gradient length", "Configuration"]
    titles += ["In 3D", "Cuts"] if len(center) == 3 else ["The field"]
    for expected in ("igr reconstruct &lt;scan&gt;.ply", "yes", "7.25", "median", *titles):
        assert expected in text


def test_a_page_shows_the_colors_of_the_scan_in_3d(tmp_path):
    surface = sphere_surface()
    surface.measured = Measured({"colors": np.full((len(surface.samples), 3), [255, 0, 0], np.uint8)})
    write_report(tmp_path / "page.html", surface)
    blocks = re.findall(r"[A-Za-z0-9+/=]{20000,}", (tmp_path / "page.html").read_text().split("srcdoc=")[1])
    (scene,) = (data for data in map(base64.b64decode, blocks) if data.startswith(b"glTF"))
    loaded = trimesh.load(io.BytesIO(scene), file_type="glb", process=False)
    shape = next(part for part in loaded.geometry.values() if isinstance(part, trimesh.Trimesh))
    assert (shape.visual.vertex_attributes["color"] == [255, 0, 0, 255]).all()


def test_a_mesh_has_a_page_too(tmp_path):
    torus = trimesh.creation.torus(2, 0.5)
    write_mesh_report(tmp_path / "page.html", (np.asarray(torus.vertices), np.asarray(torus.faces)), name="<ring>")
    text = (tmp_path / "page.html").read_text()
    assert "&lt;ring&gt;" in text
    assert re.search(r"handles</td><td>1<", text)
    assert not ADDRESS.search(text)


def test_a_cut_of_a_circle_shows_circles_and_its_points():
    drawing = cut(sphere_surface(2.0, (10.0, 20.0)), (0, 1), points=100)
    zero = re.search(r'points="([^"]*)" fill="none" stroke="#222"', drawing).group(1)
    places = np.array([[float(x) for x in place.split(",")] for place in zero.split()])
    radius = np.linalg.norm(places - 200, axis=1)
    assert radius.std() < 0.5
    circles = np.array(re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawing), float)
    np.testing.assert_allclose(np.linalg.norm(circles - 200, axis=1), radius.mean(), atol=1)


def test_bars_and_curves_are_as_high_as_the_numbers():
    bars = np.array(re.findall(r'height="([\d.]+)"', histogram(np.array([0.1] * 30 + [0.9] * 10), "x", high=1.0)))
    assert sorted(bars.astype(float))[-2:] == [pytest.approx(140 / 3, abs=0.1), 140]
    line = re.search(
        r'polyline points="([^"]*)"', curves({"a": np.array([1.0, 0.1])}, np.array([1.0, 2.0]))
    ).group(1)
    assert line == "340.0,0.0 640.0,300.0"
    assert curves({"a": np.zeros(3)}, np.arange(3.0)) == ""


def test_a_mesh_of_many_triangles_is_shown_with_fewer(tmp_path):
    ball = trimesh.creation.icosphere(subdivisions=6)
    mesh = np.asarray(ball.vertices), np.asarray(ball.faces)
    write_mesh_report(tmp_path / "page.html", mesh, name="ball")
    text = (tmp_path / "page.html").read_text()
    assert "In 3D" in text
    assert "81,920" in text
    assert len(text) < 4_000_000
    tangled = np.concatenate([mesh[1], [[0, 1, 2], *mesh[1][:1, [0, 1, 1]]], [[*mesh[1][0, :2], 2]]])
    write_mesh_report(tmp_path / "page.html", (mesh[0], tangled), name="tangled")
    text = (tmp_path / "page.html").read_text()
    assert "In 3D" in text
    assert len(text) < 4_000_000
