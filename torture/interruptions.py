"""Interrupted work: kill -9, full disks, read-only folders, two processes on one folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .kills import Outcome, Task, checksums, half_files, kill_at_random, kill_in_writing, uninterrupted
from .rows import Row

INTERVAL = 0.2
"""Seconds between two checkpoints here."""
SLACK = 3.0
"""Seconds that a step, a checkpoint, and meshing at the end may take beside that, on a busy machine."""

RECONSTRUCT = Task(
    ("reconstruct", "scan.ply", "-o", "mesh.ply", "--model", "model.igr", "--run", "run", "--steps", "400",
     "--resolution", "32", "--save-seconds", str(INTERVAL)),
    ("--resume",),
    ("mesh.ply", "run/model.safetensors"),
    "run/state.safetensors",
    INTERVAL,
)  # fmt: skip
TRAIN = Task(
    ("shapespace", "train", "samples", "--run", "space", "--steps", "60", "--save-seconds", str(INTERVAL)),
    ("--resume",),
    ("space/model.safetensors",),
    "space/state.safetensors",
    INTERVAL,
)
PREPROCESS = Task(
    ("dfaust", "preprocess", "--src-path", "family", "--out-path", "out", "--samples", "30000", "--workers", "2"),
    ("--skip",),
    ("out/**/*.npy", "out/**/*.json"),
)


def rows(seconds: float) -> Iterator[Row]:
    """A row for each fault. The number of kills follows the time: 50 at random in about three minutes."""
    kills = max(6, min(50, int(seconds / 6)))
    with tempfile.TemporaryDirectory() as place:
        top = Path(place)
        for name, task, share in (
            ("reconstruct", RECONSTRUCT, 0.4),
            ("shapespace train", TRAIN, 0.3),
            ("preprocess", PREPROCESS, 0.3),
        ):
            yield random_kills(name, task, top, max(2, round(share * kills)))
        for name, task, steps in (
            ("reconstruct", RECONSTRUCT, range(1, 40, 3 if seconds > 200 else 7)),
            ("shapespace train", TRAIN, range(1, 30, 6 if seconds > 200 else 11)),
            ("preprocess", PREPROCESS, range(1, 9, 2)),
        ):
            yield kills_in_writing(name, task, top, steps)
        yield full_disks(top)
        yield read_only(top)
        yield two_processes(top)


def prepared(top: Path, name: str) -> Path:
    """A new folder with all that the tasks read."""
    source = top / "source"
    if not source.exists():
        source.mkdir()
        _igr("example", "body", "scan.ply", "--points", "2000", folder=source)
        _igr("example", "dfaust", "family", folder=source)
        options = ("--samples", "2000", "--workers", "1")
        _igr("dfaust", "preprocess", "--src-path", "family", "--out-path", "samples", *options, folder=source)
    folder = top / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    return folder


def random_kills(name: str, task: Task, top: Path, kills: int) -> Row:
    """Kill at random moments, several times before each end."""
    rng = np.random.default_rng(7)
    expected, seconds = uninterrupted(task, prepared(top, "whole"))
    total = Outcome()
    for _ in range(10 * kills):
        if total.kills >= kills:
            break
        outcome, found = kill_at_random(task, prepared(top, "killed"), min(5, kills - total.kills), seconds, rng)
        _add(total, outcome, expected, found)
    if total.longest_loss > task.interval + SLACK:
        total.bad.append(f"{total.longest_loss:.1f} s of work")
    return _row(f"kill -9 of `{name}` at random", total, kills)


def kills_in_writing(name: str, task: Task, top: Path, steps: range) -> Row:
    """Kill between the parts of a write."""
    expected, _ = uninterrupted(task, prepared(top, "whole"))
    total, tried = Outcome(), 0
    alone = Task((*task.arguments[:-1], "1"), task.again, task.results) if name == "preprocess" else task
    for step in steps:
        outcome, found = kill_in_writing(alone, prepared(top, "killed"), step)
        tried += outcome.kills
        _add(total, outcome, expected, found)
    return _row(f"kill -9 of `{name}` within a write", total, tried)


def _add(total: Outcome, outcome: Outcome, expected: dict[str, str], found: dict[str, str]) -> None:
    total.kills += outcome.kills
    total.bad += outcome.bad
    total.longest_loss = max(total.longest_loss, outcome.longest_loss)
    if found != expected:
        total.bad.append(f"{sum(found.get(key) != value for key, value in expected.items())} results differ")


def _row(fault: str, total: Outcome, tried: int) -> Row:
    loss = f"; at most {total.longest_loss:.1f} s of work done again" if total.longest_loss else ""
    note = "; ".join(sorted(set(total.bad))[:3]) or "continued to the same bytes" + loss
    bad = len(total.bad)
    return Row(fault, tried, tried if total.kills >= tried and not bad else max(0, total.kills - bad), bad, note)


def full_disks(top: Path) -> Row:
    """Outputs on a disk that is full: at once, in the middle of a run, at the end."""
    folder, good, notes, tried = prepared(top, "full"), 0, [], 0
    for kilobytes in (0, 40, 400, 40_000):
        for task in (RECONSTRUCT, PREPROCESS):
            tried += 1
            ended, intact = _on_small_disk(task, folder, kilobytes)
            sentence = ended.stderr.strip().splitlines()[-1] if ended.stderr.strip() else ""
            refused = ended.returncode in (1, 2) and "cannot be written" in ended.stderr
            fine = ("Traceback" not in ended.stderr) and intact and (refused or ended.returncode == 0)
            good += fine
            if not fine:
                notes.append(f"{task.arguments[0]} at {kilobytes} kB: status {ended.returncode}, {sentence[:80]}")
    return Row(
        "disk full", tried, good, tried - good, "; ".join(notes) or "a sentence; the file before is unchanged"
    )


def _on_small_disk(task: Task, folder: Path, kilobytes: int) -> tuple[subprocess.CompletedProcess[str], bool]:
    """Run a task whose files may take so much room together, on a tmpfs where it can be mounted."""
    small = folder / "small"
    small.mkdir(exist_ok=True)
    with mounted(small, f"size={kilobytes + 8}k"):
        earlier = (folder / "scan.ply").read_bytes()[: 1000 * kilobytes]
        (small / "mesh.ply").write_bytes(earlier)
        moved = {
            "mesh.ply": "small/mesh.ply",
            "model.igr": "small/model.igr",
            "run": "small/run",
            "out": "small/out",
        }
        arguments = [moved.get(argument, argument) for argument in task.arguments]
        ended = _igr(*arguments, folder=folder, check=False)
        kept = "mesh.ply" in ended.stdout or (small / "mesh.ply").read_bytes() == earlier
        (small / "mesh.ply").unlink()
        return ended, kept and not half_files(small) and not list(small.rglob("*.tmp"))


def read_only(top: Path) -> Row:
    """Outputs in a folder that cannot be written to: refused before the work."""
    folder, good, tried = prepared(top, "readonly"), 0, 0
    closed = folder / "closed"
    closed.mkdir()
    for options in (
        ("-o", "closed/mesh.ply"),
        ("--model", "closed/model.igr"),
        ("--report", "closed/page.html"),
        ("--run", "closed/run"),
    ):
        tried += 1
        with mounted(closed, "ro,size=100k"):
            ended = _igr("reconstruct", "scan.ply", "--steps", "20", *options, folder=folder, check=False)
        good += ended.returncode == 2 and "cannot be written" in ended.stderr and "Traceback" not in ended.stderr
    return Row("read-only folder", tried, good, 0, "status 2 and a sentence, before the fit")


def two_processes(top: Path) -> Row:
    """A second process on a run folder that is in use, for both kinds of runs."""
    good = 0
    for task in (RECONSTRUCT, TRAIN):
        folder = prepared(top, "twice")
        long = ["2000000" if word in ("400", "60") else word for word in task.arguments]
        first = subprocess.Popen(
            [sys.executable, "-m", "igr", *long], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _wait_for(folder / task.state)
            before = checksums(folder, ("*/config.json",))
            second = _igr(*task.arguments, *task.again, folder=folder, check=False)
            refused = second.returncode == 2 and f"process {first.pid} on" in second.stderr
            good += refused and before == checksums(folder, ("*/config.json",))
        finally:
            first.kill()
            first.wait()
        again = _igr(*task.arguments, "--overwrite", folder=folder, check=False)  # the kernel let the lock go
        good += again.returncode == 0
    return Row(
        "two processes on one run folder", 4, good, 0, "the second is refused and named the first; then free"
    )


def _wait_for(path: Path, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system on a folder for a while; needs root."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", os.fspath(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", os.fspath(folder)], check=True)


def _igr(*arguments: str, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "igr", *arguments]
    return subprocess.run(command, cwd=folder, check=check, capture_output=True, text=True)
