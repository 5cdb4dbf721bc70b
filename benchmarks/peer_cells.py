"""Our sparse cells and marching cubes beside libigl's octree and marching cubes, on one fitted surface.

`python -m benchmarks.peer_cells MODEL WAY RESOLUTION` measures one of them in a process of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import igl
import numpy as np

import igr
from igr.mesh.extract import extract_mesh
from igr.surface.surface import Surface

from .clouds import scan
from .measure import median_seconds, process


def ours(surface: Surface, resolution: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Vertices (v, 3) and triangles (f, 3) of the unit frame, and how many places were evaluated."""
    field = surface._unit
    vertices, faces, stats = extract_mesh(
        field.distance, surface.box, resolution=resolution, gradient=field.gradient
    )
    return vertices, faces, stats.evaluations


def by_libigl(surface: Surface, resolution: int, slope: float) -> tuple[np.ndarray, np.ndarray, int]:
    """The same by libigl, in cells of the same edge; `slope` makes the field one of Lipschitz constant 1."""
    low, high = surface.box
    side, depth, count = float((high - low).max()), int(np.log2(resolution)), 0
    origin = (low + high - side) / 2

    def distance(x: np.ndarray) -> np.ndarray:
        nonlocal count
        count += len(x)
        return surface._unit.distance(np.ascontiguousarray(x)).astype(float)

    cells = igl.lipschitz_octree(origin, side, depth, lambda x: np.abs(distance(x)) / slope)
    _, corners, places = igl.unique_sparse_voxel_corners(origin, side, depth, cells)
    vertices, faces, _ = igl.marching_cubes(distance(places), places, corners, 0.0)
    return np.asarray(vertices), np.asarray(faces), count


def measured(model: str, way: str, resolution: int) -> dict[str, float]:
    """What one way takes and gives."""
    surface = igr.Surface.load(model)
    slope = extract_mesh(surface._unit.distance, surface.box, gradient=surface._unit.gradient)[2].slope

    def make() -> tuple[np.ndarray, np.ndarray, int]:
        return ours(surface, resolution) if way == "ours" else by_libigl(surface, resolution, slope)

    spent: list[float] = []

    def timed() -> None:
        began = time.process_time()
        make()
        spent.append(time.process_time() - began)

    wall = median_seconds(timed, 3)
    vertices, faces, evaluations = make()
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    off = np.abs(surface._unit.distance(vertices))
    return {
        "wall": wall,
        "processor": float(np.median(spent[1:])),
        "evaluations": evaluations,
        "vertices": len(vertices),
        "different": len(np.unique(vertices, axis=0)),
        "triangles": len(faces),
        "closed": bool((np.unique(edges, axis=0, return_counts=True)[1] == 2).all()),
        "off": float(off.max() / (surface.box[1] - surface.box[0]).max() * resolution),
    }


def rows() -> Iterator[str]:
    """Both ways on a scan at 256 and 512 cells."""
    yield "| cells, way | processor, s | wall, s | peak, MB | evaluations | vertices (of them different) | triangles | closed | largest abs. f at a vertex, cells |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    case = scan("lord_quas")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.igr"
        igr.reconstruct(case.points, normals=case.normals).save(model)
        for resolution in (256, 512):
            for way in ("ours", "libigl"):
                command = [sys.executable, "-m", "benchmarks.peer_cells", str(model), way, str(resolution)]
                run = process(command, cwd=str(Path(__file__).parents[1]))
                found = run.result
                yield (
                    f"| {resolution}³, {way} | {found['processor']:.2f} | {found['wall']:.2f} "
                    f"| {run.megabytes:.0f} | {found['evaluations']:,} | {found['vertices']:,} "
                    f"({found['different']:,}) | {found['triangles']:,} | {'yes' if found['closed'] else 'no'} "
                    f"| {found['off']:.3g} |"
                )


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
