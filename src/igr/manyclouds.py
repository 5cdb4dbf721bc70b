"""Many clouds with one command: each in turn, failures at the end, a table of results, shared among ranks."""

from __future__ import annotations

import csv
import dataclasses
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import FAILURES, InputError, reason
from .files import make_folder, write_bytes
from .inputs import read_small_text
from .parallel import rank_and_ranks
from .splits import list_scans, scan_name
from .talk import report_result, say

if TYPE_CHECKING:
    from .commands import Reconstruct

SUFFIXES = ("_mesh.ply", "_curve.svg")
"""What is added to a scan's name for its result, in space and in the plane."""
COLUMNS = (
    *("name", "status", "message", "output", "seconds", "points", "strays", "normals", "noise", "spacing"),
    *("resolution", "vertices", "triangles", "watertight", "components", "curves", "closed"),
)
"""Columns of the table: the scan, what became of it, and what `igr reconstruct --json` says."""


def reconstruct_all(command: Reconstruct) -> int:
    """Reconstruct every scan of a command into its folder; returns the exit status, 1 if any failed.

    The table is DIR/results.csv, rewritten after every scan; of torchrun's ranks, each takes its share of the
    scans and writes DIR/results.RANK.csv. With --skip, what the tables there say of finished scans is kept.

    Raises:
        InputError: no folder is given, options do not go together, two scans would get one name, or with --skip a
            table is damaged.
    """
    folder = _checked(command)
    rank, ranks = rank_and_ranks()
    scans = find_scans(command.scans, leave_out=folder)
    mine = dict(list(scans.items())[rank::ranks])
    make_folder(folder)
    known = _rows(folder) if command.skip else {}
    others = [row for name, row in known.items() if name not in scans and rank == 0]
    table = folder / ("results.csv" if ranks == 1 else f"results.{rank}.csv")
    rows = {
        name: known.get(name, {"output": str(done)}) | {"name": name, "status": "done"}
        for name in (mine if command.skip else ())
        if (done := _result(folder, name)) and all(path.exists() for path in _places(command, name).values())
    }
    write_bytes(table, _csv([*rows.values(), *others]))
    for index, (name, scan) in enumerate(mine.items(), start=1):
        if name in rows:
            continue
        say(f"scan {index:,} of {len(mine):,}  {name}")
        try:
            rows[name] = _one(command, name, scan, folder)
        except KeyboardInterrupt:
            say("what is finished stays; the same command with --skip continues")
            raise
        write_bytes(table, _csv([*(rows[name] for name in mine if name in rows), *others]))
    return _summary(rows, table)


def find_scans(paths: tuple[Path, ...], *, leave_out: Path | None = None) -> dict[str, Path]:
    """The scans of files and folders by the names of their results: in order, from folders with their subfolders.

    Args:
        paths: files and folders.
        leave_out: a folder not to look into, that of the results.

    Raises:
        InputError: a folder is empty, or two scans would get one name.
    """
    scans: dict[str, Path] = {}
    for path in paths:
        found = list_scans(path, leave_out=leave_out) if path.is_dir() else {scan_name(Path(path.name)): path}
        for name, scan in found.items():
            if name in scans:
                raise InputError(f"{scans[name]} and {scan} would get one name; give them in separate runs")
            scans[name] = scan
    return scans


def _checked(command: Reconstruct) -> Path:
    """The folder for the results, after refusing what does not go together."""
    for name in ("conf", "run", "resume", "overwrite", "watch"):
        if getattr(command, name):
            raise InputError(f"--{name} is for one scan; several were given")
    if command.output is None:
        raise InputError("several scans need a folder for their results: -o DIR/")
    if any(path.is_dir() and path.resolve() == command.output.resolve() for path in command.scans):
        raise InputError(f"the results need a folder of their own, not that of the scans, {command.output}")
    for name in ("output", "model", "report"):
        folder = getattr(command, name)
        if folder is not None and (folder.is_file() or (folder.suffix and not folder.exists())):
            raise InputError(f"{folder} is no folder, but several scans were given; name a folder")
    return command.output


def _one(command: Reconstruct, name: str, scan: Path, folder: Path) -> dict[str, Any]:
    """Reconstruct one scan; returns its row of the table."""
    began = time.monotonic()
    try:
        places = _places(command, name)
        beside = folder / f"{name}.ply"
        for place in (beside, *places.values()):
            make_folder(place.parent)
        alone = dataclasses.replace(command, scans=(scan,), output=None, **places)
        result = alone.reconstruct(rescue=False, beside=beside)
    except FAILURES as problem:
        say(f"igr: failed: {reason(problem)}")
        seconds = round(time.monotonic() - began, 3)
        return {"name": name, "status": "failed", "message": reason(problem), "seconds": seconds}
    report_result(result, as_json=command.json)
    return {**result, "name": name, "status": "done", "message": "; ".join(result["notes"])}


def _places(command: Reconstruct, name: str) -> dict[str, Path]:
    """Where model and report of a scan go, as far as they are wanted."""
    planned = {"model": (command.model, ".igr"), "report": (command.report, ".html")}
    return {key: place / f"{name}{suffix}" for key, (place, suffix) in planned.items() if place is not None}


def _result(folder: Path, name: str) -> Path | None:
    """The result of a scan that is there already."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").exists()), None)


def _rows(folder: Path) -> dict[str, dict[str, Any]]:
    """What the tables of earlier runs say of finished scans, by name; of two rows the one written last.

    Raises:
        InputError: a table is damaged.
    """
    rows: dict[str, dict[str, Any]] = {}
    for table in sorted(folder.glob("results*.csv"), key=lambda path: path.stat().st_mtime_ns):
        try:
            reader = csv.DictReader(io.StringIO(read_small_text(table)), strict=True)
            found = list(reader)
            whole = {"name", "status"} <= set(reader.fieldnames or ())
            if not whole or any(None in row or None in row.values() for row in found):
                raise ValueError
            rows |= {row["name"]: row for row in found if row["status"] == "done"}
        except (ValueError, csv.Error):
            raise InputError(
                f"{table} is damaged, and what it says would be lost: move it away, or leave out --skip"
            ) from None
    return rows


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="backslashreplace")  # names of files need not be text


def _summary(rows: dict[str, dict[str, Any]], table: Path) -> int:
    failed = [row for row in rows.values() if row["status"] == "failed"]
    for row in failed:
        say(f"igr: failed: {row['name']}: {row['message']}")
    say(f"{len(rows):,} scans, {len(failed):,} of them failed; table in {table}")
    return 1 if failed else 0
