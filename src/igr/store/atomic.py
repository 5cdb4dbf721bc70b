"""Files written whole or not at all, folders that belong to one process at a time, and a look at files that users
give before they are opened: a pipe has no end, a list of names no gigabyte.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from ..errors import InputError, OutputError

try:
    import fcntl
except ImportError:  # not a POSIX system: files that are open cannot be removed there, and runs are not locked
    fcntl = None

StrPath = str | os.PathLike[str]


def write_bytes(path: StrPath, data: bytes) -> None:
    """Write `data` to `path`, under a temporary name until it is whole and on the disk; see `write_files`."""
    write_files({path: data})


def write_stream(path: StrPath, parts: Iterable[bytes]) -> None:
    """The same for data that comes in parts: they are written as they come."""
    write_files({path: parts})


def write_files(files: Mapping[StrPath, bytes | Iterable[bytes]], *, withdrawn: StrPath | None = None) -> None:
    """Write files that belong together, under temporary names until all of them are whole and on the disk.

    They are then renamed in the order given: if the process is killed meanwhile, each is whole, the old one or
    the new one. Any number of threads, processes and machines may write one file: that of the last stays. A link
    stays a link, and a file that is replaced keeps its mode, owner and attributes. What processes that were
    killed left over is removed.

    Args:
        files: contents by path, whole or in parts.
        withdrawn: one of the paths that must never stand beside new versions of the others: what was there is
            removed before the first is renamed.

    Raises:
        OutputError: the disk is full, or the place cannot be written to; what was there before is unchanged.
    """
    at = next(iter(files))
    with contextlib.ExitStack() as stack:
        try:
            targets = {}
            for at in files:
                targets[at] = destination(at)
                remove_left_over(targets[at].parent, targets[at].name)
            whole = {}
            for at, data in files.items():
                whole[at] = stack.enter_context(_temporary(targets[at], data))
            if withdrawn is not None:
                destination(withdrawn).unlink(missing_ok=True)
            for at in files:
                if fcntl is None:
                    whole[at].close()  # what is open cannot be renamed there, nor taken for a left-over
                os.replace(whole[at].name, targets[at])
        except OSError as problem:
            reason = problem.strerror or str(problem)
            raise OutputError(f"{at} cannot be written ({reason}); what was there before is unchanged") from None


def destination(path: StrPath) -> Path:
    """The file that is replaced when `path` is written: where its links lead, if it is one.

    Raises:
        OSError: links lead in a circle, or it is a folder, a pipe, a device, or a file that may not be written.
    """
    path = Path(path)
    with contextlib.suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise OSError("it is a folder" if stat.S_ISDIR(mode) else "it is a pipe or a device, not a file")
        os.close(os.open(path, os.O_WRONLY))  # renaming would replace what must not be written to
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def check_folder(path: str | os.PathLike[str]) -> None:
    """Refuse a file of any kind that cannot be written: no folder is there, it is no file, or may not be changed.

    Raises:
        InputError: it is so.
    """
    path = Path(path)
    if not os.path.isdir(path.parent):
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")
    try:
        folder = destination(path).parent
    except OSError as problem:
        raise InputError(f"{path} cannot be written: {problem.strerror or problem}") from None
    if not folder.is_dir():
        raise InputError(f"{path} cannot be written: it is a link into {folder}, and there is no such folder")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path} cannot be written: no permission, or {folder} is read-only")


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


@contextlib.contextmanager
def _temporary(target: Path, data: bytes | Iterable[bytes]) -> Iterator[IO[bytes]]:
    """`data` on the disk beside `target`, under a temporary name, locked while needed; removed at the end."""
    file = _new_file(target.parent)
    try:
        with file:
            _keep_rights(Path(file.name), target)
            for part in [data] if isinstance(data, bytes) else data:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
            yield file
    finally:
        with contextlib.suppress(OSError):
            os.unlink(file.name)


def _new_file(folder: Path) -> IO[bytes]:
    """A temporary file, locked, so that `remove_left_over` leaves it alone. No thread, process or machine makes
    another of its name, which is short, since the target's may be as long as names can be."""
    while True:
        file = open(folder / f".igr-{secrets.token_hex(8)}.tmp", "xb")  # noqa: SIM115 (closed by the caller)
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
        if os.path.exists(file.name):
            return file
        file.close()  # it was taken for a left-over before it was locked


def _keep_rights(path: Path, target: Path) -> None:
    """Give a new file the group, owner, mode, access list and attributes of the one that it replaces, as far as
    the system lets us; where there is none, it has those of any new file."""
    if fcntl is None or not target.exists():
        return
    was = target.stat()
    for owner, group in ((-1, was.st_gid), (was.st_uid, -1)):
        with contextlib.suppress(OSError):
            os.chown(path, owner, group)
    same_group = path.stat().st_gid == was.st_gid
    with contextlib.suppress(OSError):
        os.chmod(path, was.st_mode & (0o777 if same_group else 0o707))  # one group's rights are not another's
    with contextlib.suppress(OSError, AttributeError):  # a file system, or a system, without attributes
        for name in os.listxattr(target):
            if name.startswith("user.") or (name == "system.posix_acl_access" and same_group):
                os.setxattr(path, name, os.getxattr(target, name))


def remove_left_over(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files in a folder that no living process holds: what those that were killed left.

    Args:
        folder: where to look.
        name: of the file whose temporaries by igr 0.1, `NAME.PID.tmp`, are removed too; None: those of all files.
    """
    older = ".+" if name is None else re.escape(name)
    temporary = re.compile(rf"\.igr-[0-9a-f]{{16}}\.tmp|{older}\.\d+\.tmp", re.DOTALL)
    with contextlib.suppress(OSError):
        for left_over in [folder / entry for entry in os.listdir(folder) if temporary.fullmatch(entry)]:
            with contextlib.suppress(OSError):  # held by a living process, or gone meanwhile
                with open(left_over, "r+b") as file:
                    if fcntl is not None:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        left_over.unlink()  # while it is locked: whoever made it just now sees that it is gone
                if fcntl is None:
                    left_over.unlink()


SMALL = 1 << 26
"""Bytes that a text of settings or names has at most."""


def check_file(path: str | os.PathLike[str], *, largest: int | None = None) -> None:
    """Refuse what is no readable file, before anything reads it; links are followed.

    Args:
        path: what was given.
        largest: bytes that make sense.

    Raises:
        InputError: nothing is there; or a folder, a pipe, a device; or it is empty, or larger than makes sense.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (OSError, ValueError) as problem:  # ValueError: a zero byte in its name
        raise InputError(f"{path} cannot be read: {getattr(problem, 'strerror', problem)}.") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder; a file is needed.")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is a pipe or a device, which has no end; a file is needed.")
    if status.st_size == 0:
        raise InputError(f"{os.path.basename(path)} is empty.")
    if largest is not None and status.st_size > largest:
        raise InputError(f"{path} has {status.st_size:,} bytes, more than the {largest:,} that make sense for it.")


def read_small_text(path: str | os.PathLike[str], *, largest: int = SMALL) -> str:
    """The text of a small file in UTF-8, perhaps with a byte order mark.

    Raises:
        InputError: it cannot be read, is no text, or is larger than makes sense; see `check_file`.
    """
    check_file(path, largest=largest)
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read(largest + 1)
    except OSError as problem:
        raise InputError(f"{path} cannot be read: {problem.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text file.") from None
