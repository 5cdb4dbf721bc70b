"""Try every fault: `python -m torture [--minutes 30] [section …]`; status 1 if anything was not survived.

`results.md` is rewritten section by section; those not named stay as they were.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.sections import machine, write_section

from . import interruptions, limits, load, mutants, readers
from .rows import HEADER, Row

RESULTS = Path(__file__).with_name("results.md")
HEAD = """# Faults tried

Printed by `make torture` (`python -m torture SECTION` for one). Survived means: as promised, a correct result or
one clear sentence. Lost means: something that was safe before is gone, or a half or wrong result was left behind.
"""

SECTIONS: dict[str, tuple[str, float, Callable[[float], Iterable[Row]]]] = {
    "readers": ("Bad input: every reader", 7, readers.rows),
    "commands": ("Bad input: the command line", 3, readers.commands),
    "interruptions": ("Interrupted work", 9, interruptions.rows),
    "numbers": ("Numerical faults", 1, limits.numerical_rows),
    "memory": ("Memory, beside what is said before", 2, limits.memory_rows),
    "determinism": ("Determinism", 1, limits.determinism_rows),
    "load": ("Load: many clouds in one run", 3, load.rows),
    "soak": ("Load: for a long time", 4, load.soaks),
    "mutants": ("Changes of the program, and whether its tests notice: only when named", 0, mutants.rows),
}
"""By name: title, share of the time, and a function that is given its seconds and yields a row for each fault."""


def main() -> int:
    """Run the named sections, or all; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], metavar="section")
    parser.add_argument("--minutes", type=float, default=30.0, help="for all sections together")
    options = parser.parse_args()
    chosen = options.sections or [name for name, (_, share, _) in SECTIONS.items() if share]
    shares = sum(SECTIONS[name][1] for name in chosen) or 1
    every: list[Row] = []
    for name in chosen:
        title, share, section = SECTIONS[name]
        began, found = time.monotonic(), []
        for row in section(60 * options.minutes * (share or 1) / shares):
            print(row, flush=True)
            found.append(row)
        taken = f"*{machine()}; {(time.monotonic() - began) / 60:.1f} minutes*"
        write_section(RESULTS, name, [f"## {title}", "", taken, "", *HEADER, *map(str, found)], head=HEAD)
        every += found
    print("\n" + "\n".join([*HEADER, *map(str, every)]))
    return 0 if all(row.good for row in every) else 1


if __name__ == "__main__":
    sys.exit(main())
