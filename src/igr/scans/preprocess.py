"""Scans to samples: what training a shape space reads, made once from a folder of scans such as D-FAUST.

SRC/scans/SUBJECT/MOTION/FRAME.ply becomes OUT/dfaust_processed/SUBJECT/MOTION/FRAME.npy, points on the surface
with their normals in float32 (n, 6), centered and not scaled, and FRAME.json beside it, which knows the way back.
Any other folder of meshes or clouds is treated the same.
"""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from ..batch import Batch, Row, share
from ..cloud.pointcloud import read_points
from ..errors import FitError, InputError, reason
from ..machine import threads
from ..mesh.triangles import face_normals, read_mesh, sample_mesh
from ..settings import parse_json
from ..store.atomic import make_folder, read_small_text, write_files
from .folders import choose, list_scans, read_split, subject_of

FOLDER = "dfaust_processed"
"""Folder of the samples below OUT, as the original calls it."""

MESH_SUFFIXES = (".ply", ".obj", ".off", ".stl", ".glb")
"""Files that may hold triangles."""

MODES = {0: "train", 1: "test"}
"""What the original's --mode chooses: the split files that begin so."""


@dataclass(frozen=True)
class Preprocessing:
    """Which scans are sampled, and how."""

    samples: int = 250_000
    """Points of each scan."""
    mode: Literal[0, 1] | None = None
    """0: only the scans for training; 1: only those held back; None: all. Needs a folder of splits."""
    split: Path | None = None
    """Split file: only the scans it names; or, with `mode`, a folder of them (default: SRC/splits)."""
    names: tuple[str, ...] = ()
    """Only these subjects; all when empty."""
    skip: bool = False
    """Leave scans alone whose samples are already there: continues after a stop."""
    shard: tuple[int, int] = (0, 1)
    """(k, n): only every n-th scan from the k-th on, to share the work among n machines."""
    seed: int = 0
    """Seed of the samples; each scan's own do not depend on which others are sampled."""


@dataclass(frozen=True)
class ScanProgress:
    """How far `preprocess` is, after each scan."""

    name: str
    """The scan that was finished."""
    finished: int
    """Scans behind us, failed ones too."""
    total: int
    """Scans to be sampled."""
    failed: int
    """Scans that could not be sampled so far."""
    seconds: float
    """Since the start."""

    @property
    def seconds_left(self) -> float:
        """Time to go, if it goes on like this."""
        return self.seconds / self.finished * (self.total - self.finished)


@dataclass(frozen=True)
class Report:
    """What `preprocess` did."""

    done: tuple[Path, ...]
    """Files written."""
    skipped: tuple[Path, ...]
    """Files that were there already."""
    failed: tuple[tuple[str, str], ...]
    """Scans that are missing or damaged, and why."""


def preprocess(
    src: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: Preprocessing | None = None,
    *,
    workers: int | None = None,
    on_scan: Callable[[ScanProgress], None] | None = None,
) -> Report:
    """Sample every scan of a folder; a scan that cannot be read is reported and does not stop the others.

    The samples depend on the scan, its name and the seed, not on the number of workers. Each file is whole or not
    there at all.

    Args:
        src: folder of scans, see `list_scans`.
        out: folder to write OUT/dfaust_processed into.
        options: which scans, and how many samples.
        workers: processes; None for one a core. With more than one, a script must guard its entry by
            `if __name__ == "__main__"`, since the workers import it.
        on_scan: called after each scan.

    Raises:
        InputError: `src`, a split or the options make no sense, or `out` cannot be written to.
        FitError: a worker was killed, for want of memory perhaps; what is finished stays.
    """
    options = options or Preprocessing()
    folder = Path(out) / FOLDER
    scans, missing = _chosen(Path(src), folder, options)
    targets = {name: folder / f"{name}.npy" for name in scans}
    batch = Batch(scans, lambda name, row: row if targets[name].is_file() else None, skip=options.skip)
    skipped, todo = list(batch.rows), {name: (scan, targets[name]) for name, scan in batch.todo.items()}
    failed = [(name, "there is no such file") for name in missing]
    done: list[Path] = []
    began = time.monotonic()
    for row in batch.run(lambda some: _sampled(todo, options, workers or threads()), together=len(scans) or 1):
        name, problem = row["name"], row["problem"]
        if problem is None:
            done.append(targets[name])
        else:
            failed.append((str(scans[name]), problem))
        if on_scan is not None:
            finished = len(done) + len(failed) - len(missing)
            on_scan(ScanProgress(name, finished, len(todo), len(failed), time.monotonic() - began))
    return Report(tuple(sorted(done)), tuple(targets[name] for name in skipped), tuple(sorted(failed)))


def sample_scan(path: str | os.PathLike[str], count: int, rng: np.random.Generator) -> Float[np.ndarray, "n c"]:
    """Points on a scan, in its own frame: by area with the triangles' normals, or out of a cloud as it is.

    Returns:
        Float64 (n, 6), or (n, 3) for a cloud without normals; n is `count`, or less for a smaller cloud.

    Raises:
        InputError: the scan cannot be read, or has nothing to sample.
    """
    path = Path(path)
    if path.suffix.lower() in MESH_SUFFIXES:
        vertices, faces = read_mesh(path)
        if len(faces):
            points, face = sample_mesh(vertices, faces, count, rng)
            return np.hstack([points, face_normals(vertices, faces)[face]])
    cloud = read_points(path)
    table = cloud.points if cloud.normals is None else np.hstack([cloud.points, cloud.normals])
    return table[rng.permutation(len(table))[:count]]


