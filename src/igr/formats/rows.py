"""Rows of numbers: in text, read by NumPy's parser, with the line named that does not fit; and what columns
without names are, by what their numbers can be.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from .table import AXES, COLORS, NORMAL, Table, as_colors, column_names, named_table

MOST_COLUMNS = 12
"""Columns without names, at most."""
DARKEST = 16
"""Three columns of whole numbers that all stay below this are classes or counts, not colors."""
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


def plain_table(values: Float[np.ndarray, "n c"], name: str, columns: str | None = None) -> Table:
    """The table of rows of numbers without names: what each column is follows from what its numbers can be,
    unless `columns` says it; see `column_names`.

    Raises:
        InputError: there are too few or too many columns, or not as many as are named.
    """
    return table_of(values, name, *plain_names(values, name, columns))


def plain_names(
    values: Float[np.ndarray, "n c"], name: str, columns: str | None
) -> tuple[list[str], tuple[str, ...]]:
    """The names of such columns, and what there is to say of that."""
    count = values.shape[1]
    if columns is not None:
        names = column_names(columns)
        if len(names) != count:
            raise InputError(f"{name} has {count} columns, and columns={columns!r} names {len(names)}.")
        return names, ()
    if not 2 <= count <= MOST_COLUMNS:
        raise InputError(
            f"{name} has {count} columns; 2 to {MOST_COLUMNS} (x y, x y z, and what belongs to them) can be told "
            "apart without names."
        )
    names, sure = judged_names(values)
    return names, () if sure else (f"took its columns for {shown(names)} (the option columns overrules)",)


def table_of(
    values: Float[np.ndarray, "n c"],
    name: str,
    names: list[str],
    notes: tuple[str, ...] = (),
    in_bytes: Callable[[np.ndarray], np.ndarray | None] = as_colors,
) -> Table:
    """The table of rows of numbers whose columns have these names; see `named_table`."""
    if names in ([*AXES], [*AXES[:2]]):
        return Table(values, notes=notes)
    return named_table(list(zip(names, values.T, strict=True)), name, notes, in_bytes)


def shown(names: Sequence[str]) -> str:
    """Names as the option `columns` takes them."""
    short = {color: color[0] for color in COLORS}
    return " ".join(short.get(name, name) or "_" for name in names)


def judged_names(values: Float[np.ndarray, "n c"]) -> tuple[list[str], bool]:
    """What columns are, by what their numbers can be, and whether that is sure; "" is to be left aside.

    Three columns of unit vectors are normals, three of whole numbers up to 255 or fractions are colors, one that
    remains is the intensity. Where two places for the colors are possible, the intensity comes first.
    """
    count = values.shape[1]
    if count <= 3:
        return [*AXES[:count]], True
    if count == 4 and _are_unit(values[:, 2:]) and np.ptp(values[:, 2:], axis=0).all():
        return ["x", "y", "nx", "ny"], True
    counted = len(values) > 2 and bool((np.diff(values[:, 0]) == 1).all()) and values[0, 0] in (0, 1)
    start = 3 + counted
    names = ["", *AXES][not counted :] + [f"column{i + 1}" for i in range(start, count)]
    places = range(start, count - 2)
    normals = next((i for i in places if _are_unit(values[:, i : i + 3])), None)
    if normals is not None:
        names[normals : normals + 3] = NORMAL
    colors = [
        i for i in places if normals not in (i - 2, i - 1, i, i + 1, i + 2) and _are_colors(values[:, i : i + 3])
    ]
    colors = [i for i in colors if np.ptp(values[:, i : i + 3]) > 0] or colors
    if colors:
        first, last = colors[0], colors[-1]
        either = (
            len(colors) == 2 and last == first + 1 and not _all_are(values[:, last + 2], 255)
        )  # no r g b alpha
        colors = [last if either else first]
        names[colors[0] : colors[0] + 3] = COLORS
    rest = [i for i in range(start, count) if names[i].startswith("column")]
    others = values[:, start:]
    if len(rest) == 3 == count - start and (
        not others.any() or _are_unit(others, any_unit=True) or bool((np.ptp(np.sign(others), axis=0) == 2).all())
    ):
        names[start:] = NORMAL  # of other lengths, or none
    elif len(rest) == 1:
        alpha = len(colors) > 0 and _all_are(values[:, rest[0]], 255)
        names[rest[0]] = "" if alpha or _all_are(values[:, rest[0]], 1) else "intensity"
    return names, normals == 3 == count - 3


def _all_are(values: np.ndarray, number: float) -> bool:
    return bool((values == number).all())


def _are_unit(vectors: np.ndarray, *, any_unit: bool = False) -> bool:
    """Whether nearly all that are not zero have the length 1, or if `any_unit` the same length."""
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
    there = np.isfinite(lengths) & (lengths > 0)
    if 2 * there.sum() <= len(vectors):
        return False
    unit = np.median(lengths[there]) if any_unit else 1
    return bool((np.abs(lengths[there] / unit - 1) < 0.01).mean() > 0.9)


def _are_colors(values: np.ndarray) -> bool:
    """Whether all can be red, green, blue: whole numbers to 255 (or to 65,535 in each), or fractions to 1."""
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) == 0 or values.min() < 0:
        return False
    high = values.max(axis=0)
    if (values == np.floor(values)).all():
        return DARKEST <= high.max() <= 255 or (high.min() > 255 and high.max() <= 65535)
    return high.max() <= 1
