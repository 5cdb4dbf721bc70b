"""The subcommand images: what it writes, prints and refuses."""

import json

import numpy as np
import pytest
import trimesh
from photographed import ball

from igr.cli.main import main
from igr.examples import write_photographs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("photographs") / "ball"
    write_photographs(home, ball(6, pixels=48, color=lambda x: 0.5 + 0.3 * np.sin(2 * x)))
    return home


def test_the_hull_is_written_in_the_cameras_units(folder, tmp_path, capsys):
    assert main(["images", str(folder), "--hull", "-o", str(tmp_path / "hull.ply"), "--resolution", "48"]) == 0
    told = capsys.readouterr()
    assert "6 photographs of 48 x 48 with masks and cameras" in told.err
    assert f"wrote {tmp_path / 'hull.ply'} in" in told.out
    mesh = trimesh.load(tmp_path / "hull.ply")
    assert mesh.is_watertight
    assert np.abs(mesh.vertices.mean(0) - [5, 0, -2]).max() < 0.2


def test_mesh_model_and_figures_are_written(folder, tmp_path, capsys):
    paths = {name: tmp_path / name for name in ("ball.ply", "ball.igr")}
    options = ["--steps", "20", "--held-out", "1", "--resolution", "48", "--json"]
    asked = ["images", str(folder), "-o", str(paths["ball.ply"]), "--model", str(paths["ball.igr"]), *options]
    assert main(asked) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["held_out"]["views"] == 1
    assert result["watertight"] is True
    assert result["fit"]["steps"] == 20
    assert trimesh.load(paths["ball.ply"]).visual.kind == "vertex"
    assert main(["mesh", str(paths["ball.igr"]), "-o", str(tmp_path / "again.ply"), "--resolution", "48"]) == 0
    assert (tmp_path / "again.ply").read_bytes() == paths["ball.ply"].read_bytes()


def test_a_run_goes_on_where_it_ended(folder, tmp_path, capsys):
    asked = [
        "images",
        str(folder),
        "-o",
        str(tmp_path / "ball.ply"),
        "--run",
        str(tmp_path / "run"),
        "--resolution",
        "32",
    ]
    asked += ["--refine-cameras", "--json"]
    assert main([*asked, "--steps", "12"]) == 0
    assert json.loads(capsys.readouterr().out)["cameras_mended"]["turned_degrees"] > 0
    assert main([*asked, "--steps", "14"]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main([*asked, "--steps", "14", "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["fit"]["steps"] == 14
    assert (tmp_path / "run" / "checkpoints" / "000014.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resolution", "3"], "--resolution 3 is out of range"),
        (["--pixels", "3"], "PhotoOptions.pixels is 3"),
        (["--steps", "0"], "Config.steps is 0"),
        (["--held-out", "5"], "5 cannot be held out"),
        (["--resume", "--overwrite"], "--resume continues a run and --overwrite replaces it"),
        (["--cameras", "others.npz"], "holds no cameras: neither others.npz"),
        (["-o", "mesh.png"], "a mesh is written as"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(folder, options, words, capsys):
    assert main(["images", str(folder), *options]) == 2
    assert words in capsys.readouterr().err
