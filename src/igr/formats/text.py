"""Clouds in text: what separates the numbers of a row, and what the columns are; and Leica's PTX.

A file is judged by what it holds and not by its suffix.
"""

from __future__ import annotations

import codecs
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from .rows import (
    COMMENT,
    BadLineError,
    RowLayout,
    cells_of,
    cleaned,
    cut_short,
    is_count,
    is_number,
    load_rows,
    load_scans,
    next_row,
    parsed,
    plain_table,
    text_lines,
    wrong_count,
)
from .table import AXES, DEGREES, NORMAL, Table, as_colors, column_names, named_places, named_table, simplified

SAMPLE = 200
"""Rows that are looked at to tell columns of numbers from columns of words."""
EASTING, NORTHING = (1e5, 9.5e5), 1e6
"""What an easting of UTM is between, in meters, and a northing above, over most of the land."""
PTX_HEADER = (1, 1, 3, 3, 3, 3, 4, 4, 4, 4)
"""Numbers on the lines before the rows of a station: columns, rows, position, axes, matrix."""
FAR = 10
"""A scanner farther from its points than so many times their box has lost its position."""


def holds_rows(path: Path) -> bool:
    """Whether a file is text with a row of numbers in it, whatever its name says."""
    with path.open("rb") as stream:
        start = stream.read(4096)
    if (b"\0" in start and not _is_wide(start)) or start.lstrip()[:1] in (b"{", b"[", b"<"):
        return False
    return _text_layout(path, _encoding(start)) is not None


def read_text(path: Path, columns: str | None = None) -> Table:
    """The points of a text file, one point a line.

    Blanks, tabs, commas or semicolons separate; `#` and `//` begin a comment; a line before the first row may name
    the columns or announce the number of points; beside semicolons or blanks, commas are decimal points.

    Args:
        path: the file.
        columns: what the columns are, over what the file says: see `column_names`.
    """
    with path.open("rb") as stream:
        start = stream.read(4096)
    if b"\0" in start and not _is_wide(start):
        raise InputError(f"{path.name} is not text, as its name says: it holds zero bytes.")
    found = _text_layout(path, _encoding(start))
    if found is None:
        raise InputError(f"{path.name} holds no points.")
    layout, words = found
    names, notes = _names(path, layout, columns), []
    for place in words:
        label = f" ({names[place]})" if names and names[place] else ""
        notes.append(f"left column {place + 1}{label} aside, which holds words")
    places = named_places(names)
    needed = {places.get(axis) for axis in (*AXES, *NORMAL)} if names else set(range(layout.count))
    kept = [i for i in range(layout.count) if i not in words and (not names or names[i])]
    layout = replace(layout, keep=None if len(kept) == layout.count else kept)
    while True:
        try:
            scans = load_scans(path, layout) if layout.rows else [load_rows(path, layout)]
            break
        except BadLineError as problem:
            if problem.column in needed or problem.column not in kept:
                raise
            kept = [i for i in kept if i != problem.column]
            notes.append(f"left column {problem.column + 1} ({names[problem.column]}) aside: {problem}"[:-1])
            layout = replace(layout, keep=kept)
    values = scans[0] if len(scans) == 1 else np.vstack(scans)
    if not names:
        table = _unnamed(path, layout, values, words)
    else:
        table = named_table([(names[i], column) for i, column in zip(kept, values.T, strict=True)], path.name)
    if len(scans) > 1:
        numbers = np.repeat(np.arange(len(scans)), [len(scan) for scan in scans])
        table = replace(table, attributes={**table.attributes, "scan": numbers})
        notes.append(f"holds {len(scans)} scans, which are taken together")
    return replace(table, notes=(*notes, *table.notes))


def _names(path: Path, layout: RowLayout, columns: str | None) -> list[str]:
    """Names of the columns: the user's, or the file's, or by a convention of its kind; else none."""
    if columns is not None:
        names = column_names(columns)
        if len(names) != layout.count:
            raise InputError(
                f"{path.name}: line {layout.first} has {layout.count} columns, "
                f"and columns={columns!r} names {len(names)}."
            )
        return names
    if layout.names:
        return list(layout.names)
    if layout.rows and path.suffix.lower() == ".pts" and layout.count in (4, 7):
        return ["x", "y", "z", "intensity", "red", "green", "blue"][: layout.count]
    return []


