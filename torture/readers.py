"""Bad input: damaged and hostile files given to every reader, each in a process that is watched."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from .hostile import HOSTILE
from .reading import SECONDS, Outcome, Task, serve
from .rows import Row
from .sound import MAKERS

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
        if not self.pipe.poll(3 * SECONDS):
            self.stop()
            return Outcome(task, "hung", f"more than {3 * SECONDS:.0f} s", seconds=3 * SECONDS)
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
    for outcome in [outcome for outcome in (*found, *every) if not outcome.good][:100]:
        print(f"{outcome.task} {outcome.damage}: {outcome.status}: {outcome.message}", flush=True)
