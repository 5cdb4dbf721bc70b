"""Rows of numbers in text files: what separates them, what the columns are, and where a file goes wrong."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from .table import COLUMNS, Table, expected_columns, named_columns, plain_table

DIGITS = 19
"""A count of more digits is none."""


@dataclass(frozen=True)
class RowLayout:
    """How rows of numbers stand in a text file."""

    first: int
    """Line of the first row, from 1."""
    count: int
    """Numbers on a line."""
    expected: str
    """What a line should hold, for messages."""
    keep: list[int] | None = None
    """Columns to keep; all if None."""
    rows: int = 0
    """Rows that the file announces; 0 if it does not."""
    separators: dict[int, str] | None = None
    """What stands between numbers, to blanks, for `str.translate`; blanks and tabs alone if None."""
    encoding: str = "utf-8-sig"


def read_text(path: Path) -> Table:
    """The points of a text file, one point a line.

    Blanks, tabs, commas or semicolons separate; `#` and `//` begin a comment; a first line may name the
    columns or announce the number of points; beside semicolons or blanks, commas are decimal points.
    """
    with path.open("rb") as stream:
        start = stream.read(4096)
    wide = start[:2] in (b"\xff\xfe", b"\xfe\xff")
    if b"\0" in start and not wide:
        raise InputError(f"{path.name} is not text, as its name says: it holds zero bytes.")
    layout = _text_layout(path, "utf-16" if wide else "utf-8-sig")
    values = load_rows(path, layout)
    if len(values) < layout.rows:
        raise cut_short(path.name, layout.rows, len(values))
    return plain_table(values, path.name)


def load_rows(path: Path, layout: RowLayout, *, limit: int | None = None) -> np.ndarray:
    """At most `limit` rows of a text file; a line that does not fit `layout` is an error that names it."""
    if not any(line.partition("#")[0].strip() for line in _lines(path, layout)):
        return np.empty((0, layout.count))
    try:  # most files need no more than NumPy's own reader, which is twice as fast
        skipped = layout.first - 1
        values = np.loadtxt(path, skiprows=skipped, ndmin=2, max_rows=limit, encoding=layout.encoding)
    except ValueError:
        try:
            values = np.loadtxt(_lines(path, layout), ndmin=2, max_rows=limit, encoding=None)
        except ValueError as error:
            raise _bad_line(path, layout) from error
    if values.shape[1] != layout.count:
        raise _bad_line(path, layout)
    return values if layout.keep is None else values[:, layout.keep]


def cut_short(name: str, announced: int, held: int | None = None) -> InputError:
    """The error for a file that ends before it has given the points it announces."""
    found = "is too small for them" if held is None else f"holds {held:,}"
    return InputError(f"{name} is cut short: it announces {announced:,} points and {found}.")


def _text_layout(path: Path, encoding: str) -> RowLayout:
    """Look at the first lines: a number of points, names of columns, then numbers."""
    names, rows = "", 0
    with path.open(encoding=encoding, errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            text = line.replace("//", "#").partition("#")[0].strip()
            if not text:
                continue
            separators = _separators(text)
            fields = text.translate(separators).split()
            if not fields:
                continue
            if not all(map(_is_number, fields)):
                if names or fields[0][0] in "+-.0123456789":
                    raise _not_a_number(path, number, fields)
                names = text
            elif len(fields) == 1 and fields[0].isdigit() and len(fields[0]) < DIGITS and not rows:
                rows = int(fields[0])
            else:
                scanner = rows > 0 and path.suffix.lower() == ".pts"
                keep, expected = _meaning(path, number, len(fields), names, scanner=scanner)
                return RowLayout(number, len(fields), expected, keep, rows, separators, encoding)
    raise InputError(f"{path.name} holds no points.")


def _meaning(path: Path, number: int, count: int, names: str, *, scanner: bool) -> tuple[list[int] | None, str]:
    """Which of `count` columns to keep, and what a line should hold."""
    same = f"{count} like line {number}"
    delimiter = next((mark for mark in ";,\t" if mark in names), None)
    words = [word.strip().strip('"') for word in names.split(delimiter)]
    keep = named_columns(words)
    if keep is not None:
        if len(words) != count:
            raise _wrong_count(path, number, count, f"{len(words)} like the names above")
        return keep, same
    if scanner and count in (4, 7):  # x y z intensity [red green blue]
        return [0, 1, 2], same
    if count not in COLUMNS:
        raise _wrong_count(path, number, count, expected_columns())
    return None, expected_columns((2, 4) if count in (2, 4) else (3, 6))


def _separators(line: str) -> dict[int, str]:
    """What separates the numbers of this line; beside semicolons or blanks, a comma is a decimal point."""
    cells = [cell for cell in re.split(r"[;\s]+", line) if "," in cell]
    decimal = all(re.fullmatch(r"[-+]?\d*,\d+([eE][-+]?\d+)?", cell) for cell in cells)
    apart = re.search(r"[;\s]", line) is not None
    return str.maketrans({";": " ", "\t": " ", '"': " ", ",": "." if decimal and apart else " "})


def _lines(path: Path, layout: RowLayout) -> Iterator[str]:
    """Lines from the first row on, numbers separated by blanks; a block at a time, for speed."""
    with path.open(encoding=layout.encoding, errors="replace") as stream:
        for _ in itertools.islice(stream, layout.first - 1):
            pass
        while lines := stream.readlines(1 << 20):
            block = "".join(lines)
            if layout.separators is not None:
                block = block.translate(layout.separators).replace("//", "#")
            yield from block.removesuffix("\n").split("\n")


def _bad_line(path: Path, layout: RowLayout) -> InputError:
    """The error that names the first line that does not fit; slow, but only on the way out."""
    for number, line in enumerate(_lines(path, layout), layout.first):
        fields = line.partition("#")[0].split()
        if not all(map(_is_number, fields)):
            return _not_a_number(path, number, fields)
        if fields and len(fields) != layout.count:
            understood = layout.keep is None and len(fields) in COLUMNS
            expected = f"{layout.count} like line {layout.first}" if understood else layout.expected
            return _wrong_count(path, number, len(fields), expected)
    return InputError(f"{path.name} cannot be read as rows of numbers.")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return word.isascii() and "_" not in word


def _not_a_number(path: Path, number: int, fields: list[str]) -> InputError:
    word = next(field for field in fields if not _is_number(field))
    return InputError(f"{path.name}: line {number} has {word[:40]!r} where a number is expected.")


def _wrong_count(path: Path, number: int, count: int, expected: str) -> InputError:
    numbers = "number" if count == 1 else "numbers"
    return InputError(f"{path.name}: line {number} has {count} {numbers}, expected {expected}.")
