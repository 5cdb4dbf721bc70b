"""Load: many clouds in one run, and viewer and training for a long time; memory and open files must stay flat."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from igr.config import FAST, FAST_SPACE

from .rows import Row

CLOUDS = 500
"""Clouds in one folder run."""
WARM = 100
"""Rounds (or a quarter of the time) before the memory is looked at: all that is asked for has then been seen."""
DRIFT = 0.05
"""Growth of memory that counts as flat."""


def rows(seconds: float) -> Iterator[Row]:
    """500 clouds in one run, or fewer where there is no time for them."""
    yield many_clouds(max(20, min(CLOUDS, int(3 * seconds))))


def soaks(seconds: float) -> Iterator[Row]:
    """Viewer, training and fits, each for a third of the time."""
    yield soak("viewer", viewing(), seconds / 3)
    yield soak("training of a shape space", training(), seconds / 3)
    yield soak("fits one after another", fitting(), seconds / 3)


def many_clouds(count: int) -> Row:
    """One command for so many small clouds; its memory is read along the way."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scans").mkdir()
        for index in range(count):
            points = rng.normal(size=(200, 3))
            points /= np.linalg.norm(points, axis=1, keepdims=True)
            np.savetxt(
                folder / "scans" / f"{index:04d}.xyz", np.hstack([points * [1, 1, 0.7], points]), fmt="%.5f"
            )
        command = [sys.executable, "-m", "igr", "reconstruct", "scans", "-o", "meshes/", "--steps", "20"]
        process = subprocess.Popen(
            [*command, "--resolution", "24"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        sizes, files = [], []
        while process.poll() is None:
            _look(process.pid, sizes, files)
            time.sleep(0.2)
        made = len(list((folder / "meshes").glob("*.ply")))
    drift = _drift(sizes)
    note = f"memory {drift:+.1%}, at most {max(files)} files open"
    fine = process.returncode == 0 and drift < DRIFT and max(files) < 100
    return Row(f"{count} clouds in one run", count, made if fine else 0, count - made, note)


def soak(name: str, work: Generator[None, None, None], seconds: float) -> Row:
    """Do something again and again for so long; memory at the end beside that after a quarter of the time."""
    sizes: list[float] = []
    files: list[int] = []
    began, rounds = time.monotonic(), 0
    while time.monotonic() < began + seconds:
        next(work)
        rounds += 1
        if rounds > WARM or time.monotonic() > began + seconds / 4:
            _look(os.getpid(), sizes, files)
    work.close()
    drift = _drift(sizes)
    note = f"{seconds / 60:.1f} minutes, {rounds:,} rounds, memory {drift:+.1%}, {files[-1:]} files open"
    fine = drift < DRIFT and len(files) > 0 and files[-1] <= files[len(files) // 4] + 5
    return Row(f"soak: {name}", rounds, rounds if fine else 0, 0, note)


def viewing() -> Generator[None, None, None]:
    """Move the controls of the viewer; nobody looks."""
    from igr.studio.page import open_server
    from igr.studio.viewer import Viewer

    from .limits import ellipsoid

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    import igr

    points, normals = ellipsoid(3000)
    surface = igr.reconstruct(points, normals=normals, config=dataclasses.replace(FAST, steps=100))
    viewer = Viewer(open_server(port), surface)
    rng, colors = np.random.default_rng(0), ("plain", "normals", "confidence", "distance to points")
    try:
        while True:
            viewer.colors.value = colors[rng.integers(4)]
            viewer.level.value = float(rng.choice([-0.2, 0.0, 0.2]))
            viewer.resolution.value = int(rng.choice([32, 96]))
            viewer.show_cut.value = bool(rng.integers(2))
            viewer.changed.set()
            while viewer.changed.is_set():
                time.sleep(0.01)
            yield
    finally:
        viewer.close()


def training() -> Generator[None, None, None]:
    """Train a shape space on; every round is 3 steps."""
    from igr.scans.batches import Ahead, ScanSampler
    from igr.space.network import SpaceField, SpaceNetwork, first_latents, make_network
    from igr.space.training import space_loss

    from .limits import ellipsoid

    points, normals = ellipsoid(5000)
    scans = [np.hstack([points * scale, normals]).astype(np.float32) for scale in (0.7, 0.8, 0.9)]
    field = SpaceField(SpaceNetwork(make_network(FAST_SPACE, 3), first_latents(FAST_SPACE, len(scans))))
    sample, step = Ahead(ScanSampler(scans, FAST_SPACE, dimension=3, scale=1.0)), 0
    while True:
        for _ in range(3):
            batch, step = sample(step), step + 1
            for name in ("points", "normals", "target"):
                setattr(batch, name, field.array(getattr(batch, name)))
            f, g = field.distance_and_gradient(batch.points, training=True, shapes=batch.shapes)
            loss = space_loss(field, f, g, batch, FAST_SPACE, 0.5)
            field.backward(loss.df, loss.dg)
            field.update(1e-3)
        yield


def fitting() -> Generator[None, None, None]:
    """Fit and mesh a cloud, again and again in one process."""
    import igr

    from .limits import ellipsoid

    points, normals = ellipsoid(3000)
    while True:
        surface = igr.reconstruct(points, normals=normals, config=dataclasses.replace(FAST, steps=50))
        surface.mesh(resolution=48)
        yield


def _look(process: int, sizes: list[float], files: list[int]) -> None:
    """Note how much memory a process holds, and how many files it has open."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        files.append(len(os.listdir(f"/proc/{process}/fd")))
    except (OSError, IndexError):  # it has just ended
        return
    sizes.append(4096.0 * pages)


def _drift(sizes: list[float]) -> float:
    """Growth of memory from the second quarter of the time to the last."""
    early, late = sizes[len(sizes) // 4 : len(sizes) // 2], sizes[3 * len(sizes) // 4 :]
    return float(np.median(late) / np.median(early) - 1) if early and late else 0.0
