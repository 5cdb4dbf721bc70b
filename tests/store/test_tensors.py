"""Files of our own: whole or not at all, exact, and never a pickle."""

import contextlib
import fcntl
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from igr.errors import InputError, OutputError
from igr.store.atomic import check_folder, locked, remove_left_over, write_bytes, write_files
from igr.store.tensors import read_tensors, tensor_bytes, write_tensors

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
    script = (
        "import numpy as np; from igr.store.tensors import tensor_bytes as t; import sys; sys.stdout.buffer.write("
    )
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
    monkeypatch.setattr("igr.store.atomic.fcntl", None)
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


def test_left_overs_of_this_and_of_earlier_versions_are_removed(tmp_path):
    (tmp_path / ".igr-0123456789abcdef.tmp").write_bytes(b"half of another file")
    (tmp_path / "a.123456789.tmp").write_bytes(b"half")
    own = {".igr-mine.tmp", "b.tmp", "igr-0123456789abcdef.tmp"}
    for name in own:
        (tmp_path / name).write_bytes(b"the user's own")
    write_bytes(tmp_path / "a", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a"} | own


WRITE = """
import sys
from igr.store.atomic import write_bytes
for _ in range(40):
    write_bytes(sys.argv[1], sys.argv[2].encode() * 100_000)
"""


def test_threads_and_processes_may_write_one_file_at_a_time(tmp_path):
    path, letters, started = tmp_path / "a", "abcd", threading.Barrier(4)

    def write(letter):
        started.wait()
        for _ in range(40):
            write_bytes(path, letter.encode() * 100_000)
            content = path.read_bytes()
            assert len(content) == 100_000
            assert len(set(content)) == 1

    others = [subprocess.Popen([sys.executable, "-c", WRITE, path, letter]) for letter in "ef"]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, letters)) == [None] * 4
    assert [other.wait() for other in others] == [0, 0]
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_file_that_was_taken_for_a_left_over_is_made_again(tmp_path, monkeypatch):
    """Another process looks for left-overs after the file is made and before it is locked."""
    lock, looked = fcntl.flock, []

    def late(file, operation):
        if not looked:
            looked.append(file.name)
            remove_left_over(tmp_path)
            assert not os.path.exists(file.name)
        lock(file, operation)

    monkeypatch.setattr("igr.store.atomic.fcntl.flock", late)
    write_bytes(tmp_path / "a", b"whole")
    assert looked
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"whole")]


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    (there / "old").write_bytes(b"old")
    links = {"direct": "there/old", "chain": "direct", "dangling": "there/new"}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
        write_bytes(tmp_path / name, name.encode())
        assert (tmp_path / name).readlink() == Path(target)
    assert {path.name: path.read_bytes() for path in there.iterdir()} == {"old": b"chain", "new": b"dangling"}
    write_files({tmp_path / "dangling": b"1", tmp_path / "chain": b"2"}, withdrawn=tmp_path / "chain")
    assert {path.name: path.read_bytes() for path in there.iterdir()} == {"old": b"2", "new": b"1"}
    assert {path.name for path in tmp_path.iterdir()} == {"there", *links}


@pytest.mark.parametrize(("name", "message"), [
    ("circle", "symbolic links"), ("lost", "No such file"), ("folder", "it is a folder"),
    ("pipe", "a pipe or a device"), ("null", "a pipe or a device"),
])  # fmt: skip
def test_what_is_no_file_is_neither_replaced_nor_written_to(tmp_path, name, message):
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "lost").symlink_to("nowhere/file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    before = {path: path.lstat() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match=rf"{name} cannot be written .*{message}.*unchanged"):
        write_bytes(tmp_path / name, b"new")
    with pytest.raises(InputError, match=rf"{name} cannot be written"):
        check_folder(tmp_path / name)
    assert {path: path.lstat() for path in tmp_path.iterdir()} == before


def test_a_file_that_is_replaced_keeps_its_rights_and_a_new_one_has_the_usual(tmp_path):
    path = tmp_path / "a"
    write_bytes(path, b"new")
    (tmp_path / "usual").touch()
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode
    for mode in (0o660, 0o600, 0o755):
        path.chmod(mode)
        write_bytes(path, oct(mode).encode())
        assert path.stat().st_mode & 0o777 == mode


def test_a_file_that_is_replaced_keeps_owner_and_attributes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    try:
        os.setxattr(path, "user.note", b"mine")
        os.chown(path, 12, 34)
    except OSError as problem:
        pytest.skip(f"cannot be set here: {problem}")
    write_bytes(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12, 34)
    assert os.getxattr(path, "user.note") == b"mine"


def test_where_the_group_cannot_be_kept_its_rights_are_not_given_to_another(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o664)
    try:
        os.chown(path, -1, 34)
    except OSError as problem:
        pytest.skip(f"cannot be set here: {problem}")

    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.chown", refused)
    write_bytes(path, b"new")
    assert path.stat().st_gid != 34
    assert path.stat().st_mode & 0o777 == 0o604


def test_a_file_that_could_not_be_overwritten_is_not_replaced():
    """In a folder of our own, as a user without special rights."""
    with tempfile.TemporaryDirectory() as folder, _without_rights(folder):
        path = Path(folder, "a")
        path.write_bytes(b"old")
        path.chmod(0o444)
        for write in (lambda: write_bytes(path, b"new"), lambda: check_folder(path)):
            with pytest.raises(InputError, match=r"a cannot be written.*Permission denied"):
                write()
        assert path.read_bytes() == b"old"


@contextlib.contextmanager
def _without_rights(folder):
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, 65534, -1)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["n" * 255, "größe" * 36 + "x" * 3])
def test_names_may_be_as_long_as_the_file_system_lets_them(tmp_path, name):
    for content in (b"first", b"second"):
        write_bytes(tmp_path / name, content)
    assert (tmp_path / name).read_bytes() == b"second"
    with pytest.raises(OutputError, match="File name too long"):
        write_bytes(tmp_path / f"{name}n", b"")


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
