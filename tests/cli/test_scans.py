"""Many clouds: every one is tried, failures come last, a second run continues, ranks share the work."""

import csv
import json

import numpy as np
import pytest
import trimesh

from igr.cli.main import main

QUICK = ["--steps", "20", "--resolution", "24"]


def run(*args):
    return main([str(arg) for arg in args])


def table(path):
    with path.open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    (folder / "deep").mkdir(parents=True)
    for index, name in enumerate(("a", "c", "deep/d")):
        assert run("example", "sphere", folder / f"{name}.ply", "--points", 500, "--seed", index) == 0
    (folder / "b.xyz").write_text("1 2 3\n4 5\n")
    return folder


def test_every_scan_is_tried_and_failures_come_last(scans, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("reconstruct", scans, "-o", out, *QUICK) == 1
    assert {path.name for path in out.rglob("*.ply")} == {"a_mesh.ply", "c_mesh.ply", "d_mesh.ply"}
    rows = table(out / "results.csv")
    assert [rows[name]["status"] for name in ("a", "b", "c", "deep/d")] == ["done", "failed", "done", "done"]
    assert "line 2" in rows["b"]["message"]
    assert rows["a"]["watertight"] == "True"
    assert rows["a"]["points"] == "500"
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-2].startswith("igr: failed: b: ")
    assert "4 scans, 1 of them failed" in captured.err.splitlines()[-1]
    assert captured.out.count("wrote ") == 3


def test_files_work_like_a_folder_and_keep_what_is_asked_for(scans, tmp_path, capsys):
    out = tmp_path / "out"
    files = [scans / "a.ply", scans / "c.ply"]
    assert run("reconstruct", *files, "-o", out, "--model", tmp_path / "models", "--json", *QUICK) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["scan"] for result in results] == [str(path) for path in files]
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"a.igr", "c.igr"}
    run("reconstruct", files[0], "-o", tmp_path / "alone.ply", *QUICK)
    assert (tmp_path / "alone.ply").read_bytes() == (out / "a_mesh.ply").read_bytes()


def test_a_second_run_continues(scans, tmp_path, capsys):
    out = tmp_path / "out"
    run("reconstruct", scans, "-o", out, *QUICK)
    first = (out / "a_mesh.ply").stat().st_mtime_ns
    (out / "c_mesh.ply").unlink()
    trimesh.creation.icosphere(subdivisions=3).export(scans / "e.ply")
    (scans / "b.xyz").unlink()
    capsys.readouterr()
    assert run("reconstruct", scans, "-o", out, "--skip", *QUICK) == 0
    assert capsys.readouterr().out.count("wrote ") == 2
    assert (out / "a_mesh.ply").stat().st_mtime_ns == first
    rows = table(out / "results.csv")
    assert list(rows) == ["a", "c", "deep/d", "e"]
    assert {row["watertight"] for row in rows.values()} == {"True"}


def test_a_stopped_second_run_keeps_the_rows_of_all_finished_scans(scans, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    (scans / "b.xyz").unlink()
    assert run("reconstruct", scans, "-o", out, *QUICK) == 0
    before = table(out / "results.csv")
    (out / "a_mesh.ply").unlink()

    def stopped(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("igr.cli.scans._one", stopped)
        assert run("reconstruct", scans, "-o", out, "--skip", *QUICK) == 130
    assert table(out / "results.csv") == {name: row for name, row in before.items() if name != "a"}
    assert run("reconstruct", scans / "a.ply", scans / "c.ply", "-o", out, "--skip", *QUICK) == 0
    assert list(table(out / "results.csv")) == ["a", "c", "deep/d"]
    assert table(out / "results.csv")["deep/d"] == before["deep/d"]


@pytest.mark.parametrize("content", ["\0\0", "name,status\na,done,more\n", "name,status\na\n", "a,b\n1,2\n", ""])
def test_a_damaged_table_is_said_and_left_as_it_is(scans, tmp_path, content, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.csv").write_text(content)
    assert run("reconstruct", scans, "-o", out, "--skip", *QUICK) == 2
    assert "results.csv is damaged" in capsys.readouterr().err
    assert (out / "results.csv").read_text() == content


def test_ranks_share_the_scans(scans, tmp_path, monkeypatch):
    out = tmp_path / "out"
    (scans / "b.xyz").unlink()
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        assert run("reconstruct", scans, "-o", out, *QUICK) == 0
    assert list(table(out / "results.0.csv")) == ["a", "deep/d"]
    assert list(table(out / "results.1.csv")) == ["c"]
    monkeypatch.setenv("RANK", "2")
    assert run("reconstruct", scans, "-o", out, *QUICK) == 2
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert run("reconstruct", scans, "-o", out, "--skip", *QUICK) == 0
    assert {row["points"] for row in table(out / "results.csv").values()} == {"500"}


def test_a_planar_scan_becomes_a_curve_and_is_skipped_later(tmp_path, capsys):
    angle = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    (tmp_path / "scans").mkdir()
    np.savetxt(tmp_path / "scans" / "ring.xyz", np.c_[np.cos(angle), np.sin(angle)])
    assert run("reconstruct", tmp_path / "scans", "-o", tmp_path / "out", "--steps", 60) == 0
    assert (tmp_path / "out" / "ring_curve.svg").exists()
    capsys.readouterr()
    assert run("reconstruct", tmp_path / "scans", "-o", tmp_path / "out", "--steps", 60, "--skip") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["{scans}"], "need a folder for their results"),
        (["{scans}", "-o", "{scans}"], "a folder of their own"),
        (["{scans}", "-o", "{scans}/all.ply"], "is no folder"),
        (["{scans}", "-o", "out", "--run", "r"], "--run is for one scan"),
        (["{scans}/a.ply", "{scans}/a.ply", "-o", "out"], "would get one name"),
    ],
)
def test_what_does_not_go_together_is_refused(scans, tmp_path, monkeypatch, args, message, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("reconstruct", *[arg.format(scans=scans) for arg in args]) == 2
    assert message in capsys.readouterr().err
