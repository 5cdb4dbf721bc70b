"""Whole commands and single calls, measured: wall seconds, peak memory, medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One finished process."""

    seconds: float
    megabytes: float
    output: str

    @property
    def result(self) -> dict:
        """The JSON object that it printed last."""
        return json.loads(self.output.splitlines()[-1])


def process(command: Sequence[str], *, cwd: str | None = None) -> Run:
    """Run a command; wall seconds and peak memory by the operating system's account."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        child = subprocess.Popen(list(command), stdout=out, stderr=err, cwd=cwd)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        out.seek(0)
        err.seek(0)
        if status != 0:
            raise RuntimeError(f"{' '.join(command)} failed: {err.read()[-500:]}")
        return Run(seconds, usage.ru_maxrss / 1024, out.read())


def igr(*args: str | Path) -> list[str]:
    """The command line of igr under this interpreter."""
    return [sys.executable, "-m", "igr", *map(str, args)]


def repeated(command: Sequence[str], times: int = 3) -> tuple[float, float, Run]:
    """Median wall seconds, largest peak memory and the last run."""
    runs = [process(command) for _ in range(times)]
    return statistics.median(run.seconds for run in runs), max(run.megabytes for run in runs), runs[-1]


def median_seconds(call: Callable[[], object], times: int = 5) -> float:
    """Median seconds of a call after one that is not counted."""
    call()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
