"""Beside MeshLib (`pip install meshlib`) and Poisson: whole processes on the same clouds, all with true normals.

python -m benchmarks others                    the rows
python -m benchmarks.others METHOD IN OUT      one peer: points and normals (npz) -> vertices and faces (npz)
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from igr.judge.metrics import compare
from igr.judge.quality import topology
from igr.mesh.triangles import read_mesh
from igr.mesh.write import ply_bytes

from .clouds import HELD_OUT, Case, samples
from .measure import Run, igr, process

DEPTHS = {0.0: (9, 10), 0.01: (7, 8)}
"""Poisson's, by noise: those that win where more are tried (sections `clean` and `noise`)."""
PEERS = {
    "MeshLib, triangulated": ["triangulated 1"],
    "MeshLib, fused": [f"fused {spacings}" for spacings in (1, 2)],
}
"""MeshLib's ways, and how each is tried: the best d_C of a cloud counts. Its triangulation by default; its fusion with
kernels of so many square roots of the area of a point, and voxels of one."""


def rows() -> Iterator[str]:
    """Means over the meshes that no constant was fixed on."""
    if importlib.util.find_spec("meshlib") is None:
        yield "MeshLib is not installed here."
        return
    yield f"MeshLib {importlib.metadata.version('meshlib')}; d_C and d_H in 1e-5 of the diagonal; means of {len(HELD_OUT)} clouds."
    yield ""
    yield "| 50,000 points | method | d_C | d_H | processor s | MB | watertight |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for noise in DEPTHS:
        told: dict[str, list[list[float]]] = {}
        for name in HELD_OUT:
            case = samples(name, noise=noise)
            for method, found in judged(case, noise):
                told.setdefault(method, []).append(found)
        for method, found in told.items():
            chamfer, hausdorff, seconds, memory, whole = np.mean(found, axis=0)
            yield (
                f"| {f'{noise:.0%} noise' if noise else 'clean'} | {method} | {chamfer:.1f} | {hausdorff:.0f} | "
                f"{seconds:.1f} | {memory:.0f} | {whole * len(found):.0f} of {len(found)} |"
            )


def judged(case: Case, noise: float) -> Iterator[tuple[str, list[float]]]:
    """Each method's row of one cloud."""
    with tempfile.TemporaryDirectory() as folder:
        cloud, given = Path(folder) / "cloud.ply", Path(folder) / "cloud.npz"
        cloud.write_bytes(ply_bytes(case.points, normals=case.normals))
        np.savez(given, points=case.points, normals=case.normals)
        target = Path(folder) / "mesh.ply"
        run = process(igr("reconstruct", cloud, "-o", target, "--json"), cwd=folder)
        yield "**igr**", numbers(case, read_mesh(target), run)
        target = Path(folder) / "mesh.npz"
        depths = [f"poisson {depth}" for depth in DEPTHS[noise]]
        for method, tries in {"Poisson": depths, **PEERS}.items():
            found = []
            for one in tries:
                command = [sys.executable, "-m", "benchmarks.others", *one.split(), str(given), str(target)]
                run = process(command, cwd=str(Path(__file__).resolve().parents[1]))
                with np.load(target) as mesh:
                    found.append(numbers(case, (mesh["vertices"], mesh["faces"]), run))
            yield method, min(found)


def numbers(case: Case, mesh: tuple[np.ndarray, np.ndarray], run: Run) -> list[float]:
    """d_C, d_H (1e-5 of the diagonal), processor seconds, MB, watertight."""
    import trimesh

    found, shape = compare(mesh, case.truth), topology(trimesh.Trimesh(*mesh, process=False))
    scale = 1e5 / found.diagonal
    return [found.chamfer * scale, found.hausdorff * scale, run.processor, run.megabytes, float(shape.watertight)]


def peer(method: str, amount: int, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces by one of the `PEERS`."""
    if method == "poisson":
        from igr.judge.baselines import screened_poisson

        return screened_poisson(points, normals, depth=amount)
    from meshlib import mrmeshnumpy, mrmeshpy

    cloud = mrmeshnumpy.pointCloudFromPoints(points, normals)
    if method == "triangulated":
        mesh = mrmeshpy.triangulatePointCloud(cloud)
    else:
        spacing = root_area(points)
        asked = mrmeshpy.PointsToMeshParameters()
        asked.sigma, asked.voxelSize = amount * spacing, spacing
        mesh = mrmeshpy.pointsToMeshFusion(cloud, asked)
    vertices = mrmeshnumpy.getNumpyVerts(mesh).astype(float)
    return vertices, mrmeshnumpy.getNumpyFaces(mesh.topology).astype(np.int64)


def root_area(points: np.ndarray) -> float:
    """About the square root of the area that a point stands for: the disk through the eighth neighbor holds eight."""
    from scipy.spatial import KDTree

    few = points[:: max(1, len(points) // 5000)]
    return float(np.median(KDTree(points).query(few, 9)[0][:, 8])) * (np.pi / 8) ** 0.5


if __name__ == "__main__":
    kind, width, source, written = sys.argv[1:]
    with np.load(source) as scan:
        made = peer(kind, int(width), scan["points"], scan["normals"])
    np.savez(written, vertices=made[0], faces=made[1])
