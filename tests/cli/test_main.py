"""The command line: results, messages, exit status, interruption."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
import shapes
import trimesh

import igr
from igr.cli.main import main
from igr.cli.output import FitDisplay
from igr.errors import OutputError
from igr.fit.loop import Progress
from igr.fit.objective import Loss

QUICK = ["--steps", "60", "--resolution", "48"]


def run(*args):
    return main([str(arg) for arg in args])


@pytest.fixture
def ball(tmp_path):
    path = tmp_path / "my ball.ply"
    assert run("example", "sphere", path, "--points", 2000) == 0
    return path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A folder with a coarsely fitted ball, to be read only: the model ball.igr and the run folder run."""
    folder = tmp_path_factory.mktemp("fitted")
    small = dataclasses.replace(shapes.QUICK.network, levels=4, width=32)
    config, (points, normals) = dataclasses.replace(shapes.QUICK, network=small, steps=60), shapes.sphere(2000)
    surface = igr.reconstruct(points, normals=normals, config=config, options=igr.Options(run=folder / "run"))
    surface.save(folder / "ball.igr")
    return folder


def test_a_scan_becomes_a_mesh_beside_it(ball, capsys):
    assert run("reconstruct", ball, *QUICK) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith(f"wrote {ball.with_name('my ball_mesh.ply')} in ")
    assert "watertight, 1 component" in err
    mesh = trimesh.load(ball.with_name("my ball_mesh.ply"))
    assert np.linalg.norm(mesh.vertices, axis=1).mean() == pytest.approx(1, abs=0.02)
    assert not (ball.parent / "runs").exists()


def test_the_mesh_of_a_colored_scan_has_its_colors_unless_told_otherwise(tmp_path, capsys):
    points, normals = shapes.sphere(2000)
    values = {"colors": np.full((2000, 3), [9, 200, 30], np.uint8), "x": points[:, 0].copy()}
    cloud = igr.as_cloud(points, normals, attributes=values)
    igr.reconstruct(cloud, config=dataclasses.replace(shapes.QUICK, steps=60)).save(tmp_path / "a.igr")
    assert run("mesh", tmp_path / "a.igr", "-o", tmp_path / "a.ply", "--resolution", 32) == 0
    assert "attributes that cannot keep their names there are called scan_x" in capsys.readouterr().err
    mesh = trimesh.load(tmp_path / "a.ply", process=False)
    assert (mesh.visual.vertex_colors[:, :3] == [9, 200, 30]).all()
    found = mesh.metadata["_ply_raw"]["vertex"]["data"]
    assert abs(found["scan_x"] - found["x"]).max() < 0.2
    assert run("mesh", tmp_path / "a.igr", "-o", tmp_path / "b.ply", "--resolution", 32, "--no-attributes") == 0
    plain = trimesh.load(tmp_path / "b.ply", process=False).metadata["_ply_raw"]["vertex"]["data"]
    assert plain.dtype.names == ("x", "y", "z", "confidence")


def test_json_is_one_object_on_stdout(ball, tmp_path, capsys):
    assert run("reconstruct", ball, "-o", tmp_path / "a.stl", "--json", *QUICK) == 0
    out, _ = capsys.readouterr()
    result = json.loads(out.splitlines()[-1])
    assert result["watertight"] is True
    assert result["components"] == 1
    assert result["normals"] == "given"
    assert (tmp_path / "a.stl").exists()


