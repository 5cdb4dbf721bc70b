"""One file read, in a process of its own that is watched: what it took and what came of it."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import shutil
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from igr.errors import FitError, InputError

from .bait import MARKER
from .hostile import HOSTILE
from .mutations import mutated
from .promises import COMMANDS, READERS, one_sentence
from .sound import MAKERS, Sound, sound

SECONDS, MEGABYTES = 10.0, 1000.0
"""What one small file may cost at most."""
SECONDS_OF_COMMANDS = 60.0
"""The same for a whole command on a file that turns out to be sound: it fits and meshes."""


@dataclass(frozen=True)
class Task:
    """One file to be tried."""

    kind: str
    """A format, or a hostile file by name."""
    index: int
    """The mutation's number, -1 for a hostile file."""
    command: str = ""
    """One of `COMMANDS` that is run on it instead of the reader."""


@dataclass(frozen=True)
class Outcome:
    """How it went."""

    task: Task
    status: str
    """"read", "refused", or what went wrong."""
    message: str = ""
    damage: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0

    @property
    def good(self) -> bool:
        """Whether it is as promised."""
        return self.status in ("read", "refused")


def make(task: Task, folder: Path) -> tuple[str, Path, str]:
    """Write the files of a task; returns what was done, what to hand over, and the name of the reader."""
    if task.index < 0:
        reader, place = HOSTILE[task.kind]
        return task.kind, place(folder), reader
    whole, rng = sound(task.kind), np.random.default_rng([zlib.crc32(task.kind.encode()), task.index])
    chosen = whole.damaged[int(rng.integers(len(whole.damaged)))]
    damage, content = mutated(whole.files[chosen], rng)
    given = _written(whole, folder)
    (folder / chosen).write_bytes(content)
    return f"{damage} ({chosen})", given, whole.reader


def _written(whole: Sound, folder: Path) -> Path:
    """The files of a format in a folder; what is handed to its reader."""
    for name, content in whole.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder / whole.given


def tried(task: Task) -> Outcome:
    """Make the file, read it, and see whether everything is as promised."""
    folder = Path(tempfile.mkdtemp(prefix="torture"))
    os.chdir(folder)  # where a file that runs code would leave its mark
    try:
        damage, path, reader = make(task, folder)
        before, had, began = _listing(folder), _peak(), time.monotonic()
        status, message = _judged(COMMANDS[task.command] if task.command else READERS[reader], path)
        seconds, megabytes = time.monotonic() - began, _peak() - had
        if (folder / MARKER).exists() or Path(MARKER).exists():
            status = "executed code"
        elif _listing(folder) != before:
            status = "wrote a file"
        elif megabytes > MEGABYTES:
            status = f"took {megabytes:.0f} MB"
        elif seconds > (SECONDS_OF_COMMANDS if task.command else SECONDS):
            status = f"took {seconds:.0f} s"
        return Outcome(task, status, message, damage, seconds, megabytes)
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)


def _judged(read: Callable[[Path], None], path: Path) -> tuple[str, str]:
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()) as told:
            warnings.simplefilter("error")
            read(path)
        if told.getvalue():
            return "wrote to stdout", told.getvalue()[:200]
    except InputError as problem:
        message = str(problem)
        if "fit into memory" in message:
            return "ran out of memory", message
        try:
            one_sentence(message)
        except AssertionError:
            return "unclear message", message
        return "refused", message
    except FitError as problem:
        return "failed in computing", str(problem)
    except BaseException:  # noqa: BLE001 (that there is none is what is tried)
        return "traceback", traceback.format_exc(limit=-6)
    return "read", ""


def _listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def serve(pipe: Connection) -> None:
    """Try tasks one after the other, in bounded memory, until None comes."""
    import torch

    torch.set_num_threads(1)
    for kind in MAKERS:  # whatever is imported or compiled at first use is so now
        with tempfile.TemporaryDirectory() as folder:
            _judged(READERS[sound(kind).reader], _written(sound(kind), Path(folder)))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 4_000_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    pipe.send("ready")
    while (task := pipe.recv()) is not None:
        pipe.send(tried(task))
