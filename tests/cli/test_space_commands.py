"""The README's second example: from scans to a trained space, unseen scans, interpolation."""

import itertools
import json

import numpy as np
import pytest
import torch
import trimesh
from families import SMALL

from igr.cli.main import main
from igr.errors import FitError
from igr.space.network import SpaceField, SpaceNetwork, make_network
from igr.space.space import ShapeSpace
from igr.surface.surface import Surface


@pytest.mark.slow
def test_preprocess_train_eval_interpolate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["example", "dfaust", "family"]) == 0
    preprocess = ["dfaust", "preprocess", "--src-path", "family", "--out-path", "samples"]
    assert main([*preprocess, "--samples", "5000"]) == 0
    split = ["--split", "family/splits/train_all.json"]
    assert main(["shapespace", "train", "samples", *split, "--run", "space", "--steps", "300"]) == 0
    held = ["--split", "family/splits/test_all.json"]
    capsys.readouterr()
    evaluate = ["shapespace", "eval", "space", "samples", *held, "-o", "out"]
    assert main([*evaluate, "--resolution", "64", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["scans"]
    assert rows == json.loads((tmp_path / "out" / "errors.json").read_text())["scans"]
    for row in rows:
        mesh = trimesh.load_mesh(tmp_path / "out" / f"{row['scan']}.ply")
        truth = trimesh.load_mesh(tmp_path / "family" / "scans" / f"{row['scan']}.ply")
        assert row["percent_of_size"] < 2.5
        np.testing.assert_allclose(mesh.centroid, truth.centroid, atol=0.1)  # the scan's own frame
    names = [row["scan"] for row in json.loads((tmp_path / "out" / "errors.json").read_text())["scans"]]
    trained = sorted(path.relative_to(tmp_path / "samples/dfaust_processed").with_suffix("").as_posix()
                     for path in (tmp_path / "samples").rglob("*.npy"))  # fmt: skip
    first, second = [name for name in trained if name not in names][:2]
    interpolate = ["shapespace", "interpolate", "space", first, second]
    assert main([*interpolate, "--interval", "3", "--resolution", "48"]) == 0
    assert len(list((tmp_path / "interpolation").glob("*.ply"))) == 3
    assert main(["shapespace", "sample", "space", "--count", "2", "--resolution", "48", "-o", "new"]) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["000.ply", "001.ply"]
    for name in ("map.svg", "map.csv"):
        assert main(["shapespace", "latents", "space", "-o", name]) == 0
        assert "person" in (tmp_path / name).read_text()
    assert main(["shapespace", "latents", "space", "-o", "map.png"]) == 2


@pytest.mark.slow
def test_the_shipped_space_knows_a_body_it_never_saw(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["example", "body", "body.ply", "--reference"]) == 0
    assert main(["shapespace", "eval", "bodies", "body.ply", "-o", "out", "--resolution", "96", "--json"]) == 0
    printed = capsys.readouterr().out
    (row,) = json.loads(printed[printed.index("{") :])["scans"]
    assert row["watertight"]
    assert row["kept_share_of_area"] > 0.99
    assert trimesh.load("out/body.ply").body_count == 1
    assert row["percent_of_size"] < 0.5  # millimetres, off the origin, noisy


@pytest.mark.parametrize("command", ["interpolate", "sample"])
def test_a_shape_without_a_surface_does_not_stop_the_others(tmp_path, monkeypatch, capsys, command):
    space = tmp_path / "space.safetensors"
    network = SpaceNetwork(make_network(SMALL, 3), torch.zeros(2, 4))
    ShapeSpace(SpaceField(network), SMALL, names=("a", "b"), scale=1.0, reach=1.0).save(space)
    plain, calls = Surface.mesh, itertools.count()

    def perhaps(self, **more):
        if next(calls) in lost:
            raise FitError("there is no surface")
        return plain(self, **more)

    monkeypatch.setattr(Surface, "mesh", perhaps)
    ends = ["a", "b", "--interval", "3"] if command == "interpolate" else ["--count", "3"]
    args = ["shapespace", command, str(space), *ends, "--resolution", "16", "-o", str(tmp_path / "out")]
    lost = {1}
    assert main(args) == 1
    captured = capsys.readouterr()
    assert "igr: failed: shape 2 of 3: there is no surface" in captured.err
    assert "wrote 2 meshes" in captured.out
    assert "failed 1" in captured.out
    played = {"interpolation.glb"} if command == "interpolate" else set()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"000.ply", "002.ply"} | played
    lost = range(100)
    assert main(args) == 1
    assert "none of the 3 shapes has a surface" in capsys.readouterr().err


def test_a_missing_space_and_a_missing_scan_are_named(tmp_path, capsys):
    assert main(["shapespace", "eval", str(tmp_path / "nothing"), str(tmp_path)]) == 2
    assert "has no scans" in capsys.readouterr().err
    assert main(["shapespace", "train", str(tmp_path / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err
