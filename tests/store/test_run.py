"""Run folders: one process at a time, resumed from one state only, never overwritten unasked."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import igr
from igr.errors import InputError, OutputError
from igr.store.claim import open_run
from igr.store.run import STATE, RunFolder
from igr.store.tensors import read_tensors

ANGLE = np.linspace(0, 2 * np.pi, 200, endpoint=False)
CIRCLE = np.c_[np.cos(ANGLE), np.sin(ANGLE)]
STEPS = 12


def test_a_run_folder_belongs_to_one_process_until_that_ends(tmp_path):
    script = "import sys; from igr.store.run import RunFolder; run = RunFolder(sys.argv[1]); run.claim(); "
    script += "print(1, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, tmp_path / "run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(InputError, match=rf"run is in use by process {other.pid} on .*another folder"):
            RunFolder(tmp_path / "run").claim()
        other.kill()
    with open_run(tmp_path / "run", at_once=True), pytest.raises(InputError, match=f"process {os.getpid()}"):
        RunFolder(tmp_path / "run").claim()
    with open_run(tmp_path / "run", at_once=True):
        pass


class Killed(BaseException):
    """Ends a process at once."""


def fit(folder, *, steps=STEPS, cloud=CIRCLE, stop=None, **told):
    """A short run in a folder, perhaps stopped after a step."""
    options = igr.Options(run=folder, **told)
    config = dataclasses.replace(igr.FAST, steps=steps)
    return igr.reconstruct(
        cloud, normals=CIRCLE, config=config, options=options, on_step=lambda now, _: now.step == stop
    )


def interrupted(folder, stop, **told):
    with pytest.raises(KeyboardInterrupt):
        fit(folder, stop=stop, **told)


def killed_before_rename(number, patch):
    """From here on the process dies instead of its `number`-th renaming of a file."""
    rename, renamed = os.replace, []

    def dies(*names):
        if len(renamed) == number:
            raise Killed
        renamed.append(names)
        rename(*names)

    patch.setattr("os.replace", dies)


def checkpoints(folder):
    return [int(path.stem) for path in sorted((folder / "checkpoints").iterdir())]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The model of the run that is not interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    fit(folder)
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("renamed", [1, 2, 4])
def test_killed_between_the_files_of_a_checkpoint_a_run_goes_on_from_one_state(
    whole, tmp_path, monkeypatch, renamed
):
    folder = tmp_path / "run"
    interrupted(folder, 4)
    with monkeypatch.context() as patch, pytest.raises(Killed):  # noqa: PT012 (as it is killed)
        killed_before_rename(renamed, patch)
        fit(folder, stop=8, resume=True)
    _, text = read_tensors(folder / STATE)
    step = json.loads(text["progress"])["step"]
    assert step == (8 if renamed >= 2 else 4)
    assert step in checkpoints(folder)
    fit(folder, resume=True)
    assert (folder / "model.safetensors").read_bytes() == whole


@pytest.mark.parametrize("renamed", [1, 2, 5])
def test_killed_while_it_takes_the_place_of_another_a_run_is_never_mixed_with_that(
    whole, tmp_path, monkeypatch, renamed
):
    folder = tmp_path / "run"
    interrupted(folder, 2, cloud=2 * CIRCLE + 7)
    interrupted(folder, 9, cloud=2 * CIRCLE + 7, resume=True)
    with monkeypatch.context() as patch, pytest.raises(Killed):  # noqa: PT012 (as it is killed)
        killed_before_rename(renamed, patch)
        patch.setattr("pathlib.Path.unlink", killed)
        fit(folder, stop=4, overwrite=True)
    begun = renamed >= 2
    assert checkpoints(folder) == ([2, 4, 9] if renamed else [2, 9])
    fit(folder, **({"resume": True} if begun else {"overwrite": True}))
    assert checkpoints(folder) == ([4, STEPS] if begun else [STEPS])
    assert (folder / "model.safetensors").read_bytes() == whole


def killed(*_, **__):
    raise Killed


def test_the_run_before_stays_until_the_first_checkpoint_of_the_new_one_is_whole(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    fit(folder)
    before = contents(folder)

    def full(file):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        assert fit(folder, steps=5, overwrite=True).unsaved
    assert contents(folder) == before
    (folder / "validation" / "000007").mkdir(parents=True)
    fit(folder, steps=5, overwrite=True)
    assert checkpoints(folder) == [5]
    assert not list((folder / "validation").iterdir())


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_is_refused_before_any_work_and_can_be_resumed(tmp_path, monkeypatch):
    fit(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("igr.cloud.pointcloud.as_cloud", killed)
        with pytest.raises(InputError, match=r"holds a run already: --resume continues it, --overwrite starts"):
            fit(tmp_path / "run")
    assert fit(tmp_path / "run", resume=True).details["fit"]["steps"] == STEPS
    with pytest.raises(InputError, match="give one of them"):
        fit(tmp_path / "other", resume=True, overwrite=True)
    fit(tmp_path / "other", resume=True)  # nothing there: begins


def test_a_run_that_came_into_the_folder_meanwhile_is_seen_once_it_is_claimed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / STATE).touch()
    with pytest.raises(InputError, match="holds a run already"), open_run(tmp_path / "run", at_once=True):
        pass
    with open_run(tmp_path / "run", at_once=True, resume=True):  # it was let go
        pass


def test_folders_that_nobody_named_are_claimed_one_each(tmp_path):
    folders = [RunFolder(tmp_path / "run", numbered=True) for _ in range(3)]
    for folder in folders:
        folder.claim()
    assert [folder.path.name for folder in folders] == ["run", "run-2", "run-3"]
    (folders[0].path / STATE).touch()
    for folder in folders:
        folder.release()
    again = RunFolder(tmp_path / "run", numbered=True)
    again.claim()
    assert os.fspath(again) == str(tmp_path / "run-2")
    again.release()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="there is a file of that name"):
        RunFolder(tmp_path / "file", numbered=True).claim()


def test_a_run_that_is_rescued_leaves_the_one_before_alone(tmp_path):
    for cloud in (CIRCLE, 3 * CIRCLE):
        options = igr.Options(rescue=tmp_path / "kept", save_seconds=1e-9)
        config = dataclasses.replace(igr.FAST, steps=3)
        igr.reconstruct(cloud, normals=CIRCLE, config=config, options=options)
    first, second = (igr.Surface.load(tmp_path / name / "model.safetensors") for name in ("kept", "kept-2"))
    assert second.frame.scale == pytest.approx(3 * first.frame.scale)


def test_killed_in_its_first_save_a_run_begins_anew_with_the_same_command(whole, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(Killed):  # noqa: PT012 (as it is killed)
        killed_before_rename(1, patch)
        fit(folder, stop=4)
    assert checkpoints(folder) == [4]
    for again in ({"resume": True}, {}):
        shutil.copytree(folder, tmp_path / f"again{len(again)}")
        fit(tmp_path / f"again{len(again)}", **again)
        assert checkpoints(tmp_path / f"again{len(again)}") == [STEPS]
    assert (tmp_path / "again1" / "model.safetensors").read_bytes() == whole


def test_killed_in_its_first_save_again_and_again_a_run_can_be_resumed(whole, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    for step in (4, 6, 8):
        with monkeypatch.context() as patch, pytest.raises(Killed):  # noqa: PT012 (as it is killed)
            killed_before_rename(1, patch)
            fit(folder, stop=step, resume=True)
    assert checkpoints(folder) == [4, 6, 8]
    fit(folder, resume=True)
    assert (folder / "model.safetensors").read_bytes() == whole
