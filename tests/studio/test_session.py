"""A scan on its way to its surface: read, looked at, fitted, cancelled; what fails leaves everything as it was."""

import dataclasses
import threading

import numpy as np
import pytest
import trimesh

import igr
from igr.config import FeatureConfig
from igr.mesh.write import ply_bytes
from igr.show.words import noise, outcome
from igr.studio import session as module
from igr.studio.session import Session, look

FEW = FeatureConfig(levels=3, coarsest=4, finest=16, log2_rows=12, width=32, start_levels=3)
PLAIN = dataclasses.replace(igr.FAST.objective, warm_start=0.0, far_sign=0.0)
SMALL = dataclasses.replace(igr.FAST, adapt=False, objective=PLAIN, network=FEW)
QUICK = {"options": igr.Options(steps=60), "config": SMALL}


def sphere_points(count=300, radius=50.0):
    points = np.random.default_rng(1).normal(size=(count, 3))
    return radius * points / np.linalg.norm(points, axis=1)[:, None]


@pytest.fixture
def ball(tmp_path):
    points = sphere_points()
    colors = np.full(points.shape, [200, 40, 10], np.uint8)
    (tmp_path / "ball.ply").write_bytes(ply_bytes(points, None, None, colors, normals=points / 50))
    return tmp_path / "ball.ply"


def test_a_scan_goes_from_its_file_to_its_surface(ball):
    stages, meshes = [], []
    session = Session(lambda: stages.append(session.stage), meshes.append, **QUICK)
    session.read(ball)
    assert session.stage == "scan"
    assert "300 points with normals and colors" in session.told
    assert "no stray points" in session.told
    assert any(line.startswith("size 9") for line in session.told)
    session.fit()
    assert session.stage == "surface"
    assert session.problem == ""
    assert session.surface is not None
    assert abs(np.linalg.norm(session.surface.mesh(resolution=32).vertices, axis=1) - 50).max() < 5
    assert "closed, with points all around" in session.told
    assert meshes, "the surface was not seen growing"
    assert [stage for stage, next_ in zip(stages, [*stages[1:], ""], strict=True) if stage != next_] == [
        *("reading", "scan", "fitting", "surface")
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.ply", b"ply\nformat nonsense\n", "not understood"),
        ("a.xyz", b"1 2 3\n" * 3, "at least 10"),
        ("a.docx", b"\x00\x01\x02", "unknown format"),
        ("a.xyz", b"".join(b"%d %d\n" % (k % 7, k * k) for k in range(40)), "planar"),
    ],
)
def test_what_is_no_scan_is_told_as_on_the_command_line(ball, tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    session = Session()
    session.read(ball)
    before = session.scan
    session.read(tmp_path / name)
    assert told in session.problem
    assert session.stage == "scan"
    assert session.scan is before
    session.read(ball)
    assert session.problem == ""


def test_a_missing_file_is_told(tmp_path):
    session = Session()
    session.read(tmp_path / "none.ply")
    assert "none.ply" in session.problem
    assert session.stage == "empty"
    session.fit()
    assert session.stage == "empty"


def test_a_cancelled_fit_leaves_the_scan_and_the_surface_before(ball):
    session = Session(**QUICK)
    session.read(ball)
    session.fit()
    before = session.surface
    session.changed = lambda: session.cancel() if session.progress and not session.cancelling else None
    session.fit()
    assert session.problem == "cancelled"
    assert session.stage == "surface"
    assert session.surface is before
    session.changed = lambda: None
    session.fit()
    assert session.surface is not before


def test_two_things_at_once_are_refused(ball):
    refused = []
    session = Session(**QUICK)
    session.read(ball)

    def meddle():
        if session.progress and not refused:
            refused.append("")
            other = threading.Thread(target=session.read, args=(ball,))
            other.start()
            other.join()
            refused[0] = session.problem

    session.changed = meddle
    session.fit()
    assert refused == ["a scan is being fitted; cancel that first"]
    assert session.stage == "surface"


def test_a_large_scan_is_looked_at_in_part(monkeypatch):
    monkeypatch.setattr(module, "LOOK", 500)
    points = sphere_points(2000)
    scan = look(igr.as_cloud(points))
    assert "judged by 500 of the points" in scan.told
    assert any(line.startswith("neighboring points are") for line in scan.told)
    np.testing.assert_allclose(np.abs(scan.frame.to_unit(points)).max(), 0.9, atol=0.02)


def test_strays_noise_and_openness_are_told(tmp_path):
    rng = np.random.default_rng(2)
    sheet = np.c_[rng.uniform(-1, 1, (3000, 2)), np.zeros(3000)] + rng.normal(0, 0.01, (3000, 3))
    scan = look(igr.as_cloud(np.concatenate([sheet, [[9, 9, 9]]])))
    assert "left out 1 stray point, far from all others" in scan.told
    assert "it looks open, like a sheet" in scan.told
    assert any("noisy" in line for line in scan.told)
    assert "clean" in noise(1.0, 0.01)


def test_the_outcome_says_where_an_open_surface_ends():
    from analytic import sphere_surface

    surface = sphere_surface()
    surface.details |= {"open": True, "invented": 0.4, "fit": {"residual": 0.0123}, "spacing": 1.0, "noise": 0.5}
    told = outcome(surface)
    assert "closed, 40% of it would be invented" in told[0]
    assert "0.012 from it" in told[1]
    assert "noisy" in told[2]


def test_vertices_of_a_mesh_file_are_a_scan(tmp_path):
    trimesh.creation.icosphere(subdivisions=3).export(tmp_path / "part.stl")
    session = Session()
    session.read(tmp_path / "part.stl")
    assert session.stage == "scan"