def test_the_viewpoint_says_which_side_is_seen(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savetxt(tmp_path / "wall.xyz", np.c_[0.05 * rng.random(2000), rng.uniform(-1, 1, (2000, 2))])
    np.savetxt(tmp_path / "places.csv", [[-3, 0.5, 0], [-4, 0, 0]], delimiter=",")
    for where in (["--viewpoint", -3, 0, 0], ["--viewpoints", tmp_path / "places.csv"]):
        assert run("reconstruct", *where, tmp_path / "wall.xyz", "--steps", 60, "--resolution", 48) == 0
        assert "face where they were seen from" in capsys.readouterr().err
        mesh = trimesh.load_mesh(tmp_path / "wall_mesh.ply")
        assert (mesh.face_normals[:, 0] * mesh.area_faces).sum() < -0.9 * mesh.area


def test_the_version_is_the_packages(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"igr {version('igr')}\n"


def test_an_outline_becomes_a_curve_and_a_page(tmp_path):
    run("example", "outline", tmp_path / "leaf.xyz")
    fit = ["reconstruct", tmp_path / "leaf.xyz", "--steps", 150, "--run", tmp_path / "run"]
    assert run(*fit, "--report", tmp_path / "r.html") == 0
    assert "<svg" in (tmp_path / "leaf_curve.svg").read_text()
    assert run("report", tmp_path / "run", "-o", tmp_path / "page.html") == 0
    for page in ("r.html", "page.html"):
        assert "While fitting" in (tmp_path / page).read_text()


def test_a_curve_is_not_fitted_for_a_mesh_file(tmp_path, capsys):
    run("example", "outline", tmp_path / "leaf.xyz")
    assert run("reconstruct", tmp_path / "leaf.xyz", "-o", tmp_path / "leaf.ply") == 2
    assert "normals" not in capsys.readouterr().err, "said while the fit is prepared"
    assert not (tmp_path / "leaf.ply").exists()


def test_time_left_is_told_once_it_is_known(capsys):
    display = FitDisplay()

    def line(*progress):
        display.shown_at = -np.inf
        display.show(Progress(*progress, Loss({}, 0.0, np.empty(0), np.empty((0, 3)))))
        return capsys.readouterr().err

    assert "left" not in line(1, 0.0, 2.0)
    assert "left" not in line(20, 2e-4, 2.0)
    assert "20 s left" in line(500, 0.5, 20.0)
    assert "99900 s left" in line(100, 1e-3, 100.0), "a long run, long before its first percent"


def test_a_run_can_be_meshed_at_any_checkpoint_and_after_moving(fitted, tmp_path, capsys):
    shutil.copytree(fitted / "run", tmp_path / "moved")
    names = {path.name for path in (tmp_path / "moved").iterdir()}
    assert names >= {"config.json", "model.safetensors", "state.safetensors", "history.csv", "checkpoints"}
    for checkpoint in ("latest", "60"):
        target = tmp_path / f"{checkpoint}.obj"
        assert run("mesh", tmp_path / "moved", "-o", target, "--checkpoint", checkpoint, "--resolution", 48) == 0
        assert trimesh.load(target).is_watertight
    assert run("mesh", tmp_path / "moved", "-o", tmp_path / "x.obj", "--checkpoint", "7") == 2
    assert "has no checkpoint '7'; there are: 60" in capsys.readouterr().err


def test_a_saved_model_is_reported_rendered_and_evaluated(fitted, tmp_path, capsys):
    model = fitted / "ball.igr"
    assert run("report", model, "-o", tmp_path / "page.html") == 0
    text = (tmp_path / "page.html").read_text()
    assert "<html" in text
    assert len(text) < 4_000_000
    assert run("render", model, "-o", tmp_path / "p.png", "--pixels", 64) == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    trimesh.creation.icosphere(subdivisions=4).export(tmp_path / "truth.ply")
    capsys.readouterr()
    quick = ["--resolution", 64, "--samples", 20_000]
    assert run("evaluate", model, tmp_path / "truth.ply", "--json", *quick) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["chamfer"] < 0.02
    assert found["eikonal_band"] < 0.2


def test_a_result_is_judged_beside_poisson_and_colored(ball, tmp_path, capsys):
    pytest.importorskip("gpytoolbox")
    mesh, truth = tmp_path / "mesh.ply", tmp_path / "truth.ply"
    trimesh.creation.icosphere(subdivisions=3, radius=1.01).export(mesh)
    trimesh.creation.icosphere(subdivisions=5).export(truth)
    options = ["--cloud", ball, "--baseline", "poisson", "--depth", 6, "--samples", 20_000]
    assert run("evaluate", mesh, truth, *options, "--colored", tmp_path / "error.ply") == 0
    out = capsys.readouterr().out
    assert out.split()[:2] == ["mesh.ply", "poisson"]
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:]}
    assert float(rows["chamfer"][0]) == pytest.approx(0.01, abs=3e-3)
    assert float(rows["chamfer"][1]) < 0.03
    assert rows["genus"] == ["0", "0"]
    assert float(rows["ghost_area"][0]) == 0
    colored = trimesh.load(tmp_path / "error.ply", process=False)
    assert colored.visual.vertex_colors.shape == (len(colored.vertices), 4)
    assert (tmp_path / "error.png").read_bytes().startswith(b"\x89PNG")
    assert run("evaluate", mesh, truth, *options, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["poisson"]["watertight"] is True


def test_a_mesh_and_a_model_are_filmed(fitted, tmp_path):
    from PIL import Image

    model = tmp_path / "ball.model"
    shutil.copy(fitted / "ball.igr", model)
    trimesh.creation.icosphere(subdivisions=3).export(tmp_path / "mesh.ply")
    for source in (model, tmp_path / "mesh.ply"):
        film = tmp_path / "film.gif"
        assert run("render", source, "--turntable", film, "--pixels", 32, "--resolution", 24) == 0
        with Image.open(film) as image:
            assert image.n_frames == 48
        assert run("render", source, "-o", tmp_path / "top.png", "--view", "top", "--pixels", 64) == 0


def test_a_field_is_exported_for_other_programs(fitted, tmp_path, capsys):
    model = fitted / "ball.igr"
    for name in ("grid.vti", "grid.npz"):
        assert run("export", model, "-o", tmp_path / name, "--resolution", 16) == 0
        assert (tmp_path / name).stat().st_size > 4 * 16**3
    assert run("export", model, "-o", tmp_path / "grid.vtk") == 2
    assert "written as .vti, .npz or .onnx" in capsys.readouterr().err
    pytest.importorskip("onnx")
    assert run("export", model, "-o", tmp_path / "ball.onnx") == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["reconstruct", "none.ply"], "none.ply"),
        (["reconstruct"], "no scan given"),
        (["reconstruct", "{ball}", "-o", "a.doc"], "not .doc"),
        (["reconstruct", "{ball}", "-o", "nowhere/a.ply"], "there is no folder"),
        (["reconstruct", "{ball}", "--resolution", "3"], "out of range"),
        (["reconstruct", "{ball}", "--steps", "0"], "must be positive"),
        (["reconstruct", "{ball}", "--seed", "-1"], "is negative"),
        (["reconstruct", "{ball}", "--device", "warp9"], "warp9"),
        (["mesh", "{ball}"], "no saved model, or damaged"),
        (["example", "teapot", "x.ply"], "no example 'teapot'"),
        (["render", "{ball}", "-o", "x.gif"], "written as .png"),
        (["render", "{ball}", "-o", "x.png"], "no triangles"),
        (["render", "{ball}"], "nothing to draw"),
        (["render", "{ball}", "--turntable", "x.avi"], "written as .gif or .mp4"),
        (["render", "{ball}", "-o", "x.png", "--pixels", "3"], "out of range"),
        (["evaluate", "{ball}", "{ball}"], "no triangles"),
        (["evaluate", "{ball}", "{ball}", "--baseline", "poisson"], "name it with --cloud"),
        (["evaluate", "{ball}", "{ball}", "--colored", "x.obj"], "written as .ply"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_status_2(ball, args, message, capsys):
    assert run(*[arg.format(ball=ball) for arg in args]) == 2
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("igr: error: ")
    assert message in err
    assert "Traceback" not in err


def test_wrong_usage_is_status_2():
    with pytest.raises(SystemExit) as stopped:
        run("reconstruct", "--colour", "red")
    assert stopped.value.code == 2


def test_help_imports_nothing_heavy():
    code = "import sys, igr.cli.main\ntry:\n    igr.cli.main.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch', 'scipy', 'trimesh', 'igl', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reconstruction_needs_no_torch(ball):
    code = f"""import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError(name)
sys.meta_path.insert(0, NoTorch())
import igr.cli.main
assert igr.cli.main.main(["reconstruct", {str(ball)!r}, "--steps", "20", "--resolution", "16"]) == 0"""
    from igr.field import native

    if not native.available():
        pytest.skip(f"the native core is not built: {native.unavailable_reason()}")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


INTERRUPTED_SEARCH = """
import os, signal, threading
import numpy as np
from scipy.spatial import KDTree
import igr.cli.main

def search():
    points = np.random.default_rng(0).random((100_000, 3))
    tree = KDTree(points)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    while True:
        tree.query(points, 200, workers=-1)

igr.cli.main.tyro.extras.subcommand_cli_from_dict = lambda *args, **options: search
igr.cli.main.run()
"""


def test_ctrl_c_while_neighbors_are_searched_for_does_not_crash():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED_SEARCH], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "igr: interrupted\n")