def placement(path: str | os.PathLike[str]) -> tuple[Float[np.ndarray, " d"], float]:
    """Center and scale that lead from samples back to their scan: scan = samples * scale + center.

    Args:
        path: the `.npy` file of the samples; where no `.json` stands beside it, the samples are the scan.

    Raises:
        InputError: the `.json` is damaged.
    """
    beside = Path(path).with_name(Path(path).stem + ".json")
    if not beside.exists():
        return np.zeros(3), 1.0
    values = parse_json(read_small_text(beside), beside)
    try:
        center, scale = np.array(values["center"], np.float64), float(values["scale"])
    except (ValueError, TypeError, KeyError, OverflowError):
        raise InputError(f"{beside} is damaged; preprocess its scan again") from None
    if center.shape not in ((2,), (3,)) or not np.isfinite(center).all() or not 0 < scale < np.inf:
        raise InputError(f"{beside} is damaged; preprocess its scan again")
    return center, scale


def _chosen(src: Path, folder: Path, options: Preprocessing) -> tuple[dict[str, Path], list[str]]:
    """The scans that the options ask for, and those that a split names without there being a file."""
    if options.samples < 1:
        raise InputError(f"{options.samples} samples a scan make no sense; at least 1 is needed")
    rank, ranks = options.shard
    if not 0 <= rank < ranks:
        raise InputError(f"shard {rank} of {ranks} makes no sense; it must be from 0 to {ranks - 1}")
    scans, missing = list_scans(src, leave_out=folder), []
    unknown = sorted(set(options.names) - {subject_of(name) for name in scans})
    if unknown:
        known = sorted({subject_of(name) for name in scans})
        raise InputError(f"{src} has no subject {unknown[0]!r}; there are {', '.join(known[:12])}")
    split = _split_file(src, options)
    if split is not None:
        scans, missing = choose(scans, read_split(split))
    wanted = sorted(name for name in [*scans, *missing] if not options.names or subject_of(name) in options.names)
    mine = share(wanted, options.shard)
    return {name: scans[name] for name in mine if name in scans}, [name for name in mine if name not in scans]


def _split_file(src: Path, options: Preprocessing) -> Path | None:
    """The split file that the options mean."""
    if options.mode is None:
        if options.split is not None and options.split.is_dir():
            raise InputError(f"{options.split} is a folder of splits; choose by mode 0 or 1, or name one file")
        return options.split
    if options.mode not in MODES:
        raise InputError(f"mode {options.mode} is unknown; 0 are the scans for training, 1 those held back")
    folder, kind = options.split or src / "splits", MODES[options.mode]
    if not folder.is_dir():
        raise InputError(f"mode {options.mode} needs a folder of splits with {kind}_all.json; {folder} is none")
    usual, others = folder / f"{kind}_all.json", sorted(folder.glob(f"{kind}*.json"))
    if not usual.is_file() and len(others) != 1:
        raise InputError(f"{folder} has no {kind}_all.json; name the split file itself, without a mode")
    return usual if usual.is_file() else others[0]


def _sampled(
    todo: dict[str, tuple[Path, Path]], options: Preprocessing, workers: int
) -> Iterator[tuple[str, Row]]:
    """Each scan's name as it is finished, and its row: why it failed, if it did."""
    tasks = {name: (name, *paths, options.samples, options.seed) for name, paths in todo.items()}
    if workers == 1 or len(tasks) < 2:
        yield from ((name, _sample_to_file(*task)) for name, task in tasks.items())
        return
    pool = ProcessPoolExecutor(min(workers, len(tasks)), get_context("spawn"), initializer=_follow_parent)
    try:
        futures = {pool.submit(_sample_to_file, *task): name for name, task in tasks.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise FitError(
            "a worker was killed, perhaps for want of memory; what is finished stays: "
            "continue with `skip` and fewer workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _sample_to_file(name: str, scan: Path, target: Path, samples: int, seed: int) -> Row:
    """Sample one scan into its files; its row says what is wrong with the scan, if anything."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    try:
        table = sample_scan(scan, samples, rng)
    except (InputError, MemoryError) as problem:
        return {"name": name, "problem": reason(problem)}
    dimension = table.shape[1] if table.shape[1] < 4 else table.shape[1] // 2
    center = table[:, :dimension].mean(axis=0)
    table[:, :dimension] -= center
    facts = {"center": center.tolist(), "scale": 1.0, "scan": scan.name, "samples": len(table)}
    stream = io.BytesIO()
    np.save(stream, table.astype(np.float32))
    make_folder(target.parent)
    beside = target.with_name(target.stem + ".json")
    write_files({beside: json.dumps(facts).encode(), target: stream.getvalue()}, withdrawn=target)
    return {"name": name, "problem": None}


def _follow_parent() -> None:
    """Ctrl-C is for the parent, which lets the workers finish the scan at hand; if it is killed they end too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
