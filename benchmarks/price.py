"""What accuracy costs, by the number of points: processor seconds of whole commands beside Poisson's in the same run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from igr.judge.metrics import compare
from igr.mesh.write import ply_bytes

from .clouds import Case, samples
from .measure import igr, process
from .peers import poisson

TRIED = [(50_000, (8, 9, 10)), (1_000_000, (9, 10, 11))]
"""Points, and the depths of Poisson that compete."""
SHAPES = ("armadillo", "horse")


def rows() -> Iterator[str]:
    """Clean samples with exact normals, and with noise without normals; Poisson always has the exact normals."""
    yield "d_C and d_H in 1e-5 of the diagonal; igr by the whole command, Poisson by the call alone; single runs."
    yield ""
    yield "| cloud | method | processor s | s | MB | d_C | d_H |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for count, depths in TRIED:
        for name in SHAPES:
            for noise, options in ((0.0, []), (0.002, ["--normals", "ignore"])):
                case = samples(name, noise=noise, count=count)
                label = f"{name}, {count:,}" + (f", {noise:.1%} noise" if noise else "")
                for depth in depths:
                    began, spent = time.perf_counter(), time.process_time()
                    found = poisson(case.points, case.normals, depth)[:2]
                    spent, took = time.process_time() - spent, time.perf_counter() - began
                    yield row(label, f"Poisson {depth}", spent, took, "", case, found)
                with tempfile.TemporaryDirectory() as folder:
                    cloud, target = Path(folder) / "cloud.ply", Path(folder) / "mesh.ply"
                    cloud.write_bytes(ply_bytes(case.points, normals=None if noise else case.normals))
                    run = process(igr("reconstruct", cloud, "-o", target, "--json", *options), cwd=folder)
                    mesh = trimesh.load_mesh(target, process=False)
                method = "**igr, no normals**" if noise else "**igr**"
                yield row(label, method, run.processor, run.seconds, f"{run.megabytes:.0f}", case, mesh)


def row(label: str, method: str, spent: float, took: float, memory: str, case: Case, mesh: Any) -> str:
    """One line of the table."""
    found = compare(mesh, case.truth)
    chamfer, hausdorff = (1e5 * np.array([found.chamfer, found.hausdorff]) / found.diagonal).tolist()
    return f"| {label} | {method} | {spent:.1f} | {took:.1f} | {memory} | {chamfer:.2f} | {hausdorff:.0f} |"