INTERRUPTED_FIT = """
import os, signal
import igr.cli.main
from igr.fit.sampling import CloudSampler

plain = CloudSampler.__call__

def interrupted(self, step):
    if step == 40:
        os.kill(os.getpid(), signal.SIGINT)
    return plain(self, step)

CloudSampler.__call__ = interrupted
igr.cli.main.run()
"""


def test_ctrl_c_saves_and_resuming_gives_the_uninterrupted_result(ball, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["reconstruct", str(ball), "--steps", "100", "--resolution", "32", "-o"]
    assert run(*arguments, "whole.ply") == 0
    command = [sys.executable, "-c", INTERRUPTED_FIT, *arguments, "part.ply"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "saved in runs/my ball; the same command with --resume continues" in done.stderr
    assert not (tmp_path / "part.ply").exists()
    assert run(*arguments, "part.ply", "--resume") == 0
    assert (tmp_path / "part.ply").read_bytes() == (tmp_path / "whole.ply").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--baseline", "poisson"], "name it with --cloud SCAN"),
        (["--samples", "0"], "--samples 0 must be positive"),
        (["--depth", "15"], "--depth 15 is out of range; use 1 to 14"),
        (["--colored", "errors.obj"], "colored meshes are written as .ply"),
        (["--colored", "nowhere/errors.ply"], "nowhere"),
    ],
)
def test_what_does_not_go_together_is_refused_before_measuring(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    assert run("evaluate", "not_opened.ply", "not_opened_either.ply", *options) == 2
    assert message in capsys.readouterr().err


def test_a_refused_run_leaves_no_file(tmp_path):
    (tmp_path / "bad.xyz").write_text("1 2 3\n4 5\n")
    before = sorted(os.listdir(tmp_path))
    assert run("reconstruct", tmp_path / "bad.xyz") == 2
    assert sorted(os.listdir(tmp_path)) == before


def test_an_original_configuration_is_run(ball, tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("pyhocon")
    (tmp_path / "setup.conf").write_text(
        f'train {{ input_path = "{ball}", d_in = 3, status_frequency = 5 }}\n'
        "network.inputs { dims = [16, 16, 16], skip_in = [2] }\nplot.resolution = 24\n"
    )
    assert run("reconstruct", "--conf", tmp_path / "setup.conf", "--steps", 3) == 0
    assert "status_frequency has no effect here" in capsys.readouterr().err


def test_a_family_of_scans_is_split_and_sampled(tmp_path, capsys):
    assert run("example", "dfaust", tmp_path / "family") == 0
    assert run("dfaust", "split", tmp_path / "family", "-o", tmp_path / "splits") == 0
    assert (tmp_path / "splits" / "train_all.json").exists()
    folders = ["--src-path", tmp_path / "family", "--out-path", tmp_path / "out"]
    subject = next((tmp_path / "family" / "scans").iterdir()).name
    options = ["--names", subject, "--samples", 500, "--workers", 1]
    assert run("dfaust", "preprocess", *folders, *options) == 0
    samples = sorted((tmp_path / "out" / "dfaust_processed" / subject).glob("*/*.npy"))
    assert len(samples) == 12
    assert np.load(samples[0]).shape == (500, 6)
    damaged = next((tmp_path / "family" / "scans" / subject).glob("*/*.ply"))
    damaged.write_bytes(b"ply\n")
    capsys.readouterr()
    assert run("dfaust", "preprocess", *folders, *options) == 1
    out, err = capsys.readouterr()
    assert "sampled 11 scans, skipped 0, failed 1" in out
    assert damaged.name in err


def test_another_cloud_in_a_run_folder_is_not_continued(ball, tmp_path, capsys):
    other = tmp_path / "torus.ply"
    run("example", "torus", other, "--points", 1000)
    assert run("reconstruct", ball, "--run", tmp_path / "run", *QUICK) == 0
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert run("reconstruct", other, "--run", tmp_path / "run", "--resume", *QUICK) == 2
    assert "holds a run on other data; choose another --run folder" in capsys.readouterr().err
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_a_run_is_not_overwritten_without_being_told_to(ball, tmp_path, monkeypatch, capsys):
    command = ["reconstruct", ball, "--run", tmp_path / "run", "--steps", 30, "--resolution", 32]
    assert run(*command) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr("igr.cloud.pointcloud.as_cloud", None)  # no work is done before it is refused
        assert run(*command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "run holds a run already: --resume continues it, --overwrite starts anew" in line
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert run(*command, "--resume", "--overwrite") == 2
    assert "give one of them" in capsys.readouterr().err
    assert run(*command, "--resume") == 0
    (tmp_path / "run" / "state.safetensors").unlink()
    assert run(*command, "--resume") == 2
    assert "no state.safetensors to resume" in capsys.readouterr().err


def test_a_new_run_takes_the_whole_folder(ball, tmp_path):
    command = ["reconstruct", ball, "--run", tmp_path / "run", "--resolution", 32]
    assert run(*command, "--steps", 30) == 0
    assert run(*command, "--steps", 20, "--overwrite") == 0
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["000020.safetensors"]


def test_a_run_keeps_a_bounded_number_of_checkpoints(ball, tmp_path, monkeypatch):
    monkeypatch.setattr("igr.store.run.KEPT", 4)
    run(
        "reconstruct", ball, "--run", tmp_path / "run", "--save-seconds", "1e-9", "--steps", 25, "--resolution", 32
    )
    kept = sorted(int(path.stem) for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept[-1] == 25
    assert len(kept) <= 5


def test_a_run_that_cannot_be_saved_at_the_end_still_gives_its_mesh(ball, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OutputError("run/state.safetensors cannot be written (No space left on device)")

    monkeypatch.setattr("igr.store.run.RunFolder.save", full)
    assert run("reconstruct", ball, "-o", tmp_path / "m.ply", "--run", tmp_path / "run", *QUICK) == 1
    assert "the run is not saved: run/state.safetensors cannot be written" in capsys.readouterr().err
    assert trimesh.load(tmp_path / "m.ply").is_watertight


def test_two_scans_of_one_name_do_not_share_a_run(ball, tmp_path, monkeypatch, capsys):
    """Nobody named a folder: each long run, here every one, is kept in the next that is free."""
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other" / ball.name
    other.parent.mkdir()
    run("example", "torus", other, "--points", 1000)
    capsys.readouterr()
    for scan in (ball, other):
        assert run("reconstruct", scan, "--steps", 20, "--resolution", 24, "--save-seconds", "1e-9") == 0
        folder = "runs/my ball" if scan == ball else "runs/my ball-2"
        assert f"saved in {folder}; the same command with " in capsys.readouterr().err
    first, second = (tmp_path / "runs" / f"{name}/model.safetensors" for name in ("my ball", "my ball-2"))
    before = first.read_bytes()
    assert before != second.read_bytes()
    quick = ["--steps", 10, "--resolution", 24, "--save-seconds", "1e-9"]
    assert run("reconstruct", other, *quick, "--overwrite") == 0
    assert first.read_bytes() != before
    assert sorted(os.listdir(tmp_path / "runs")) == ["my ball", "my ball-2"]


@pytest.mark.parametrize("name", ["n" * 300, "there/" + "n" * 300])
def test_a_name_longer_than_names_can_be_is_refused_in_a_sentence(ball, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    for arguments in (["reconstruct", f"{name}.ply"], ["reconstruct", ball, "-o", f"{name}.ply"],
                      ["reconstruct", ball, "--model", name], ["mesh", name], ["view", name]):  # fmt: skip
        assert run(*arguments) == 2
        assert "File name too long" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--model", "--report", "-o"])
def test_outputs_that_cannot_be_written_are_refused_before_the_work(ball, tmp_path, option, capsys):
    suffix = ".ply" if option == "-o" else ".igr"
    assert run("reconstruct", ball, "--steps", 10**9, option, tmp_path / "missing" / f"x{suffix}") == 2
    assert "there is no folder" in capsys.readouterr().err


def test_what_runs_out_of_memory_says_so_in_one_sentence(tmp_path, monkeypatch, capsys):
    def no_memory(*given, **options):
        raise MemoryError

    monkeypatch.setattr("igr.cloud.pointcloud.as_cloud", no_memory)
    np.savetxt(tmp_path / "scan.xyz", np.random.default_rng(0).normal(size=(100, 3)))
    assert main(["reconstruct", str(tmp_path / "scan.xyz")]) == 1
    said = capsys.readouterr().err
    assert "igr: failed: memory ran out; use fewer points" in said
    assert "Traceback" not in said


def test_a_reader_who_has_seen_enough_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    command, told = [sys.executable, "-m", "igr", "--help"], subprocess.PIPE
    done = subprocess.run(command, stdout=writer, stderr=told, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
