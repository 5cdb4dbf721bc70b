"""Bad input: damaged and hostile files given to every reader."""

from __future__ import annotations

from collections.abc import Iterator

from .rows import Row


def rows(seconds: float) -> Iterator[Row]:
    """A row for each format, in at most so many seconds."""
    del seconds
    yield from ()
