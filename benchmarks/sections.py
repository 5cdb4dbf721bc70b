"""Sections of a results file, each between two marks, so that one can be measured again and the others stay."""

from __future__ import annotations

import datetime
import platform
import re
from pathlib import Path

import numpy as np

from igr.field import native


def write_section(path: Path, name: str, lines: list[str], *, head: str) -> None:
    """Put the lines of a section in place of those that the file has under this name, or at its end.

    Args:
        path: Markdown file; made where there is none.
        name: of the section's marks.
        lines: what it says, from its title on.
        head: how a new file begins.
    """
    text = path.read_text() if path.exists() else head
    block = "\n".join([f"<!-- {name} -->", *lines, f"<!-- end {name} -->"])
    pattern = re.compile(rf"<!-- {name} -->.*?<!-- end {name} -->", re.S)
    path.write_text(pattern.sub(lambda _: block, text) if pattern.search(text) else f"{text}\n{block}\n")


def machine() -> str:
    """One line about where the figures were measured."""
    processor = platform.processor() or platform.machine()
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        processor = found.group(1) if found else processor
    except OSError:
        pass
    sets = native.instruction_sets()[-1] if native.available() else "no native core"
    today = datetime.date.today().isoformat()
    return f"{today}, {processor}, 2 threads, {sets}, Python {platform.python_version()}, numpy {np.__version__}"
