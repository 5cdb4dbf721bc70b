"""Files of our own: whole or not at all, exact, and never a pickle."""

import pickle

import numpy as np
import pytest

from igr.errors import InputError
from igr.storage import read_tensors, write_bytes, write_tensors

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
