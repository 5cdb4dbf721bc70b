"""Clouds in blocks: a made land of known height, the same density on more and more area, as laz tiles without normals;
what a point costs, and whether blocks show."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import igl
import numpy as np

from igr.large.work import Work
from igr.mesh.triangles import read_mesh, sample_mesh

from .measure import Run, igr, process

SPACING, NOISE = 0.25, 0.3
"""Distance of the points, meters, and their noise in it."""
COUNTS = (1_000_000, 10_000_000)
SHARED = 4_000_000
"""Points that workers share."""
MOST = 100_000_000
HEAD = (
    "Errors in the distance of the points; disk in sizes of the input, at the end; single runs.",
    "",
    "| points | blocks | triangles | processor s | s | MB | disk | mean error | at borders of blocks |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)
TILE = 2_500_000
"""Points of a tile, at most."""
CORNER = np.array([500_000.0, 5_400_000.0])
LENGTHS = np.geomspace(900.0, 5.0, 24)
TURNS, PHASES = np.random.default_rng(19).uniform(0, 2 * np.pi, (2, len(LENGTHS)))
WAVES = 2 * np.pi / LENGTHS * np.stack([np.cos(TURNS), np.sin(TURNS)])
HEIGHTS = 0.02 * LENGTHS**0.95 * np.where(LENGTHS < 60, 0.35, 1.0)


def height(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The height of the land at places (n, 2), and how much of a step up is across it (n,)."""
    angle = (places - CORNER) @ WAVES + PHASES
    slope = (np.cos(angle) * HEIGHTS) @ WAVES.T
    return 100 + np.sin(angle) @ HEIGHTS, 1 / np.sqrt(1 + (slope**2).sum(1))


def write_tiles(folder: Path, count: int) -> float:
    """A square of the land in laz tiles; returns the bytes that they take."""
    import laspy

    across = max(1, round((count / TILE) ** 0.5))
    side, each = SPACING * count**0.5 / across, count // across**2
    for number in range(across**2):
        rng = np.random.default_rng([7, number])
        places = CORNER + side * (rng.random((each, 2)) + divmod(number, across))
        points = np.concatenate([places, height(places)[0][:, None]], axis=1)
        points += SPACING * NOISE * rng.standard_normal(points.shape)
        header = laspy.LasHeader(point_format=0, version="1.2")
        header.scales, header.offsets = [0.001] * 3, [*CORNER, 0.0]
        tile = laspy.LasData(header)
        tile.x, tile.y, tile.z = points[np.argsort(places[:, 1] // 5 * 1e7 + places[:, 0])].T
        tile.write(str(folder / f"tile_{number:03d}.laz"))
    return float(sum(path.stat().st_size for path in folder.iterdir()))


def rows() -> Iterator[str]:
    """Cost and error by the number of points; then seams, and two workers beside one."""
    yield from HEAD
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in COUNTS:
            yield _measured(folder, count)
        yield ""
        small = _reconstructed(folder, folder / f"{COUNTS[0]}", "small", "--block-points", 64_000)
        apart = _apart(folder / "small.ply", folder / f"{COUNTS[0]}.ply", folder / "small-run")
        yield (
            f"The same million in {small.result['blocks']} blocks is, within a spacing of their borders, {apart:.3f} "
            "spacings from that in two (median)."
        )
        write_tiles(made := _made(folder / "shared"), SHARED)
        each = "--block-points", SHARED // 32, "--cluster"
        one, two = (_reconstructed(folder, made, f"by{n}", *each, f"local:{n}", threads=1) for n in (1, 2))
        equal = (folder / "by1.ply").read_bytes() == (folder / "by2.ply").read_bytes()
        yield (
            f"{one.result['blocks']} blocks by one worker of one thread and by two: {one.seconds:.0f} s and "
            f"{two.seconds:.0f} s, {one.seconds / two.seconds:.2f} times as quick; the same bytes: {equal}."
        )


def larger() -> Iterator[str]:
    """The same for a hundred million points."""
    yield from HEAD
    with tempfile.TemporaryDirectory() as folder:
        yield _measured(Path(folder), MOST)


def _measured(folder: Path, count: int) -> str:
    """Cost and error of a land of so many points."""
    size = write_tiles(made := _made(folder / f"{count}"), count)
    run = _reconstructed(folder, made, f"{count}")
    told, disk = run.result, _size(folder / f"{count}-run") / size
    error, seams = _errors(folder / f"{count}.ply", folder / f"{count}-run")
    return (
        f"| {count:,} | {told['blocks']} | {told['triangles']:,} | {run.processor:.0f} | {run.seconds:.0f} | "
        f"{run.megabytes:.0f} | {disk:.1f} | {error:.3f} | {seams:.3f} |"
    )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _reconstructed(folder: Path, tiles: Path, name: str, *options: str | int, threads: int = 0) -> Run:
    told = {} if not threads else {"IGR_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    os.environ.update(told)
    try:
        files = "-o", folder / f"{name}.ply", "--run", folder / f"{name}-run"
        return process(igr("reconstruct", "--tiles", tiles, *files, "--json", *map(str, options)), cwd=str(folder))
    finally:
        for one in told:
            del os.environ[one]


def _size(folder: Path) -> float:
    return float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))


def _errors(path: Path, folder: Path) -> tuple[float, float]:
    """Mean distance of a mesh to the land in spacings, away from its rim; and at the borders of blocks."""
    points = _inner(path)
    level, share = height(points[:, :2])
    error = np.abs(points[:, 2] - level) * share / SPACING
    return float(error.mean()), float(error[_at_borders(points, folder)].mean())


def _at_borders(points: np.ndarray, folder: Path) -> np.ndarray:
    """Which points lie within a spacing of the border of a block."""
    boxes, near = Work(folder).blocks.boxes, np.zeros(len(points), bool)
    for low, high in boxes:
        inside = ((points >= low) & (points < high)).all(1)
        beside = np.minimum(points - low, high - points)[:, :2].min(1) < SPACING
        near |= inside & beside
    return near


def _apart(path: Path, other: Path, folder: Path) -> float:
    """Median distance of one mesh to another at the borders of its blocks, in spacings."""
    points = _inner(path)
    vertices, faces = read_mesh(other)
    near = points[_at_borders(points, folder)]
    square = igl.point_mesh_squared_distance(near, vertices, faces.astype(np.int64))[0]
    return float(np.median(np.sqrt(square)) / SPACING)


def _inner(path: Path) -> np.ndarray:
    """Points of a mesh, but for its rim."""
    points, _ = sample_mesh(*read_mesh(path), 500_000, np.random.default_rng(0))
    low, high = points[:, :2].min(0) + 3, points[:, :2].max(0) - 3
    return points[((points[:, :2] > low) & (points[:, :2] < high)).all(1)]
