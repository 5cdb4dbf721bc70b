"""Whole commands and single calls, measured: wall seconds, peak memory, medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One finished process."""

    seconds: float
    processor: float
    megabytes: float
    output: str

    @property
    def result(self) -> dict:
        """The JSON object that it printed last."""
        return json.loads(self.output.splitlines()[-1])


LAUNCH = """
import json, os, sys, time
began = time.perf_counter()
pid = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
spent = usage.ru_utime + usage.ru_stime
print(json.dumps([time.perf_counter() - began, spent, usage.ru_maxrss / 1024, status]), file=sys.stderr)
"""
"""A small process that starts the measured one: a large one would pass on its own peak memory."""


def process(command: Sequence[str], *, cwd: str | None = None) -> Run:
    """Run a command; wall and processor seconds and peak memory by the operating system's account. Compiled modules
    are kept, as they are where somebody uses a program more than once."""
    launcher = [sys.executable, "-S", "-c", LAUNCH, *command]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(launcher, capture_output=True, text=True, cwd=cwd, env=environment, check=True)
    seconds, processor, megabytes, status = json.loads(done.stderr.splitlines()[-1])
    if status != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-500:]}")
    return Run(seconds, processor, megabytes, done.stdout)


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
