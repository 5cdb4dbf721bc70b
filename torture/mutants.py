"""Small changes of the program, one at a time (mutants, by cosmic-ray): its tests must notice them.

Each worker has a copy of the sources and the tests, which a module is changed in; the tree itself stays as it is.
What no test noticed is printed as it is found; `mutants.md` says why.
"""

from __future__ import annotations

import ast
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cosmic_ray.commands import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import MutationSpec

from .rows import Row

ROOT = Path(__file__).resolve().parents[1]
TESTS = {
    "fit/objective": ("fit/test_objective", "fit/test_loop", "test_paper"),
    "field/networks": ("field/test_networks", "test_paper"),
    "field/features": ("field/test_features", "field/test_networks", "field/test_native"),
    "cloud/pointcloud": ("cloud/test_pointcloud", "test_bad_input", "cloud/test_frame"),
    "judge/metrics": ("judge/test_metrics", "judge/test_quality"),
}
"""The tests that are asked, in turn, by module."""
ENOUGH = 0.85
"""Share of the mutants that must be noticed."""
SAMPLE, SEED = 150, 2
"""At most so many mutants a module, chosen at random by this seed: not the one whose survivors tests were written for."""
ALONE = """import sys

sys.meta_path[:] = [finder for finder in sys.meta_path if "Redirect" not in type(finder).__name__]
"""
"""`sitecustomize` of a copy: not the installed package is imported but the copy."""


def rows(seconds: float) -> Iterator[Row]:
    """A random sample of each module's mutants, as large as the time allows."""
    for module, tests in TESTS.items():
        with tempfile.TemporaryDirectory() as folder:
            yield _tried(module, tests, Path(folder), seconds / len(TESTS))


class Copy:
    """Sources, tests and the compiled core in a folder of their own, and the process that runs the tests there."""

    def __init__(self, folder: Path, module: str, tests: tuple[str, ...]) -> None:
        import igr.field._core as core

        for name in ("src", "tests", "benchmarks", "docs", "examples", "torture"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        shutil.copy(str(core.__file__), folder / "src" / "igr" / "field")
        (folder / "src" / "sitecustomize.py").write_text(ALONE)
        self.module = folder / "src" / "igr" / f"{module}.py"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "torture.forks", *[f"tests/{test}.py" for test in tests]],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        if (status := self.status()) != 0:
            raise RuntimeError(f"the tests of {module} end with {status} before anything is changed")
        for compiled in self.module.parent.glob(f"__pycache__/{module}.*"):
            compiled.unlink()

    def status(self) -> int:
        """Of the tests, run once."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        return int(self.process.stdout.readline())

    def missed(self, mutant: MutationSpec) -> str:
        """The changed line if no test notices it, else nothing."""
        operator = get_operator(mutant.operator_name)(**mutant.operator_args)
        with use_mutation(self.module, operator, mutant.occurrence) as (before, after):
            assert after is not None
            if self.status() != 0:
                return ""
        old, new = before.splitlines(), after.splitlines()
        changed = next((line for line, was in zip(new, old, strict=False) if line != was), "")
        return f"{self.module.name}:{mutant.start_pos[0]}: {changed.strip()}"

    def close(self) -> None:
        """End the process, whose tests must pass as they did: else nothing that they noticed counts."""
        status = self.status()
        self.process.communicate()
        if status != 0:
            raise RuntimeError(
                f"the tests of {self.module.name} end with {status} after the last change was undone"
            )


def _tried(module: str, tests: tuple[str, ...], folder: Path, seconds: float) -> Row:
    every = _mutants(ROOT / "src" / "igr" / f"{module}.py")
    sample = random.Random(SEED).sample(every, len(every))[:SAMPLE]
    stop = time.monotonic() + seconds
    free: queue.Queue[Copy] = queue.Queue()
    copies = [Copy(folder / str(worker), module, tests) for worker in range(os.cpu_count() or 2)]
    for copy in copies:
        free.put(copy)

    def missed(mutant: MutationSpec) -> str | None:
        if time.monotonic() > stop:
            return None
        copy = free.get()
        try:
            found = copy.missed(mutant)
        finally:
            free.put(copy)
        if found:
            print(found, flush=True)
        return found

    with ThreadPoolExecutor(len(copies)) as pool:
        found = [seen for seen in pool.map(missed, sample) if seen is not None]
    for copy in copies:
        copy.close()
    killed = found.count("")
    note = f"{killed / max(1, len(found)):.0%} noticed, of a random {len(found)} of {len(every)}"
    return Row(f"mutants of {module}.py", len(found), killed, 0, note, enough=ENOUGH)


def _mutants(path: Path) -> list[MutationSpec]:
    """All mutants of a module, but those of annotations and type aliases, which nothing reads when it runs."""
    with tempfile.TemporaryDirectory() as folder, use_db(str(Path(folder, "session"))) as session:
        init([path], session, {})
        every = [mutation for item in session.work_items for mutation in item.mutations]
    silent: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            parts.append(node.value)
        for part in parts:
            if isinstance(part, ast.expr):
                silent.append(((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            silent.append(((node.lineno, 0), (node.end_lineno or 0, 1 << 20)))
    return [m for m in every if not any(start <= m.start_pos < stop for start, stop in silent)]
