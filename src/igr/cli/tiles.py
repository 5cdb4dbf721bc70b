"""One cloud in many files, or larger than one field: reconstructed in blocks."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .output import say, tell
from .scans import find_scans

if TYPE_CHECKING:
    from .reconstruct import Reconstruct


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """A cloud of many files, or larger than one field: cut into blocks."""

    tiles: bool = False
    """The scans, or all files of a folder, are tiles of one cloud: one surface of all of them."""
    block_points: int | None = None
    """Cut the cloud into blocks of about so many points, each with a field of its own (default: 500,000, from 2
    million points on)."""
    cell: float | None = None
    """Edge of the mesh's cells where the cloud is cut into blocks (the scan's units; default: as points allow)."""
    cluster: str | None = None
    """Let a Dask cluster do the blocks, or several scans: local:N for N processes here, or tcp://HOST:PORT of a
    scheduler whose workers see the same files (extra `cluster`)."""


IN_BLOCKS = {
    "scans",
    "output",
    "run",
    "resume",
    "normals",
    "surface",
    "holes",
    "trim",
    "attributes",
    "seed",
    "json",
}
"""Options beside those of `Tiling` that a cloud in blocks can have."""


def is_large(command: Reconstruct) -> bool:
    """Whether the cloud of a command is cut into blocks: as was asked, or where it has more points than one field
    makes use of and nothing is asked that only one field can do."""
    if command.tiles or command.block_points or command.cell:
        return True
    if len(command.scans) != 1 or _only_whole(command):
        return False
    from ..config import FAST
    from ..fit.adapt import useful
    from ..tiles.records import rows_in

    rows = rows_in(command.scans[0])
    return rows > useful(FAST, rows)


def _only_whole(command: Reconstruct) -> list[str]:
    """Options that were asked for and that a cloud in blocks cannot have."""
    known = {field.name for field in dataclasses.fields(Tiling)} | IN_BLOCKS
    asked = (field for field in dataclasses.fields(command) if getattr(command, field.name) != field.default)
    return [field.name for field in asked if field.name not in known]


def reconstruct_tiles(command: Reconstruct) -> int:
    """Reconstruct the cloud of a command in blocks; returns the exit status.

    Raises:
        InputError: options do not go together, or the files cannot be used.
    """
    from ..config import FAST
    from ..large.whole import BLOCK_POINTS, LargeOptions, reconstruct_large

    for name in _only_whole(command):
        raise InputError(f"--{name.replace('_', '-')} is not for a cloud in blocks; leave it out")
    paths = list(find_scans(command.scans).values())
    first = command.scans[0]
    output = command.output or first.with_name(f"{first.stem}_mesh.ply")
    folder = command.run or Path("runs") / f"{first.stem}-blocks"
    options = LargeOptions(
        command.block_points or BLOCK_POINTS,
        command.normals,
        command.surface,
        command.holes,
        command.trim,
        command.cell,
        command.attributes,
        resume=command.resume,
        keep=command.run is not None,
        cluster=command.cluster or "",
    )
    config = dataclasses.replace(FAST, seed=command.seed)
    try:
        result = reconstruct_large(
            paths, output, folder, config=config, options=options, notify=lambda note: say(f"{first.name}: {note}")
        )
    except KeyboardInterrupt:
        say(f"kept in {folder}; the same command with --resume continues")
        raise
    shape = "open" if result["open"] else "watertight" if result["open_edges"] == 0 else "not watertight"
    if command.json:
        print(json.dumps({"scan": str(first), **result}))
        return 0
    say(f"mesh  {result['triangles']:,} triangles, {shape}, {result['components']:,} components")
    tell(f"wrote {output} in {result['seconds']:.1f} s")
    return 0
