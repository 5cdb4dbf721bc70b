"""One surface from a cloud larger than memory: the whole way, block by block.

Points are sorted into blocks on disk (`blocks.py`); a sample of all is fitted coarsely, and tells sides and far
distances; each block gets a field of its own (`block.py`); together they are one field (`blend.py`), meshed block
by block on one lattice (`lattice.py`) and written as one mesh (`join.py`). `work.py` is what one block needs, so
that blocks can be done in any order, by any process that sees the folder (`cluster.py`).
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..config import FAST, Config
from ..errors import InputError
from ..fit.memory import fitting
from ..machine import available, threads
from ..mesh.border import Ends, ends
from ..reconstruction import MAX_SAMPLES, Normals, Options, reconstruct
from ..settings import Checked, Count, Positive
from ..store.atomic import locked, make_folder, write_bytes
from ..surface.surface import Surface
from ..tiles.blocks import INDEX, opened, sort, source_of
from .join import check_joined, join
from .work import Plan, Work

logger = logging.getLogger(__name__)

BLOCK_POINTS = 500_000
"""Points of a block: of larger ones fewer fit into memory side by side, smaller ones look at more points twice."""
COARSE = 1 / 16
"""Share of the points that the coarse fit is made from: at least `MAX_SAMPLES`, at most as many as a block has."""


@dataclass(frozen=True)
class LargeOptions(Checked):
    """How a large cloud is reconstructed, beside its configuration."""

    block_points: Count = BLOCK_POINTS
    """Points of a block, at most about."""
    normals: Normals = "auto"
    """As for `reconstruct`; judged by the sample that is fitted coarsely."""
    surface: Ends = "auto"
    holes: Positive | None = None
    trim: Positive | None = None
    """Where the surface ends, as for `Surface.mesh`."""
    cell: Positive | None = None
    """Edge of the mesh's cells, in the scan's units; None: those that show what a field holds."""
    attributes: bool = True
    """Vertices get the cloud's colors and others."""
    resume: bool = False
    """Go on with the blocks that are missing in the folder."""
    keep: bool = True
    """Keep the folder: its fields are the surface that `large_surface` opens."""
    cluster: str = ""
    """`tcp://HOST:PORT` of a Dask scheduler, whose workers see the folder under the same path; `local:N` for N
    processes here; empty: in this process, as many blocks at once as there are threads and memory for."""


def reconstruct_large(
    paths: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    config: Config = FAST,
    options: LargeOptions | None = None,
    notify: Callable[[str], None] = logger.info,
) -> dict[str, Any]:
    """A cloud of any size to a mesh in a PLY file, or 3D Tiles; never more of it in memory than a few blocks.

    Args:
        paths: files of the cloud, tiles of one: las, laz, e57, ply, npy.
        output: the mesh: a .ply, or the .json of 3D Tiles, beside which a GLB of each block is written.
        folder: where the work is kept: see `work.py`. What is there can be resumed, by the same paths and options.
        config: of every fit.
        options: blocks, ends, processes.
        notify: told, in one sentence each, what was noticed, and of every block that is done.

    Returns:
        What there is to say: of the coarse fit, the blocks and the mesh.

    Raises:
        InputError: the files cannot be used, or the folder holds other work; the message says why.
        FitError: there is no surface, or a fit diverged.
    """
    options, began = options or LargeOptions(), time.monotonic()
    check_joined(Path(output))
    ends(options.surface, options.holes, options.trim)
    if options.cluster:
        from .cluster import check_address

        check_address(options.cluster)
    work, files = Work(make_folder(folder)), [Path(path) for path in paths]
    with locked(work.folder / "lock", f"the folder {work.folder}"):
        _sort(work, files, config, options, notify)
        _plan(work, config, options, notify)
        count, left = len(work.blocks), _Left(work, notify)
        for kind, block in _events(work, options.cluster):
            left.done(kind, block)
            if kind == "piece" and not options.keep:
                work.forget(block)
        joined = join(Path(output), count, work.piece)
    details = {name: told for name, told in work.whole.details.items() if name not in ("points", "fit")}
    details |= {"points": int(work.blocks.counts.sum()), "blocks": count} | dataclasses.asdict(joined)
    details |= {"output": str(output), "open": work.plan.is_open, "seconds": round(time.monotonic() - began, 3)}
    if not options.keep:
        shutil.rmtree(work.folder)
    return details


