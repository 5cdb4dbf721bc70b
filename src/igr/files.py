"""Writing files whole or not at all, and folders that belong to one process at a time."""

from __future__ import annotations

import contextlib
import glob
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from .errors import InputError, OutputError

try:
    import fcntl
except ImportError:  # not a POSIX system: files that are open cannot be removed there, and runs are not locked
    fcntl = None

StrPath = str | os.PathLike[str]


def write_bytes(path: StrPath, data: bytes) -> None:
    """Write `data` to `path`, under a temporary name until it is whole and on the disk; see `write_files`."""
    write_files({path: data})


def write_files(files: Mapping[StrPath, bytes], *, withdrawn: StrPath | None = None) -> None:
    """Write files that belong together, under temporary names until all of them are whole and on the disk.

    They are then renamed in the order given: where that is not possible, none is changed; if the process is killed
    meanwhile, each is whole, the old one or the new one. What processes that were killed left over is removed.

    Args:
        files: contents by path.
        withdrawn: one of the paths that must never stand beside new versions of the others: what was there is
            removed before the first is renamed.

    Raises:
        OutputError: the disk is full, or the place cannot be written to; what was there before is unchanged.
    """
    at = next(iter(files))
    with contextlib.ExitStack() as stack:
        try:
            for at, data in files.items():
                remove_left_over(Path(at).parent, Path(at).name)
                file = stack.enter_context(_temporary(Path(at), data))
                if fcntl is None:
                    file.close()  # what is open cannot be renamed there
            if withdrawn is not None:
                Path(withdrawn).unlink(missing_ok=True)
            for at in files:
                os.replace(_temporary_name(Path(at)), at)
        except OSError as problem:
            reason = problem.strerror or str(problem)
            raise OutputError(f"{at} cannot be written ({reason}); what was there before is unchanged") from None


def make_folder(path: StrPath) -> Path:
    """The folder `path`, made with those above it where it is missing.

    Raises:
        OutputError: it cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        reason = "there is a file of that name" if path.exists() else problem.strerror
        raise OutputError(f"{path} cannot be written to ({reason}); choose another folder") from None
    return path


def locked(path: StrPath, what: str) -> IO[str]:
    """The file `path`, opened and locked by this process until it is closed, by whatever end the process takes.

    Args:
        path: the lock file; it is made, and stays.
        what: what the lock is for, named in the message.

    Raises:
        InputError: another process holds it; the message names it.
        OutputError: it cannot be written.
    """
    try:
        file = open(path, "a+")  # noqa: SIM115 (stays open as long as the lock is held)
    except OSError as problem:
        raise OutputError(f"{what} cannot be written to ({problem.strerror})") from None
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read(200).strip() or "another process"
        file.close()
        raise InputError(f"{what} is in use by {holder}; wait until it ends, or choose another folder") from None
    except OSError:  # a file system without locks
        pass
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file


def _temporary_name(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.tmp")


@contextlib.contextmanager
def _temporary(path: Path, data: bytes) -> Iterator[IO[bytes]]:
    """`data` on the disk under the temporary name of `path`, locked while it is needed; removed at the end."""
    temporary = _temporary_name(path)
    try:
        with open(temporary, "wb") as file:
            if fcntl is not None:
                with contextlib.suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            yield file
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_left_over(folder: Path, name: str | None = None) -> None:
    """Remove what processes that were killed left in a folder: temporary files, of one file or of all, that nobody
    holds."""
    for left_over in folder.glob("*.tmp" if name is None else f"{glob.escape(name)}.*.tmp"):
        if not left_over.suffixes[-2:-1] or not left_over.suffixes[-2][1:].isdigit():
            continue
        with contextlib.suppress(OSError):  # held by a living process, or gone meanwhile
            with open(left_over, "rb") as file:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left_over.unlink()
