"""Small changes of the program, one at a time (mutants, by cosmic-ray): its tests must notice them.

Each worker has a copy of the sources and the tests, which a module is changed in; the tree itself stays as it is.
"""

from __future__ import annotations

import ast
import os
import queue
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import evolve
from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome

from .rows import Row

ROOT = Path(__file__).resolve().parents[1]
TESTS = {
    "objective": ("test_objective", "test_fit", "test_paper"),
    "network": ("test_network", "test_paper", "test_precision"),
    "encoding": ("test_encoding", "test_network", "test_native"),
    "points": ("test_points", "test_bad_input", "test_frame"),
    "metrics": ("test_metrics", "test_quality"),
}
"""The tests that are asked, in turn, by module."""
ENOUGH = 0.85
"""Share of the mutants that must be noticed."""
SECONDS = 120.0
"""What the tests may take: a mutant that never ends is noticed."""
ALONE = """import sys

sys.meta_path[:] = [finder for finder in sys.meta_path if "Redirect" not in type(finder).__name__]
"""
"""`sitecustomize` of a copy: not the installed package is imported but the copy."""


def rows(seconds: float) -> Iterator[Row]:
    """A random sample of each module's mutants, as large as the time allows."""
    workers = max(1, (os.cpu_count() or 2))
    with tempfile.TemporaryDirectory() as folder:
        copies: queue.Queue[Path] = queue.Queue()
        for worker in range(workers):
            copies.put(_copy(Path(folder, str(worker))))
        for module, tests in TESTS.items():
            yield _tried(module, tests, copies, workers, seconds / len(TESTS))


def _tried(module: str, tests: tuple[str, ...], copies: queue.Queue[Path], workers: int, seconds: float) -> Row:
    mutants = _mutants(ROOT / "src" / "igr" / f"{module}.py")
    random.Random(module).shuffle(mutants)
    stop = time.monotonic() + seconds

    def noticed(mutant: MutationSpec) -> bool | None:
        if time.monotonic() > stop:
            return None
        copy = copies.get()
        try:
            there = evolve(mutant, module_path=copy / "src" / "igr" / f"{module}.py")
            result = mutate_and_test([there], _command(copy, tests), SECONDS)
            return result.test_outcome != TestOutcome.SURVIVED
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(workers) as pool:
        found = [
            (mutant, seen)
            for mutant, seen in zip(mutants, pool.map(noticed, mutants), strict=True)
            if seen is not None
        ]
    missed = sorted({(m.start_pos[0], _name(m)) for m, seen in found if not seen})
    killed = sum(seen for _, seen in found)
    note = f"{killed / max(1, len(found)):.0%} noticed, of a random {len(found)} of {len(mutants)}"
    if missed:
        note += "; not: " + ", ".join(f"line {line} {name}" for line, name in missed)
    return Row(f"mutants of {module}.py", len(found), killed, 0, note, enough=ENOUGH)


def _name(mutant: MutationSpec) -> str:
    return mutant.operator_name.removeprefix("core/").removeprefix("ReplaceBinaryOperator_").replace("_", " ")


def _mutants(path: Path) -> list[MutationSpec]:
    """All mutants of a module, but those of annotations, which nothing reads when it runs."""
    with tempfile.TemporaryDirectory() as folder, use_db(str(Path(folder, "session"))) as session:
        init([path], session, {})
        every = [mutation for item in session.work_items for mutation in item.mutations]
    silent: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.expr):
                silent.append(((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            silent.append(((node.lineno, 0), (node.end_lineno or 0, 1 << 20)))
    return [m for m in every if not any(start <= m.start_pos < stop for start, stop in silent)]


def _command(copy: Path, tests: tuple[str, ...]) -> str:
    files = " ".join(f"tests/{test}.py" for test in tests if (ROOT / "tests" / f"{test}.py").exists())
    run = f"{sys.executable} -m pytest -q -x -p no:cacheprovider -m 'not slow' {files}"
    here = shlex.quote(str(copy))
    line = f"cd {here} && PYTHONPATH={here}/src OMP_NUM_THREADS=1 {run}"
    return f"sh -c {shlex.quote(line)}"


def _copy(folder: Path) -> Path:
    """Sources, tests and the compiled core, in a folder that is imported instead of what is installed."""
    import igr.native._core as core

    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors.tmp")
    for name in ("src", "tests", "benchmarks", "docs", "examples", "torture"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copy(str(core.__file__), folder / "src" / "igr" / "native")
    (folder / "src" / "sitecustomize.py").write_text(ALONE)
    return folder
