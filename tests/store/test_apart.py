"""A reader that crashes, hangs or takes all memory costs one sentence; what it reads comes back whole."""

import subprocess
import sys
import time

import numpy as np
import pytest

from igr.errors import InputError
from igr.store import apart as place
from igr.store.apart import apart

CODE = """
import ctypes, os, signal, sys, time
import numpy as np
from igr.errors import InputError

def good(path):
    print("libraries chatter", flush=True)
    yield {"points": 3, "text": "käse"}
    yield {"points": np.arange(6.0).reshape(3, 2), "none": np.zeros((0, 3), np.uint8), "flags": np.ones(1, bool)}

def refuses(path):
    yield {"points": 3}
    raise InputError("a.bin is not to my taste.")

def crashes(path):
    yield {"points": 3}
    os.kill(os.getpid(), signal.SIGSEGV)

def fails(path):
    raise ValueError("of the library's")
    yield {}

def ends(path):
    yield {"points": 3}
    os._exit(0)

def hangs(path):
    while True:
        pass
    yield {}

def takes_all(path):
    yield {"points": np.ones(10**9)}

def waits(path):
    yield {"points": os.getpid()}
    time.sleep(60)
"""


@pytest.fixture
def readers(tmp_path, monkeypatch):
    (tmp_path / "readers_of_a_test.py").write_text(CODE)
    (tmp_path / "a.bin").write_bytes(b"1")
    monkeypatch.syspath_prepend(str(tmp_path))
    import readers_of_a_test

    yield readers_of_a_test
    del sys.modules["readers_of_a_test"]


def test_what_is_read_apart_comes_back(readers, tmp_path):
    known, arrays = apart(readers.good, tmp_path / "a.bin")
    assert known == {"points": 3, "text": "käse"}
    np.testing.assert_array_equal(arrays["points"], [[0, 1], [2, 3], [4, 5]])
    assert arrays["none"].shape == (0, 3)
    assert arrays["flags"].dtype == bool


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("refuses", "^a.bin is not to my taste.$"),
        ("crashes", "^a.bin is damaged: its reader crashed.$"),
        ("fails", "^a.bin cannot be read as .bin: it is damaged or of another kind.$"),
        ("ends", "^a.bin cannot be read as .bin: it is damaged or of another kind.$"),
        ("takes_all", "^a.bin takes its reader more memory than makes sense for it.$"),
        ("hangs", "^a.bin is damaged: its reader took too long for its size.$"),
    ],
)
def test_a_reader_that_ends_badly_is_one_sentence(readers, tmp_path, monkeypatch, name, match):
    monkeypatch.setattr(
        place,
        "START",
        place.START.replace("serve(*", "import igr.store.apart; igr.store.apart.SECONDS = 1; serve(*"),
    )
    with pytest.raises(InputError, match=match):
        list(apart(getattr(readers, name), tmp_path / "a.bin"))


def test_who_stops_reading_leaves_no_process(readers, tmp_path):
    parts = apart(readers.waits, tmp_path / "a.bin")
    number = next(parts)["points"]
    began = time.monotonic()
    parts.close()
    assert time.monotonic() - began < 30
    assert subprocess.run(["ps", "-p", str(number)], capture_output=True, check=False).returncode != 0


def test_what_lies_in_the_current_folder_is_not_run(readers, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "json.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(list(apart(readers.good, tmp_path / "a.bin"))) == 2
