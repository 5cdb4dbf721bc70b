"""Bad input: damaged and hostile files given to every reader, each in a process that is watched."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

from .hostile import HOSTILE
from .promises import COMMANDS
from .reading import SECONDS, SECONDS_OF_COMMANDS, Outcome, Task, serve
from .rows import Row
from .sound import MAKERS, sound

TIMES = 1000
"""Mutations of each format, where the time is enough."""
ROUND = 50
"""Mutations of a format before the next one has its turn, so that none is left out when the time is up."""
FRESH = 300.0
"""A process that has used so many MB more is replaced, so that its peak says something about the next file."""
CONTEXT = multiprocessing.get_context("forkserver")


class Reader:
    """A process that reads files, replaced when it hangs, dies or has grown."""

    def __init__(self) -> None:
        self.pipe: Connection | None = None

    def __call__(self, task: Task) -> Outcome:
        """How it went; a file that takes too long is killed."""
        if self.pipe is None:
            self._start()
        assert self.pipe is not None
        self.pipe.send(task)
        patience = SECONDS_OF_COMMANDS if task.command else 3 * SECONDS
        if not self.pipe.poll(patience):
            self.stop()
            return Outcome(task, "hung", f"more than {patience:.0f} s", seconds=patience)
        try:
            outcome = self.pipe.recv()
        except EOFError:
            self.process.join()
            self.pipe = None
            return Outcome(task, "died", f"exit code {self.process.exitcode}")
        if outcome.megabytes > FRESH:
            self.stop()
        return outcome

    def _start(self) -> None:
        self.pipe, other = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=serve, args=(other,), daemon=True)
        self.process.start()
        other.close()
        self.pipe.recv()

    def stop(self) -> None:
        """End the process."""
        if self.pipe is not None:
            self.process.kill()
            self.process.join()
            self.pipe.close()
            self.pipe = None


def outcomes(tasks: Sequence[Task], until: float) -> Iterator[Outcome]:
    """How every task went, until the clock says stop."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    share = [tasks[first :: len(os.sched_getaffinity(0))] for first in range(len(os.sched_getaffinity(0)))]

    def work(mine: Iterable[Task]) -> list[Outcome]:
        reader, found = Reader(), []
        try:
            for task in mine:
                if time.monotonic() > until:
                    break
                found.append(reader(task))
        finally:
            reader.stop()
        return found

    with ThreadPoolExecutor(len(share)) as pool:
        for found in pool.map(work, share):
            yield from found


def row(fault: str, found: Sequence[Outcome]) -> Row:
    """One line about the outcomes."""
    good = [outcome for outcome in found if outcome.good]
    refused = sum(outcome.status == "refused" for outcome in good)
    slowest = max((outcome.seconds for outcome in found), default=0.0)
    note = f"{refused:,} refused, {len(good) - refused:,} read; slowest {slowest:.1f} s"
    largest = max((outcome.megabytes for outcome in found), default=0.0)
    if largest > 100:
        note += f", largest {largest:.0f} MB"
    bad = Counter(outcome.status for outcome in found if not outcome.good)
    note += "".join(f"; {count} {status}" for status, count in bad.items())
    lost = sum(outcome.status in ("executed code", "wrote a file") for outcome in found)
    return Row(fault, len(found), len(good), lost, note)


def rows(seconds: float, *, times: int = TIMES) -> Iterator[Row]:
    """A row for the hostile files by their reader and for each format, in at most so many seconds."""
    until = time.monotonic() + seconds
    found = list(outcomes([Task(name, -1) for name in HOSTILE], until))
    for reader in dict.fromkeys(HOSTILE[name][0] for name in HOSTILE):
        yield row(f"hostile files for {reader}", [o for o in found if HOSTILE[o.task.kind][0] == reader])
    tasks = [
        Task(kind, index)
        for start in range(0, times, ROUND)
        for kind in MAKERS
        for index in range(start, min(start + ROUND, times))
    ]
    every = list(outcomes(tasks, until))
    for kind in MAKERS:
        yield row(f"mutated: {kind}", [outcome for outcome in every if outcome.task.kind == kind])
    yield row("all mutated files", every)
    _tell([*found, *every])


def commands(seconds: float, *, times: int = 12) -> Iterator[Row]:
    """The same files, a few of each, through the command line, within a process and as one of their own."""
    until = time.monotonic() + seconds
    tasks = [Task(kind, 5000 + i, name) for i in range(times) for kind in MAKERS for name in _commands_for(kind)]
    tasks += [Task(name, -1, "reconstruct") for name in HOSTILE if HOSTILE[name][0] == "cloud"]
    every = list(outcomes(tasks, until))
    for name in COMMANDS:
        yield row(f"command {name}", [outcome for outcome in every if outcome.task.command == name])
    _tell(every)
    yield _processes()


def _commands_for(kind: str) -> Sequence[str]:
    """The commands that a format is for."""
    by_reader = {
        "cloud": ("reconstruct", "reference"),
        "mesh": ("evaluate", "eval"),
        "model": ("mesh", "evaluate"),
        "run": ("mesh",),
        "space": ("space",),
        "conf": ("conf",),
        "samples": ("eval",),
    }
    return by_reader.get(sound(kind).reader, ())


def _processes() -> Row:
    """Whole processes on files that nothing can be made of: status 2, one sentence, no output."""
    names = [
        name
        for name in HOSTILE
        if name.startswith(("name: ", "cloud, .npz", "cloud, .ply", "npz: 40", "npy: objects"))
    ]
    good, began = 0, time.monotonic()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            path = HOSTILE[name][1](Path(folder))
            before = sorted(os.listdir(os.fsencode(folder)))
            broken = not name.startswith("name: ")
            if not broken:  # the cloud itself is sound
                path.write_bytes(b"1 2 three\n")
            command = [sys.executable, "-m", "igr", "reconstruct", "--", str(path)]
            done = subprocess.run(command, capture_output=True, cwd=folder, timeout=60, check=False)
            told = done.stderr.decode(errors="replace")
            fine = (
                done.returncode == 2
                and told.startswith("igr: error: ")
                and told.count("\n") == 1
                and not done.stdout
            )
            fine = fine and sorted(os.listdir(os.fsencode(folder))) == before
            good += fine
            if not fine:
                print(f"{name}: status {done.returncode}: {told[-300:]}", flush=True)
    return Row(
        "igr reconstruct, a process each",
        len(names),
        good,
        0,
        f"{(time.monotonic() - began) / len(names):.1f} s each",
    )


def _tell(found: Sequence[Outcome]) -> None:
    """What went wrong, on stdout."""
    for outcome in [outcome for outcome in found if not outcome.good][:100]:
        print(f"{outcome.task} {outcome.damage}: {outcome.status}: {outcome.message}", flush=True)
