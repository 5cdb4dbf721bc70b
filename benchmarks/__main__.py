"""Measure, and write `results.md`: `python -m benchmarks [section …]`; sections not named stay as they were."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from . import (
    bare,
    holes,
    large,
    others,
    peer_cells,
    photos,
    planar,
    price,
    protocols,
    sheets,
    spaces,
    speed,
    surfaces,
)
from .clouds import available
from .sections import machine, write_section

RESULTS = Path(__file__).with_name("results.md")
HEAD = """# Results

Printed by `make bench` (`python -m benchmarks SECTION` for one).
The machine is shared: ratios say more than times.
"""


def native_step() -> Iterator[str]:
    """The native step by phase, evaluation, share of peak, and the torch reference on the same batch."""
    script = Path(__file__).with_name("native_step.py")
    done = subprocess.run([sys.executable, str(script), "--torch"], capture_output=True, text=True, check=True)
    yield from ["```", *done.stdout.rstrip().splitlines(), "```"]


SECTIONS: dict[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "scans": ("Benchmark scans, whole command", surfaces.scans),
    "evaluate": ("Benchmark scans by every protocol of `igr evaluate`", protocols.protocols),
    "clean": ("50,000 clean samples of closed meshes, true normals", lambda: surfaces.sampled(noise=0.0)),
    "noise": ("The same with 1 % Gaussian noise", lambda: surfaces.sampled(noise=0.01)),
    "bare-scans": ("Scans without normals", bare.bare_scans),
    "bare-samples": ("Samples of closed meshes without normals", bare.bare_samples),
    "bare-seeds": ("Without normals, seed by seed", bare.bare_seeds),
    "outlines": ("Outlines of 100 points", planar.outlines),
    "confidence": ("Confidence against the true error", holes.confidence),
    "open": ("Open scans", sheets.open_scans),
    "views": ("Single views, the sensor known", sheets.views),
    "decisions": ("Open or closed", sheets.decisions),
    "everyday": ("Other input, whole command", surfaces.everyday),
    "budgets": ("Quality against time; distance quality", surfaces.budgets),
    "native": ("Native training step and evaluation", native_step),
    "paper": ("The paper's network", speed.paper_step),
    "meshing": ("Meshing", speed.meshing),
    "peer-cells": ("Meshing beside libigl", peer_cells.rows),
    "reading": ("Reading and comparing a million points", speed.reading),
    "watching": ("Watching a fit", speed.watching),
    "starting": ("Starting", speed.starting),
    "price": ("Accuracy and its price", price.rows),
    "others": ("Beside MeshLib and Poisson, whole processes", others.rows),
    "large": ("Large clouds", large.rows),
    "larger": ("A hundred million points", large.larger),
    "sizes": ("Cost as the cloud grows", speed.sizes),
    "photos": ("Photographs", photos.rows),
    "bodies": ("Shape spaces: the shipped one", spaces.shipped),
    "training": ("Shape spaces: training", spaces.trained),
    "many-scans": ("Shape spaces: many scans", spaces.many),
}


def main(names: list[str]) -> None:
    """Measure the named sections, or all, and put them into the file."""
    if not available():
        sys.exit("the measured clouds are not here: set IGR_DATA to the folder of the development data")
    for name in names or SECTIONS:
        title, section = SECTIONS[name]
        lines = [f"## {title}", "", f"*{machine()}*", ""]
        for line in section():
            print(line, flush=True)
            lines.append(line)
        write_section(RESULTS, name, lines, head=HEAD)


if __name__ == "__main__":
    main(sys.argv[1:])