def _unnamed(path: Path, layout: RowLayout, values: np.ndarray, words: Sequence[int]) -> Table:
    """The table of columns without names; a surveyor's list ends in a code of words: point, northing, easting,
    elevation, code."""
    before = sum(place == 0 for place in words)
    coded = words and words[-1] == layout.count - 1 == 4 and len(words) == 1 + before
    if coded and (before or _are_numbers(values[:, 0])):
        middle = np.median(values[:, -3:], axis=0)
        east_first = EASTING[0] < middle[0] < EASTING[1] and middle[1] > NORTHING
        names = ["", "x", "y", "z"] if east_first else ["", "y", "x", "z"]
        order = "easting, northing" if east_first else "northing, easting"
        told = f"took its columns for point, {order}, elevation and code (the option columns overrules)"
        return named_table(list(zip(names[before:], values.T, strict=True)), path.name, [told])
    return plain_table(values, path.name)


def _are_numbers(values: np.ndarray) -> bool:
    """Whether a column counts its rows, perhaps with gaps."""
    return bool((values == np.floor(values)).all() and (np.diff(values) > 0).all())


def _is_wide(start: bytes) -> bool:
    return start[:2] in (b"\xff\xfe", b"\xfe\xff")


def _encoding(start: bytes) -> str:
    if _is_wide(start):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "cp1252"  # of Windows
    return "utf-8-sig"


