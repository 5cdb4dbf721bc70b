"""Killing `igr` at any moment: at random, and before each step of the writing of its files."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from igr.errors import InputError
from igr.store.tensors import read_tensors

HOLD_OFF = """
import os, signal, sys
from pathlib import Path

left = int(sys.argv.pop(1))

def dies(name):
    original = getattr(os, name)
    def call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            if name == "fsync":
                os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)
    setattr(os, name, call)

for name in ("fsync", "replace", "unlink"):
    dies(name)
from igr.cli.main import main
sys.exit(main())
"""
"""Runs igr and is killed instead of the n-th fsync (half of that file being lost), rename or removal of a file."""


@dataclass(frozen=True)
class Task:
    """A command that is interrupted, in a folder of its own."""

    arguments: tuple[str, ...]
    """Of `igr`, the paths relative to the folder."""
    again: tuple[str, ...]
    """What is added to continue."""
    results: tuple[str, ...]
    """Patterns of the files that have to come out the same as without interruption."""
    state: str = ""
    """The file that says how far it is; "": none."""
    interval: float = 0.0
    """Seconds of work that it may lose at most."""


@dataclass
class Outcome:
    """What became of a task that was interrupted."""

    kills: int = 0
    bad: list[str] = field(default_factory=list)
    """What was lost or half, one phrase each."""
    longest_loss: float = 0.0
    """Seconds between the last saved state and a kill."""


def uninterrupted(task: Task, folder: Path) -> tuple[dict[str, str], float]:
    """Checksums of the results of the task without interruption, and the seconds it takes."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "igr", *task.arguments], cwd=folder, check=True, capture_output=True)
    return checksums(folder, task.results), time.monotonic() - began


def kill_at_random(
    task: Task, folder: Path, kills: int, seconds: float, rng: np.random.Generator
) -> tuple[Outcome, dict[str, str]]:
    """Start and kill the task again and again, within the first half of so many seconds after each start (it may have become
    quicker since they were measured); then let it finish."""
    outcome, command = Outcome(), [sys.executable, "-m", "igr", *task.arguments, *task.again]
    for _ in range(kills):
        began = time.time()
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(rng.uniform(0, seconds / 2))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed = time.time()
            process.wait()
            outcome.kills += 1
            _count_loss(task, folder, outcome, began, killed)
        outcome.bad += half_files(folder)
    return outcome, _finished(command, folder, outcome, task)


def kill_in_writing(task: Task, folder: Path, step: int) -> tuple[Outcome, dict[str, str]]:
    """Kill the task instead of its `step`-th touch of a file; then let it finish."""
    outcome, arguments = Outcome(), [*task.arguments, *task.again]
    subprocess.run(
        [sys.executable, "-c", HOLD_OFF, str(step), *arguments], cwd=folder, capture_output=True, check=False
    )
    if (folder / "killed").exists():
        (folder / "killed").unlink()
        outcome.kills += 1
    outcome.bad += half_files(folder)
    return outcome, _finished([sys.executable, "-m", "igr", *arguments], folder, outcome, task)


def _finished(command: list[str], folder: Path, outcome: Outcome, task: Task) -> dict[str, str]:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ended.returncode:
        outcome.bad.append(f"status {ended.returncode}: {ended.stderr.strip().splitlines()[-1:]}")
    outcome.bad += half_files(folder)
    outcome.bad += [f"{path.name} is left over" for path in folder.rglob("*.tmp")]
    return checksums(folder, task.results)


def _count_loss(task: Task, folder: Path, outcome: Outcome, began: float, killed: float) -> None:
    """Time since the last save of a process that came to save."""
    state = folder / task.state
    if task.state and state.exists() and state.stat().st_mtime > began:
        outcome.longest_loss = max(outcome.longest_loss, killed - state.stat().st_mtime)


def half_files(folder: Path) -> list[str]:
    """Files under a final name that are not whole."""
    bad = []
    for path in sorted(folder.rglob("*")):
        try:
            match path.suffix:
                case ".safetensors" | ".igr":
                    read_tensors(path)
                case ".json":
                    json.loads(path.read_text())
                case ".npy":
                    np.load(path)
                    if path.parent.name != "scans" and not path.with_suffix(".json").exists():
                        bad.append(f"{path.name} stands alone")
                case ".csv":
                    if not path.read_text().endswith("\n"):
                        bad.append(f"{path.name} is half")
                case ".ply":
                    _check_ply(path)
        except (InputError, ValueError, EOFError) as problem:
            bad.append(f"{path.name}: {problem}")
    return bad


def _check_ply(path: Path) -> None:
    from igr.mesh.triangles import read_mesh

    read_mesh(path)


def checksums(folder: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    """Of the files of a folder that match."""
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return {os.fspath(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
