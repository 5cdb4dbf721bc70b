"""What is seen of a fit while it runs, and what Ctrl-C does to it."""

import io
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from igr.cli.output import FitDisplay, Interruptible, report_result
from igr.fit.loop import Progress
from igr.fit.objective import Loss
from igr.store.run import RunFolder


class Terminal(io.StringIO):
    def isatty(self):
        return True


def progress(share, step=10, seconds=8.0):
    return Progress(step, share, seconds, Loss({"surface": 0.0021}, 0.0021, np.zeros(0), np.zeros((0, 3))))


def shown(monkeypatch, stream, shares, *, quiet=False):
    """What a fit that takes the shares in turn, a second each, leaves on stderr."""
    now = iter(range(1000))
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("igr.cli.output.time", SimpleNamespace(monotonic=lambda: float(next(now))))
    with FitDisplay(quiet=quiet) as display:
        for share in shares:
            display.show(progress(share))
    return stream.getvalue()


def test_on_a_terminal_a_bar_shows_the_share_and_the_terms(monkeypatch):
    text = shown(monkeypatch, Terminal(), [0.25, 1.0])
    assert "100 %" in text
    assert "surface 0.0021" in text


def test_elsewhere_a_plain_line_comes_every_few_seconds_and_at_the_end(monkeypatch):
    lines = shown(monkeypatch, io.StringIO(), [*np.linspace(0.05, 0.6, 12), 1.0]).splitlines()
    assert len(lines) == 3
    assert lines[0] == "fit   25%  step 10  surface 0.0021  24 s left"
    assert lines[-1] == "fit  100%  step 10  surface 0.0021  0 s left"


def test_the_time_left_is_told_once_it_is_known(monkeypatch):
    assert "left" not in shown(monkeypatch, io.StringIO(), [0.001] * 5)


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_quiet_shows_nothing(monkeypatch, stream):
    assert shown(monkeypatch, stream(), [0.5, 1.0], quiet=True) == ""


def test_the_first_ctrl_c_stops_after_the_step_and_the_second_at_once(tmp_path, capsys):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interruptible(RunFolder(tmp_path / "run"), quiet=True) as watch:  # noqa: PT012 (both happen within)
        assert not watch(progress(0.1), None)
        signal.raise_signal(signal.SIGINT)
        assert watch(progress(0.2), None)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert "the same command with --resume continues" in capsys.readouterr().err


def test_before_the_fit_there_is_nothing_to_save_and_ctrl_c_ends_it(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt), Interruptible(RunFolder(tmp_path / "run"), quiet=True):
        signal.raise_signal(signal.SIGINT)
    assert "--resume" not in capsys.readouterr().err


def test_a_run_folder_that_nobody_named_is_told_with_the_way_to_continue(tmp_path, capsys):
    (tmp_path / "a run").mkdir()
    (tmp_path / "a run" / "state.safetensors").touch()
    folder = RunFolder(tmp_path / "a run", numbered=True)
    with Interruptible(folder, quiet=True) as watch:
        watch(progress(0.1), None)
        assert capsys.readouterr().err == ""
        folder.claim()
        folder.written = True
        watch(progress(0.2), None)
        watch(progress(0.3), None)
    folder.release()
    place = tmp_path / "a run-2"
    assert (
        capsys.readouterr().err == f"saved in {place}; the same command with --run '{place}' --resume continues\n"
    )


def test_a_closed_mesh_in_many_pieces_is_said_to_be_torn(capsys):
    result = {
        "resolution": 64,
        "triangles": 900,
        "watertight": True,
        "supported": 1.0,
        "output": "a.ply",
        "seconds": 1,
    }
    for pieces, is_open, told in ((31, False, True), (31, True, False), (8, False, False)):
        report_result(result | {"components": pieces, "open": is_open}, as_json=False)
        assert ("torn into 31 pieces" in capsys.readouterr().err) is told