def _text_layout(path: Path, encoding: str) -> tuple[RowLayout, list[int]] | None:
    """Look at the lines before the first row, for a number of points and names of columns, and at some rows, for
    columns that hold words. None without a row, which has two numbers at least."""
    heads, rows, cells = [], 0, []
    with path.open(encoding=encoding, errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            text = COMMENT.sub("", line).strip()
            delimiter, marks = _separators(text)
            cells = cells_of(text.translate(marks), delimiter)
            if sum(map(is_number, cells)) >= 2:
                break
            if not rows and is_count(cells):
                rows = int(cells[0])
            elif cells and all(map(is_number, cells)):
                raise BadLineError(f"{path.name}: line {number} has 1 number, expected 2 or more (x y, x y z, …).")
            elif line.strip():
                heads.append((not text, line.strip().lstrip("#/ ")))
        else:
            return None
        sample = [line, *itertools.islice(stream, SAMPLE)]
    if delimiter == "\t" and COMMENT.sub("", line).strip(" \r\n") != text and all(map(is_number, cells)):
        delimiter, marks = None, {**marks, ord("\t"): " "}  # tabs around the row
    expected = f"{len(cells)} like line {number}"
    layout = RowLayout(number, len(cells), expected, None, rows, delimiter, marks, encoding)
    names = _header(path, layout, heads)
    read = [cells_of(cleaned(line, layout).strip(), delimiter) for line in sample]
    needed, words = named_places(names).values(), []
    for place, cell in enumerate(cells):
        numbers = [is_number(row[place]) for row in read if place < len(row)]
        spared = len(names) > 0 and place not in needed and not all(numbers)
        if spared or (2 * sum(numbers) < len(numbers) and not is_number(cell)):
            words.append(place)
    return replace(layout, names=names), words


def _header(path: Path, layout: RowLayout, heads: Sequence[tuple[bool, str]]) -> tuple[str, ...]:
    """The last of these lines, comments or not, that names the columns."""
    for comment, line in reversed(heads):
        text = line.rpartition("=")[2].strip().rstrip(";,")  # VARIABLES = x, y, z
        mark = next((mark for mark in ";,\t" if mark in text), None)
        words = cells_of(text if mark else re.sub(r"\[[^]]*\]|\([^)]*\)", " ", text), mark)  # without units
        if not (named_places(words).keys() >= {"x", "y"} or DEGREES & set(map(simplified, words))):
            continue
        if len(words) == layout.count:
            return tuple(words)
        if not comment:
            raise wrong_count(path, layout.first, layout.count, f"{len(words)} like the names above")
    return ()


def _separators(line: str) -> tuple[str | None, dict[int, str]]:
    """What separates the columns of this row, and what is to be replaced before; beside semicolons or blanks, a
    comma is a decimal point."""
    cells = re.split(r"[;\s]+", line)
    commas = [cell for cell in cells if "," in cell and cell[0] in "+-.,0123456789"]
    decimal = all(re.fullmatch(r"[-+]?\d*,\d+([eE][-+]?\d+)?", cell) for cell in commas)
    decimal = decimal and len(cells) > 1 and (len(commas) > 0 or "," not in line)
    blanks = str.maketrans({";": " ", "\t": " ", '"': " ", ",": "." if decimal else " "})
    mark = next((mark for mark in (";\t" if decimal else ";\t,") if mark in line), None)
    if mark is None:
        return None, blanks
    points = str.maketrans({",": "."} if decimal else {})
    cells, fields = cells_of(line.translate(points), mark), line.translate(blanks).split()
    if "" not in cells[:-1] and not all(map(is_number, cells)) and all(map(is_number, fields)):
        return None, blanks
    return mark, points


def is_ptx(path: Path) -> bool:
    """Whether a file begins as a PTX file does."""
    lines = text_lines(path, RowLayout(1, 0, ""))
    cells = [line.split() for line in itertools.islice(lines, len(PTX_HEADER))]
    return tuple(map(len, cells)) == PTX_HEADER and all(is_number(cell) for line in cells for cell in line)


def read_ptx(path: Path) -> Table:
    """The stations of a PTX file, each with its own frame, grid of rows and scanner, in the common frame."""
    lines, number, stations, places, notes = text_lines(path, RowLayout(1, 0, "")), 1, [], [], []
    while (line := next_row(lines)) is not None:
        header = [line.split(), *(line.split() for line in itertools.islice(lines, len(PTX_HEADER) - 1))]
        count, place, matrix = _station(path, number, header)
        values = _grid(path, number + len(PTX_HEADER), lines, count)
        number += len(PTX_HEADER) + count
        values = values[values[:, :3].any(axis=1)]  # 0 0 0 is where nothing came back
        values[:, :3] = values[:, :3] @ matrix[:3, :3] + matrix[3, :3]
        stations.append(values)
        if len(values):
            low, high = values[:, :3].min(axis=0), values[:, :3].max(axis=0)
            away = np.linalg.norm(np.maximum(np.maximum(low - place, place - high), 0))
            if not away <= FAR * np.linalg.norm(high - low):
                notes.append(f"station {len(stations)} has its scanner far from its points: not used as its place")
                place = place * np.nan
        places.append(place)
    counts, width = [len(values) for values in stations], min(values.shape[1] for values in stations)
    values, scans = (
        np.vstack([values[:, :width] for values in stations]),
        np.repeat(np.arange(len(counts)), counts),
    )
    attributes = {"scan": scans} if len(counts) > 1 else {}
    if width > 3:
        attributes["intensity"] = values[:, 3].copy()
    if width == 7 and (colors := as_colors(values[:, 4:])) is not None:
        attributes["colors"] = colors
    known = np.isfinite(places).all(axis=1)
    views = np.where(known, np.cumsum(known) - 1, -1)[scans]
    viewpoints = np.array(places)[known] if known.any() else None
    points = np.ascontiguousarray(values[:, :3])
    return Table(points, None, attributes, viewpoints, None if viewpoints is None else views, tuple(notes))


def _station(path: Path, number: int, header: Sequence[Sequence[str]]) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of rows, place of the scanner, and matrix of a station, whose header begins on a line."""
    if tuple(map(len, header)) != PTX_HEADER or not all(map(is_count, header[:2])):
        raise InputError(
            f"{path.name}: a station is expected from line {number} on: its columns, its rows, and 8 lines of its "
            "scanner's place and matrix."
        )
    if not all(is_number(word) for line in header for word in line):
        raise InputError(f"{path.name}: the header of the station from line {number} on holds other than numbers.")
    count = math.prod(int(line[0]) for line in header[:2])
    if 6 * count > path.stat().st_size:  # 0 0 0 and the end of the line
        raise cut_short(path.name, count)
    place, matrix = np.array(header[2], float), np.array(header[6:], float)
    if matrix[:3, 3].any() and not matrix[3, :3].any():
        matrix = matrix.T  # of a writer that multiplies columns
    return count, place if place.any() else matrix[3, :3], matrix


def _grid(path: Path, first: int, lines: Iterator[str], count: int) -> np.ndarray:
    """The rows (count, 3, 4 or 7) of a station, from a line on."""
    line = next_row(lines) if count else None
    width = 3 if line is None else len(line.split())
    if width not in (3, 4, 7):
        raise wrong_count(path, first, width, "4 (x y z intensity) or 7 (x y z intensity r g b)")
    rows = itertools.chain([] if line is None else [line], lines)
    values = parsed(rows, path, RowLayout(first, width, f"{width} like line {first}"), count)
    if len(values) < count:
        raise cut_short(path.name, count, len(values))
    return values
