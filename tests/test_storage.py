"""Files of our own: whole or not at all, exact, and never a pickle."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from igr.errors import InputError, OutputError
from igr.files import locked, write_bytes, write_files
from igr.runfolder import RunFolder, open_run
from igr.storage import read_tensors, tensor_bytes, write_tensors

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1e300]), "n": np.array([7], np.int64)}


def test_tensors_round_trip_is_exact(tmp_path):
    write_tensors(tmp_path / "x.igr", ARRAYS, {"name": "größe"})
    arrays, text = read_tensors(tmp_path / "x.igr")
    assert text == {"name": "größe"}
    for name, value in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], value)
        assert arrays[name].dtype == value.dtype


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "model.igr"
    write_bytes(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(InputError, match=r"No space left on device.*unchanged"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_equal_models_are_equal_files():
    text = {f"entry {k}": str(k) for k in range(20)}
    assert len({tensor_bytes(ARRAYS, dict(order)) for order in (text.items(), text.items())}) == 1
    script = "import numpy as np; from igr.storage import tensor_bytes as t; import sys; sys.stdout.buffer.write("
    script += f"t({{'a': np.zeros(2)}}, {text!r}))"
    runs = [subprocess.run([sys.executable, "-c", script], capture_output=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout


def test_files_that_belong_together_change_together_or_not_at_all(tmp_path, monkeypatch):
    first, second = tmp_path / "a", tmp_path / "b"
    write_files({first: b"1", second: b"2"})
    calls = []
    monkeypatch.setattr("os.fsync", lambda file: calls.append(file) or _full_disk(len(calls) == 2))
    with pytest.raises(OutputError, match="b cannot be written"):
        write_files({first: b"3", second: b"4"})
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    assert sorted(tmp_path.iterdir()) == [first, second]


def _full_disk(full):
    if full:
        raise OSError(28, "No space left on device")


def test_where_files_have_no_locks_they_are_still_written_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("igr.files.fcntl", None)
    (tmp_path / "a.123456789.tmp").write_bytes(b"half")
    write_files({tmp_path / "a": b"one", tmp_path / "b": b"two"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"one", "b": b"two"}
    with locked(tmp_path / "lock", "it"), locked(tmp_path / "lock", "it"):
        pass


def test_a_lock_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(OutputError, match="the run cannot be written to"):
        locked(tmp_path / "lock", "the run")


def test_what_a_killed_process_left_over_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    (tmp_path / "a.123456789.tmp").write_bytes(b"half")
    (tmp_path / "a.notes.tmp").write_bytes(b"the user's own")
    with locked(tmp_path / "a.1.tmp", "another's file"):
        write_bytes(tmp_path / "a", b"whole")
        assert {path.name for path in tmp_path.iterdir()} == {"a", "a.1.tmp", "a.notes.tmp"}


def test_a_run_folder_belongs_to_one_process_until_that_ends(tmp_path):
    script = "import sys; from igr.runfolder import RunFolder; run = RunFolder(sys.argv[1]); run.claim(); "
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


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"\xff" * 100, b"{}", pickle.dumps({"a": 1})])
def test_a_damaged_model_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "bad.igr"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"no saved model, or damaged|is empty"):
        read_tensors(path)


def test_a_truncated_model_is_refused(tmp_path):
    path = tmp_path / "x.igr"
    write_tensors(path, ARRAYS, {})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="damaged"):
        read_tensors(path)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.igr: no such file"):
        read_tensors(tmp_path / "none.igr")
