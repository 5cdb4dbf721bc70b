"""Many scans in one go: each of several processes takes its share, what is finished can be left alone, one that
fails does not stop the others, and a table says what became of each.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .errors import InputError
from .settings import parse_json
from .store.atomic import make_folder, read_small_text, write_bytes

Row = dict[str, Any]
"""What became of a scan; one entry is its name."""
Item = TypeVar("Item")


def share(items: Sequence[Item], rank: tuple[int, int]) -> list[Item]:
    """The items of this process: of `rank` = (k, n) every n-th from the k-th on."""
    return list(items[rank[0] :: rank[1]])


@dataclass(frozen=True)
class Table:
    """The table of this process, and those of others or of earlier runs beside it."""

    path: Path
    """File of this process, .csv or .json."""
    pattern: str
    """Of the names of all such files in its folder."""
    key: str
    """Entry of a row that is the scan's name."""
    columns: tuple[str, ...] = ()
    """Of a .csv."""

    def write(self, rows: Iterable[Row]) -> None:
        """Replace the file, whole or not at all."""
        if self.path.suffix == ".json":
            data = json.dumps({"scans": list(rows)}, indent=1).encode()
        else:
            text = io.StringIO()
            writer = csv.DictWriter(text, self.columns, restval="", extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            data = text.getvalue().encode(errors="backslashreplace")  # names of files need not be text
        make_folder(self.path.parent)
        write_bytes(self.path, data)

    def read(self) -> dict[str, Row]:
        """What all tables in the folder say of scans that did not fail, by scan; of two rows the one written last.

        Raises:
            InputError: a table is damaged.
        """
        rows: dict[str, Row] = {}
        for path in sorted(self.path.parent.glob(self.pattern), key=lambda path: path.stat().st_mtime_ns):
            try:
                rows |= {row[self.key]: row for row in self._rows(path) if not _failed(row)}
            except (ValueError, KeyError, TypeError, csv.Error):
                raise InputError(
                    f"{path} is damaged, and what it says would be lost: move it away, or leave out --skip"
                ) from None
        return rows

    def _rows(self, path: Path) -> list[Row]:
        if path.suffix == ".json":
            return [dict(row) for row in parse_json(read_small_text(path), path)["scans"]]
        reader = csv.DictReader(io.StringIO(read_small_text(path)), strict=True)
        found = list(reader)
        if not {*self.columns[:2]} <= set(reader.fieldnames or ()):
            raise ValueError("its columns are others")
        if any(None in row or None in row.values() for row in found):
            raise ValueError("a row is too long or too short")
        return found


def _failed(row: Row) -> bool:
    return "error" in row or row.get("status") == "failed"


class Batch:
    """The scans of this process, those to do and what is known of the others.

    Args:
        scans: files by the scans' names, of all processes.
        finished: the row of a scan that needs not be done again, by its name and its earlier row ({} without one);
            None if it is to be done. Asked with `skip` only.
        table: where the rows are kept; None for nowhere.
        skip: leave finished scans alone, and keep what the tables say of finished ones that are not asked for.
        rank: this process and the number of them.

    Raises:
        InputError: with `skip`, a table is damaged.
    """

    def __init__(
        self,
        scans: Mapping[str, Path],
        finished: Callable[[str, Row], Row | None],
        table: Table | None = None,
        *,
        skip: bool = False,
        rank: tuple[int, int] = (0, 1),
    ) -> None:
        self.table = table
        self.names = share(list(scans), rank)
        known = table.read() if skip and table else {}
        found = {name: finished(name, known.get(name, {})) for name in (self.names if skip else ())}
        self.rows: dict[str, Row] = {name: row for name, row in found.items() if row is not None}
        self.todo = {name: scans[name] for name in self.names if name not in self.rows}
        self.others = [row for name, row in known.items() if name not in scans and rank[0] == 0]

    def run(
        self, work: Callable[[dict[str, Path]], Iterable[tuple[str, Row]]], *, together: int = 1
    ) -> Iterator[Row]:
        """The new rows, as they come; the table is written at the start and after so many scans, also when it is
        stopped.

        Args:
            work: the rows by name of some scans.
            together: how many it is given at a time.
        """
        self._save()
        todo = list(self.todo)
        for start in range(0, len(todo), together):
            try:
                for name, row in work({name: self.todo[name] for name in todo[start : start + together]}):
                    self.rows[name] = row
                    yield row
            finally:
                self._save()

    def _save(self) -> None:
        if self.table is not None:
            self.table.write([*(self.rows[name] for name in self.names if name in self.rows), *self.others])
