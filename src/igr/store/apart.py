"""Reading in a process of its own: where a library crashes, hangs or takes too much, that is one sentence here.

What is read comes back through a pipe, some rows at a time: no temporary files, and nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import InputError
from ..machine import threads

try:
    import resource
except ImportError:  # Windows, where nothing limits a process
    resource = None

MEMORY, MEMORY_BYTE = 1_500_000_000, 20
"""Address space that a reader may take beside what it starts with, and beyond that for each byte of its file."""
SECONDS, SECONDS_BYTE = 4, 2e-6
"""Processor time that it may take, and beyond that for each byte of its file."""
START = "import sys; sys.path[:] = sys.argv[4:]; from igr.store.apart import serve; serve(*sys.argv[1:4])"
ALONE = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX")
"""Each thread of a library takes address space, used or not; what lazrs unpacks with is bounded."""
MOST = 4

Part = dict[str, Any]
"""What is known of a file, or arrays of as many rows by name."""


def apart(read: Callable[[Path], Iterator[Part]], path: Path) -> Iterator[Part]:
    """The parts that `read(path)` gives, from another process.

    Args:
        read: a function of a module; its first part is what JSON can hold, the others are arrays by name.
        path: the file.

    Raises:
        InputError: as `read` does; or it raised something else, crashed, or took too long or too much memory.
    """
    given = [read.__module__, read.__qualname__, os.fspath(path), *map(str, sys.path)]
    with subprocess.Popen(
        [sys.executable, "-P", "-c", START, *given],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | dict.fromkeys(ALONE, "1") | {"RAYON_NUM_THREADS": str(min(threads(), MOST))},
    ) as process:
        try:
            assert process.stdout is not None
            while (part := _received(process.stdout)) is not None:
                if isinstance(part, str):
                    raise InputError(part)
                if not part:
                    return
                yield part
            code = process.wait()
        finally:  # also where the caller stops, or the user
            process.kill()
    raise InputError(f"{path.name} {_ending(code, path)}")


def _ending(code: int, path: Path) -> str:
    kind = path.suffix.lower()
    if code >= 0:
        return f"cannot be read as {kind}: it is damaged or of another kind."
    late = resource is not None and -code in (_signal("SIGXCPU"), _signal("SIGKILL"))
    return "is damaged: its reader " + ("took too long for its size." if late else "crashed.")


def _signal(name: str) -> int:
    import signal

    return getattr(signal, name, 0)


def _received(pipe: IO[bytes]) -> Part | str | None:
    """The next part, {} at the end; a refusal; None where the process has ended before."""
    try:
        said = json.loads(pipe.readline())
    except ValueError:
        return None
    if "arrays" not in said:
        return said.get("refused", said.get("known"))
    arrays = {}
    for name, kind, shape in said["arrays"]:
        arrays[name] = np.empty(shape, kind)
        if pipe.readinto(arrays[name].reshape(-1).view(np.uint8)) < arrays[name].nbytes:  # type: ignore[attr-defined]
            return None
    return arrays


def joined(parts: Sequence[Part]) -> Part:
    """Parts of rows as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def gathered(parts: Iterator[Part], count: int, kept: Sequence[str]) -> Part:
    """All parts as one of `count` rows; columns in which all rows are the same take no room and are left out, but
    those that are to be `kept`."""
    columns: Part = {}
    first: Part = {}
    done = 0
    for part in parts:
        stop = done + len(next(iter(part.values())))
        for key, values in part.items():
            if key not in columns:
                one = first.setdefault(key, values[:1].copy())
                if key not in kept and (values == one).all():
                    continue
                columns[key] = np.empty((count, *values.shape[1:]), values.dtype)
                columns[key][:done] = one
            columns[key][done:stop] = values
        done = stop
    return columns


def library(name: str, path: Path) -> Any:
    """A library of the extra `scans`, imported.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        kind = path.suffix.lower()
        message = f"{path.name} needs {name}, which is not installed, as {kind} files do: pip install 'igr[scans]'"
        raise InputError(message) from None


def serve(module: str, function: str, path: str) -> None:
    """The other side of `apart`: read a file, in bounded memory and time, and say on stdout what is in it."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    _limit(os.path.getsize(path))
    try:
        for part in getattr(import_module(module), function)(Path(path)):
            arrays = all(isinstance(value, np.ndarray) for value in part.values())
            _send(pipe, part) if arrays else _say(pipe, {"known": part})
        _say(pipe, {"known": {}})
    except InputError as problem:
        _say(pipe, {"refused": str(problem)})
    except MemoryError:
        _say(pipe, {"refused": f"{os.path.basename(path)} takes its reader more memory than makes sense for it."})


def _limit(size: int) -> None:
    if resource is None:
        return
    limits = (
        (resource.RLIMIT_AS, MEMORY + MEMORY_BYTE * size),
        (resource.RLIMIT_CPU, int(SECONDS + SECONDS_BYTE * size)),
        (resource.RLIMIT_CORE, 0),
    )
    for what, limit in limits:
        most = resource.getrlimit(what)[1]
        resource.setrlimit(what, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))


def _send(pipe: IO[bytes], part: Part) -> None:
    arrays = {name: np.ascontiguousarray(values) for name, values in part.items()}
    _say(pipe, {"arrays": [(name, values.dtype.str, values.shape) for name, values in arrays.items()]})
    for values in arrays.values():
        pipe.write(values.reshape(-1).view(np.uint8).data)
    pipe.flush()


def _say(pipe: IO[bytes], what: dict[str, Any]) -> None:
    pipe.write(json.dumps(what).encode() + b"\n")
    pipe.flush()
