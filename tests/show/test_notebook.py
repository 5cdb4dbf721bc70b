"""Clouds and surfaces show themselves in notebooks; the example runs; nothing heavy is imported early."""

import ast
import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from analytic import sphere_surface

import igr
from igr.errors import FitError
from igr.show import notebook

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "notebook.ipynb"


def pictures(card):
    return [base64.b64decode(data) for data in re.findall(r"base64,([^\"]+)", card)]


def test_a_surface_shows_its_picture_its_size_and_its_pieces():
    surface = sphere_surface(50.0)
    surface.details |= {"name": "<ball>.ply", "invented": 0.0}
    card = surface._repr_html_()
    (picture,) = pictures(card)
    assert picture.startswith(b"\x89PNG")
    for words in ("&lt;ball&gt;.ply", "size 9", "1 piece, watertight", "closed"):
        assert words in card
    assert len(card) < 200_000


def test_a_curve_shows_itself_as_a_drawing():
    assert "<svg" in sphere_surface(2.0, (1.0, 2.0))._repr_html_()


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_cloud_shows_its_points(dimension):
    points = np.random.default_rng(0).normal(size=(500, dimension))
    colors = np.full((500, 3), [200, 0, 0], np.uint8)
    card = igr.as_cloud(points, attributes={"colors": colors})._repr_html_()
    assert "500 points with colors" in card
    assert len(pictures(card)) == 1


def test_points_in_front_hide_those_behind():
    front = np.c_[np.random.default_rng(0).uniform(-1, 1, (4000, 2)), np.ones(4000)]
    cloud = igr.as_cloud(
        np.concatenate([front, front * [1, 1, -1]]),
        attributes={"colors": np.repeat([[255, 0, 0], [0, 0, 255]], 4000, axis=0).astype(np.uint8)},
    )
    image = notebook._dots(cloud, notebook.View(-90.0, 90.0, 64))
    assert (image[20:44, 20:44, 0].astype(int) > image[20:44, 20:44, 2]).mean() > 0.9


def test_a_card_says_why_it_has_no_picture(monkeypatch):
    def fail(*arguments, **options):
        raise FitError("there is no surface")

    surface = sphere_surface()
    monkeypatch.setattr(surface, "triangles", fail)
    assert "no picture: there is no surface" in surface._repr_html_()


def test_a_bar_shows_the_share_and_the_time_left(monkeypatch):
    shown = []
    bar = notebook.Bar()
    monkeypatch.setattr(notebook, "_html", lambda text: text)
    bar.__dict__["_display"] = SimpleNamespace(update=shown.append)
    bar(SimpleNamespace(share=0.25, seconds_left=9.0), None)
    bar(SimpleNamespace(share=0.26, seconds_left=9.0), None)
    bar(SimpleNamespace(share=1.0, seconds_left=0.0), None)
    assert ["25%, 9 s left" in shown[0], "100%" in shown[-1], len(shown)] == [True, True, 2]


def test_a_cloud_is_read_without_what_only_pictures_need():
    heavy = ("PIL", "igr.show.notebook")
    code = f"import igr, sys; igr.as_cloud; igr.Surface; print(*(m in sys.modules for m in {heavy}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


@pytest.mark.slow
def test_the_example_notebook_runs(tmp_path, monkeypatch):
    """Cell by cell, as a notebook does: the last expression of each is shown, by its card where it has one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(notebook.Bar, "__call__", lambda self, progress, field: None)
    names, cards = {}, 0
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == []
        parsed = ast.parse("".join(cell["source"]))
        if isinstance(parsed.body[-1], ast.Expr):
            name = ast.Name("shown", ast.Store())
            parsed.body[-1] = ast.Assign([name], parsed.body[-1].value)
        exec(compile(ast.fix_missing_locations(parsed), "cell", "exec"), names)
        cards += "<img" in getattr(names.pop("shown", None), "_repr_html_", str)()
    assert cards == 2
    assert (tmp_path / "body_mesh.ply").stat().st_size > 10_000
