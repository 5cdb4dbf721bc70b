"""Files that users give, looked at before they are opened: a pipe has no end, a list of names no gigabyte."""

from __future__ import annotations

import os
import stat

from .errors import InputError

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