def large_surface(folder: str | os.PathLike[str]) -> Surface:
    """The surface of a large cloud from the folder of its blocks, which are read when they are asked for.

    It is asked as any surface is; its samples, and so what `confidence` and `attributes` go by, are those of the
    coarse fit. It cannot be saved to one file or as an ONNX model: the folder is how it is kept.

    Raises:
        InputError: the folder holds no such surface, or not all of its blocks.
    """
    work = Work(folder)
    missing = work.missing("block")
    if missing:
        raise InputError(
            f"{folder} holds {len(work.blocks) - len(missing)} of {len(work.blocks)} blocks: resume its run, or "
            "keep the folder (keep=True, --run)"
        )
    whole = work.whole
    kept = {"samples": whole.samples, "near": whole.near, "details": whole.details, "measured": whole.measured}
    return Surface(work.field, whole.frame, whole.config, **kept)


def _sort(
    work: Work, files: list[Path], config: Config, options: LargeOptions, notify: Callable[[str], None]
) -> None:
    """The points in blocks on disk, where they are not yet."""
    points, source = work.folder / "points", source_of(files, options.block_points, config.seed)
    if (points / INDEX).exists():
        if not options.resume:
            raise InputError(f"{work.folder} holds blocks already: resume it, or choose another folder")
        opened(points, source)
        return
    began = time.monotonic()
    blocks = sort(files, points, options.block_points, seed=config.seed, notify=notify)
    total, seconds = int(blocks.counts.sum()), time.monotonic() - began
    notify(f"{total:,} points sorted into {len(blocks)} blocks in {seconds:.0f} s")


def _plan(work: Work, config: Config, options: LargeOptions, notify: Callable[[str], None]) -> None:
    """The coarse fit, and the plan of all blocks, where they are not there yet."""
    if (work.folder / "plan.json").exists():
        return
    counts = work.blocks.counts
    if not (work.folder / "whole.igr").exists():
        taken = int(np.clip(COARSE * counts.sum(), MAX_SAMPLES, max(MAX_SAMPLES, counts.max())))
        told = Options(normals=options.normals, surface=options.surface)
        coarse = reconstruct(work.blocks.sample(taken), config=config, options=told, notify=notify)
        write_bytes(work.folder / "whole.igr", coarse.to_bytes())
    told, step = work.whole.details, options.cell and options.cell / work.whole.frame.scale
    is_open = ends(options.surface, options.holes, options.trim, found=work.whole.is_open)
    of_all = config.to_json(), told["normals"], told["spacing"], step, is_open
    work.plan = Plan(*of_all, options.holes, options.trim, attributes=options.attributes)


def _events(work: Work, cluster: str) -> Iterator[tuple[str, int]]:
    """Fit and mesh every block that is not yet, here or elsewhere; each as it is done."""
    if cluster:
        from .cluster import on_cluster

        yield from on_cluster(work, cluster)
        return
    waiting, running = work.missing("piece"), {}
    todo = work.needed(waiting)
    unfitted = set(todo)
    pool = ThreadPoolExecutor(count := _at_once(work))
    try:
        while waiting or running:
            known = waiting if work.find_step() else []
            ready = [("piece", piece) for piece in known if not unfitted.intersection(work.asks[piece])]
            for kind, block in [*ready, *(("block", block) for block in todo)][: count - len(running)]:
                (waiting if kind == "piece" else todo).remove(block)
                running[pool.submit(work.mesh if kind == "piece" else work.fit, block)] = kind, block
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                kind, block = running.pop(done)
                done.result()
                unfitted.discard(block)
                yield kind, block
    finally:
        interrupted = isinstance(sys.exception(), KeyboardInterrupt)  # nobody waits for what runs then
        pool.shutdown(wait=not interrupted, cancel_futures=True)


def _at_once(work: Work) -> int:
    """Blocks that are worked on side by side: as many as there are threads, and memory for."""
    points, config = int(work.blocks.counts.max()), Config.from_json(work.plan.config)
    return int(np.clip(available() // fitting(2 * points, 3, config, with_normals=False), 1, threads()))


class _Left:
    """Says how far the work is, and how long it will take."""

    def __init__(self, work: Work, notify: Callable[[str], None]) -> None:
        self.notify, self.began, self.count, self.blocks = notify, time.monotonic(), 0, len(work.blocks)
        pieces = work.missing("piece")
        self.total = len(pieces) + len(work.needed(pieces))

    def done(self, kind: str, block: int) -> None:
        """A block was fitted, or meshed."""
        self.count += 1
        left = (time.monotonic() - self.began) / self.count * (self.total - self.count)
        what = "fitted" if kind == "block" else "meshed"
        self.notify(f"block {block + 1} of {self.blocks} {what}; {_readable(left)} left")


def _readable(seconds: float) -> str:
    """A time to read.

    >>> _readable(50), _readable(200)
    ('50 s', '3 min')
    """
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
