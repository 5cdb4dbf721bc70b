"""Numerical faults, memory against its estimate, and determinism, each by the command line."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from igr.mesh.triangles import read_mesh

from .kills import checksums
from .rows import Row

QUICK = ("--steps", "200", "--resolution", "48")


def numerical_rows(seconds: float) -> Iterator[Row]:
    """Clouds at the edge of what numbers can hold; each must give its surface or one clear sentence."""
    del seconds
    points, normals = ellipsoid(3000)
    place = np.array([5e5, 4e6, 300.0])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for fault, scales, shift in (
            ("coordinates scaled by 1e-12, 1e-99", (1e-12, 1e-99), 0.0),
            ("coordinates scaled by 1e12, 1e99", (1e12, 1e99), 0.0),
            ("UTM metres in float64: 50 m, 10 cm, 1 mm", (50.0, 0.1, 1e-3), place),
        ):
            yield Row.of(fault, [_surface_error(folder, points * s + shift, normals, s) for s in scales])
        few = [_surface_error(folder, p, n, 1.0) for p, n in map(ellipsoid, (10, 14, 20))]
        yield Row.of("10, 14, 20 points with normals", few)
        same = np.repeat(points[:1], 1000, 0)
        yield Row.of("1,000 times one point", [_refused(folder, same, "usable point")])
        twins = np.vstack([points, points + [2000, 0, 0]]), np.vstack([normals, normals])
        yield Row.of("two clusters, 1,000 sizes apart", [_said(folder, *twins, "misses the points by")])


def memory_rows(seconds: float) -> Iterator[Row]:
    """Peaks of the whole command beside what it says before; the peak must stay below."""
    del seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count, resolution, bare in (
            (10**5, 256, False),
            (10**5, 512, True),
            (10**6, 256, True),
            (10**7, 256, False),
            (10**5, 1024, False),
        ):
            points, normals = ellipsoid(count)
            np.save(folder / "scan.npy", points if bare else np.hstack([points, normals]))
            del points, normals
            said, peak, status = _peak(folder, resolution)
            kind = "bare" if bare else "with normals"
            note = f"estimate {said / 1e9:.2f} GB, peak {peak / 1e9:.2f} GB"
            fine = status == 0 and peak <= said
            yield Row(f"{count:,} points {kind}, {resolution}³", 1, int(fine), 0, note)
        ended = _reconstruct(folder, "--resolution", "4096")
        refused = ended.returncode == 2 and "of memory" in ended.stderr
        yield Row("4096³, more than there is", 1, int(refused), 0, ended.stderr.strip().splitlines()[-1])


def determinism_rows(seconds: float) -> Iterator[Row]:
    """The same command twice, each in a process of its own: the same bytes of mesh and model."""
    del seconds
    for fault, options, planar in (
        ("in space, with normals", QUICK, False),
        ("in space, bare", ("--normals", "ignore", *QUICK), False),
        ("in the plane, with normals", QUICK, True),
        ("in the plane, bare", ("--normals", "ignore", *QUICK), True),
        ("on torch", ("--device", "torch", "--steps", "10", "--resolution", "32"), True),
        ("preset paper", ("--preset", "paper", "--steps", "20", "--resolution", "32"), True),
    ):
        results = []
        for _ in range(2):
            with tempfile.TemporaryDirectory() as name:
                points, normals = ellipsoid(2000)
                if planar:
                    angle = np.linspace(0, 2 * np.pi, 500, endpoint=False)
                    points = normals = np.c_[np.cos(angle), np.sin(angle)]
                np.save(Path(name) / "scan.npy", np.hstack([points, normals]))
                _reconstruct(Path(name), "--model", "model.igr", *options)
                results.append(checksums(Path(name), ("scan_*", "*.igr")))
        same = len(results[0]) == 2 and results[0] == results[1]
        yield Row(f"the same command twice: {fault}", 2, 2 * same, 0, "the same bytes" if same else "other bytes")


def ellipsoid(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) of an ellipsoid of half axes 1, 0.8, 0.6, and their normals."""
    points = np.random.default_rng(0).normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    normals = points / [1, 0.8, 0.6]
    return points * [1, 0.8, 0.6], normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _surface_error(folder: Path, points: np.ndarray, normals: np.ndarray, scale: float) -> str:
    """What is wrong with the mesh of an ellipsoid, "" if nothing."""
    np.save(folder / "scan.npy", np.hstack([points, normals]))
    ended = _reconstruct(folder, *QUICK)
    if ended.returncode:
        return ended.stderr.strip().splitlines()[-1]
    sides = np.ptp(read_mesh(folder / "scan_mesh.ply")[0], axis=0) / scale
    allowed = 0.02 if len(points) > 100 else 0.3
    return "" if np.abs(sides - [2, 1.6, 1.2]).max() < allowed else f"box {np.round(sides, 3)}"


def _refused(folder: Path, points: np.ndarray, sentence: str) -> str:
    np.save(folder / "scan.npy", points)
    ended = _reconstruct(folder, *QUICK)
    return "" if ended.returncode == 2 and sentence in ended.stderr else f"status {ended.returncode}"


def _said(folder: Path, points: np.ndarray, normals: np.ndarray, sentence: str) -> str:
    np.save(folder / "scan.npy", np.hstack([points, normals]))
    return "" if sentence in _reconstruct(folder, *QUICK).stderr else "not a word"


def _peak(folder: Path, resolution: int) -> tuple[float, float, int]:
    """Bytes that the command says it takes at most, bytes that it took, and its status."""
    script = "import resource, subprocess, sys; ended = subprocess.run(sys.argv[1:]); "
    script += "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, ended.returncode)"
    command = [sys.executable, "-m", "igr", "reconstruct", "scan.npy", "--resolution", str(resolution)]
    ended = subprocess.run(
        [sys.executable, "-c", script, *command], cwd=folder, capture_output=True, text=True, check=False
    )
    figure = re.search(r"takes up to ([\d.]+) (GB|MB)", ended.stderr)
    said = float(figure[1]) * {"GB": 1e9, "MB": 1e6}[figure[2]] if figure else 0.0
    _, kilobytes, status = ended.stdout.splitlines()[-1].split()
    return said, 1024.0 * int(kilobytes), int(status)


def _reconstruct(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "igr", "reconstruct", "scan.npy", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
