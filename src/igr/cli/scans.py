"""Many clouds with one command, each in turn, with a table; and folders of scans: dfaust preprocess and split."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import OmitSubcommandPrefixes, Positional, arg

from ..batch import Batch, Row, Table
from ..errors import FAILURES, InputError, reason
from ..machine import rank_and_ranks
from ..store.atomic import make_folder
from .output import report_result, say, tell

if TYPE_CHECKING:
    from .reconstruct import Reconstruct

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
    rank = rank_and_ranks()
    make_folder(folder)
    path = folder / ("results.csv" if rank[1] == 1 else f"results.{rank[0]}.csv")

    def finished(name: str, row: Row) -> Row | None:
        result = next((path for end in SUFFIXES if (path := folder / f"{name}{end}").exists()), None)
        if result is None or not all(path.exists() for path in _places(command, name).values()):
            return None
        return (row or {"output": str(result)}) | {"name": name, "status": "done"}

    scans = find_scans(command.scans, leave_out=folder)
    batch = Batch(scans, finished, Table(path, "results*.csv", "name", COLUMNS), skip=command.skip, rank=rank)

    def work(some: dict[str, Path]) -> Iterator[tuple[str, Row]]:
        if command.cluster:
            from ..large.cluster import each

            items = {name: (command, name, scan, folder) for name, scan in some.items()}
            yield from each(command.cluster, _one, items)
            return
        for name, scan in some.items():
            say(f"scan {batch.names.index(name) + 1:,} of {len(batch.names):,}  {name}")
            yield name, _one(command, name, scan, folder)

    try:
        list(batch.run(work, together=len(scans) if command.cluster else 1))
    except KeyboardInterrupt:
        say("what is finished stays; the same command with --skip continues")
        raise
    return _summary(batch.rows, path)


def find_scans(paths: tuple[Path, ...], *, leave_out: Path | None = None) -> dict[str, Path]:
    """The scans of files and folders by the names of their results: in order, from folders with their subfolders.

    Args:
        paths: files and folders.
        leave_out: a folder not to look into, that of the results.

    Raises:
        InputError: a folder is empty, or two scans would get one name.
    """
    from ..formats.colmap import is_model
    from ..scans.folders import list_scans, scan_name

    scans: dict[str, Path] = {}
    for path in paths:
        many = path.is_dir() and not is_model(path)
        found = list_scans(path, leave_out=leave_out) if many else {scan_name(Path(path.name)): path}
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


def _one(command: Reconstruct, name: str, scan: Path, folder: Path) -> Row:
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


def _summary(rows: dict[str, Row], table: Path) -> int:
    failed = [row for row in rows.values() if row["status"] == "failed"]
    for row in failed:
        say(f"igr: failed: {row['name']}: {row['message']}")
    say(f"{len(rows):,} scans, {len(failed):,} of them failed; table in {table}")
    return 1 if failed else 0


@dataclass(frozen=True)
class Preprocess:
    """Sample every scan of a folder (D-FAUST's layout, or any) to points with normals, centered, not scaled."""

    src_path: Path
    """Folder of scans: SRC/scans/SUBJECT/MOTION/FRAME.ply, or any meshes and clouds."""
    out_path: Path
    """Samples are written to OUT/dfaust_processed/SUBJECT/MOTION/FRAME.npy."""
    mode: Literal[0, 1] | None = None
    """0: only the scans for training, 1: only those held back; needs splits (SRC/splits or --split)."""
    split: Path | None = None
    """Split file whose scans are sampled; with --mode, a folder of them."""
    names: str = ""
    """Only these subjects, separated by commas."""
    skip: bool = False
    """Leave scans alone that are already sampled: continues after a stop."""
    samples: int = 250_000
    """Points of each scan."""
    seed: int = 0
    """Seed of the samples."""
    workers: int | None = None
    """Processes; one a core by default. torchrun's ranks share the scans among them."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from ..machine import rank_and_ranks
        from ..scans.preprocess import Preprocessing, ScanProgress, preprocess

        names = tuple(name for name in self.names.split(",") if name)
        options = Preprocessing(self.samples, self.mode, self.split, names, self.skip, rank_and_ranks(), self.seed)
        shown_at = time.monotonic()

        def show(progress: ScanProgress) -> None:
            nonlocal shown_at
            now = time.monotonic()
            if now - shown_at > (0.5 if sys.stderr.isatty() else 5) or progress.finished == progress.total:
                shown_at = now
                left = f"{progress.seconds_left:.0f} s left"
                say(f"scan {progress.finished:,} of {progress.total:,}  {progress.name}  {left}")

        report = preprocess(self.src_path, self.out_path, options, workers=self.workers, on_scan=show)
        for scan, problem in report.failed:
            say(f"igr: failed: {scan}: {problem}")
        tell(f"sampled {len(report.done):,} scans, skipped {len(report.skipped):,}, failed {len(report.failed):,}")
        return 1 if report.failed else 0


@dataclass(frozen=True)
class Split:
    """Divide the scans of a folder into train_all.json and test_all.json."""

    folder: Positional[Path]
    """Folder of scans."""
    out_path: Annotated[Path, arg(aliases=["-o"])]
    """Folder for the two files."""
    by: Literal["scan", "subject"] = "scan"
    """Hold back single scans, or whole subjects."""
    share: float = 0.75
    """Share for training."""
    seed: int = 0
    """Seed of the choice."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from ..scans.folders import split_folder

        for path in split_folder(self.folder, self.out_path, by=self.by, share=self.share, seed=self.seed):
            tell(f"wrote {path}")
        return 0


@dataclass(frozen=True)
class Dfaust:
    """Prepare folders of scans: sample them, and divide them into training and test."""

    command: OmitSubcommandPrefixes[Preprocess | Split]
    """What to do."""

    def __call__(self) -> int:
        """Run the subcommand."""
        return self.command()
