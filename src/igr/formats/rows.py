"""Rows of numbers in text, whatever they mean: read by NumPy's parser, with the line named that does not fit."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError

DIGITS = 19
"""A count of more digits is none."""
COMMENT = re.compile(r"""(?<![A-Za-z:,;"'])(#|//)[^\n]*""")
"""Not in a word such as P#1 or http://, and not where a value begins, such as the color ,#ff0000."""
EMPTY = re.compile(r"^[;,\t ]+$", re.MULTILINE)


@dataclass(frozen=True)
class RowLayout:
    """How rows of numbers stand in a text file."""

    first: int
    """Line of the first row, from 1."""
    count: int
    """Columns of a row."""
    expected: str
    """What a line should hold, for messages."""
    keep: list[int] | None = None
    """Columns to keep; all, and no row may have more, if None."""
    rows: int = 0
    """Rows that the file announces; 0 if it does not."""
    delimiter: str | None = None
    """What separates columns; blanks if None."""
    marks: dict[int, str] | None = None
    """What is to be replaced before, for `str.translate`: separators by blanks, decimal commas."""
    encoding: str = "utf-8-sig"
    names: tuple[str, ...] = ()
    """What the file calls its columns."""


class BadLineError(InputError):
    """A line that does not fit its layout."""

    def __init__(self, message: str, column: int | None = None) -> None:
        super().__init__(message)
        self.column = column
        """Place of the word that is no number, if the line has one."""


def load_rows(path: Path, layout: RowLayout, *, limit: int | None = None) -> np.ndarray:
    """At most `limit` rows of a text file; a line that does not fit `layout` is an error that names it."""
    return parsed(text_lines(path, layout), path, layout, limit)


def load_scans(path: Path, layout: RowLayout) -> list[np.ndarray]:
    """The scans of a file that announces the number of rows before each, as Cyclone does; rows beyond the number
    belong to the scan."""
    lines, announced, scans = text_lines(path, layout), layout.rows, []
    while announced is not None:
        scans.append(parsed(lines, path, layout, announced))
        if len(scans[-1]) < announced:
            raise cut_short(path.name, announced, len(scans[-1]))
        line, announced = next_row(lines), None
        if line is not None and is_count(line.split()):
            announced = int(line)
        elif line is not None:
            scans[-1] = np.vstack([scans[-1], parsed(itertools.chain([line], lines), path, layout)])
    return [scan for scan in scans if len(scan)] or scans[:1]


def parsed(lines: Iterator[str], path: Path, layout: RowLayout, limit: int | None = None) -> np.ndarray:
    """The next rows of a text file, `limit` at most, by NumPy's parser."""
    first = next_row(lines) if limit != 0 else None
    if first is None:
        return np.empty((0, layout.count if layout.keep is None else len(layout.keep)))
    try:
        values = np.loadtxt(
            itertools.chain([first], filter(str.strip, lines)),
            comments=None,
            ndmin=2,
            max_rows=limit,
            delimiter=layout.delimiter,
            usecols=layout.keep,
            quotechar='"' if layout.delimiter else None,
            encoding=None,
        )
    except ValueError as error:
        raise _bad_line(path, layout) from error
    if layout.keep is None and values.shape[1] != layout.count:
        raise _bad_line(path, layout)
    return values


def next_row(lines: Iterator[str]) -> str | None:
    """The next line that holds anything."""
    return next(filter(str.strip, lines), None)


def cut_short(name: str, announced: int, held: int | None = None) -> InputError:
    """The error for a file that ends before it has given the points it announces."""
    found = "is too small for them" if held is None else f"holds {held:,}"
    return InputError(f"{name} is cut short: it announces {announced:,} points and {found}.")


def cells_of(line: str, delimiter: str | None) -> list[str]:
    """The columns of a line, without the quotes that may stand around them."""
    if delimiter is None:
        return line.split()
    try:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), []) if '"' in line else None
    except csv.Error:
        cells = None
    return [cell.strip() for cell in cells or line.split(delimiter)] if line.strip() else []


def cleaned(text: str, layout: RowLayout) -> str:
    """Text without comments, with the separators that the parser knows."""
    if layout.marks is not None and any(chr(mark) in text for mark in layout.marks):
        text = text.translate(layout.marks)
    if "#" in text or "//" in text:
        text = COMMENT.sub("", text)
    if layout.delimiter is not None and any("\n" + mark in "\n" + text for mark in (layout.delimiter, " ")):
        text = EMPTY.sub("", text)
    return text


def text_lines(path: Path, layout: RowLayout) -> Iterator[str]:
    """Lines from the first row on, ready for the parser; a block at a time, for speed."""
    with path.open(encoding=layout.encoding, errors="replace") as stream:
        for _ in itertools.islice(stream, layout.first - 1):
            pass
        while block := stream.read(1 << 20):
            yield from cleaned(block + stream.readline(), layout).removesuffix("\n").split("\n")


def _bad_line(path: Path, layout: RowLayout) -> InputError:
    """The error that names the first line that does not fit; slow, but only on the way out."""
    for number, line in enumerate(text_lines(path, layout), layout.first):
        cells = cells_of(line, layout.delimiter)
        if not cells or (layout.rows and is_count(cells)):
            continue
        places = range(len(cells)) if layout.keep is None else [i for i in layout.keep if i < len(cells)]
        for place in places:
            if not is_number(cells[place]):
                found = repr(cells[place][:40]) if cells[place] else f"nothing in column {place + 1}"
                return BadLineError(f"{path.name}: line {number} has {found} where a number is expected.", place)
        if len(cells) != layout.count if layout.keep is None else len(places) < len(layout.keep):
            return wrong_count(path, number, len(cells), layout.expected)
    return InputError(f"{path.name} cannot be read as rows of numbers.")


def is_count(cells: Sequence[str]) -> bool:
    """Whether a line holds a count and nothing else."""
    return len(cells) == 1 and cells[0].isdecimal() and cells[0].isascii() and len(cells[0]) < DIGITS


def is_number(word: str) -> bool:
    """Whether the parser reads this word; NaN and infinity are numbers."""
    try:
        float(word)
    except ValueError:
        return False
    return word.isascii() and "_" not in word


def wrong_count(path: Path, number: int, count: int, expected: str) -> BadLineError:
    """The error for a line of too few or too many columns."""
    numbers = "number" if count == 1 else "numbers"
    return BadLineError(f"{path.name}: line {number} has {count} {numbers}, expected {expected}.")
