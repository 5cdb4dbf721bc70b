"""What the subcommands for folders of scans do: dfaust preprocess, dfaust split."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitSubcommandPrefixes, Positional, arg

from .talk import say, tell


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
        from .dfaust import Preprocessing, ScanProgress, preprocess
        from .parallel import rank_and_ranks

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
        for scan, reason in report.failed:
            say(f"igr: failed: {scan}: {reason}")
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
        from .splits import split_folder

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
