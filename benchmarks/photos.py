"""Surfaces from photographs: closed meshes, painted and photographed by ourselves, and real photographs."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import trimesh

from igr.examples import photographs, write_photographs
from igr.judge.metrics import compare
from igr.judge.quality import volume_iou
from igr.mesh.triangles import read_mesh

from .clouds import DATA, meshes
from .measure import Run, igr, process

VIEWS, APART, PIXELS = 28, 4, 256
ASSEMBLIES = ("counter_assembly", "rotor")
"""Meshes of several parts, or of blades thinner than a pixel."""
REAL = DATA / "photographs" / "dtu_scan65_400x300_RESEARCH"
SEEN = ("spot", "bowl")
"""What was looked at while constants were chosen."""


def rows(names: Sequence[str] = ()) -> Iterator[str]:
    """A row for each mesh, for two hollow vessels, their mean, and the real photographs; or for those named."""
    yield f"{VIEWS - APART} photographs of {PIXELS} x {PIXELS} are fitted, {APART} held out; 24-bit colors with noise,"
    yield "a lamp at the camera, exact cameras and masks. d_C: mean of both directions, share of the box's diagonal."
    yield f"Constants were chosen on {' and '.join(SEEN)} alone. Seconds: of the clock (of processors)."
    yield "The mean is over the closed meshes, but for assemblies of parts thinner than a pixel."
    yield ""
    yield "| object | d_C hull | d_C | IoU hull | IoU | held out: masks | colors | hull s | all s | MB |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    shapes = {name: lambda name=name: read_mesh(DATA / "meshes" / f"{name}.ply") for name in meshes()}
    shapes = VESSELS | shapes
    found: dict[str, list[float]] = {}
    for name in names or shapes:
        found[name], row = _row(name, shapes[name]())
        yield row
    closed = [figures for name, figures in found.items() if name not in (*VESSELS, *ASSEMBLIES)]
    if len(closed) > 1:
        far_hull, far, iou_hull, iou, masks, colors = np.mean(closed, axis=0)
        yield (
            f"| mean of {len(closed)} meshes | {far_hull:.2%} | {far:.3%} | {iou_hull:.3f} | {iou:.3f} "
            f"| {masks:.4f} | {colors:.1f} dB | | | |"
        )
    if REAL.is_dir() and not names:
        yield _real()


def bowl() -> tuple[np.ndarray, np.ndarray]:
    """Half of a hollow ball: silhouettes see a full half ball."""
    turn = np.linspace(0, np.pi / 2, 40)
    outer = np.column_stack([np.sin(turn), -np.cos(turn)])
    return _turned(np.concatenate([outer, [[0.94, 0.03]], 0.88 * outer[::-1]]))


def cup() -> tuple[np.ndarray, np.ndarray]:
    """A cup, deeper than wide."""
    profile = [(0, -0.7), (0.5, -0.7), (0.58, -0.65), (0.62, -0.5), (0.72, 0.65), (0.7, 0.7), (0.65, 0.66)]
    profile = np.array([*profile, (0.53, -0.45), (0.42, -0.53), (0, -0.54)])
    place = np.linspace(0, len(profile) - 1, 200)
    return _turned(np.column_stack([np.interp(place, np.arange(len(profile)), side) for side in profile.T]))


def _turned(profile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.revolve(profile, sections=96)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


VESSELS = {"bowl": bowl, "cup": cup}
"""Hollows that no silhouette shows."""


def _row(name: str, truth: tuple[np.ndarray, np.ndarray]) -> tuple[list[float], str]:
    """One object, by whole commands: its figures, and its row."""
    with tempfile.TemporaryDirectory() as home:
        folder, mesh, hull = Path(home) / name, Path(home) / "mesh.ply", Path(home) / "hull.ply"
        write_photographs(folder, photographs(*truth, VIEWS, PIXELS))
        carved = process(igr("images", folder, "-o", hull, "--hull"))
        run = process(igr("images", folder, "-o", mesh, "--held-out", str(APART), "--json"))
        found = [_against(read_mesh(path), truth) for path in (hull, mesh)]
    (hull_far, hull_iou), (far, iou) = found
    told = run.result["held_out"]
    row = (
        f"| {name} | {hull_far:.2%} | {far:.3%} | {hull_iou:.3f} | {iou:.3f} | {told['mask_iou']:.4f} "
        f"| {told['psnr']:.1f} dB | {_seconds(carved, 1)} | {_seconds(run)} | {run.megabytes:.0f} |"
    )
    return [hull_far, far, hull_iou, iou, told["mask_iou"], told["psnr"]], row


def _seconds(run: Run, digits: int = 0) -> str:
    """Of the clock, and of processors, of which others on the machine take away less."""
    return f"{run.seconds:.{digits}f} ({run.processor:.{digits}f})"


def _against(mesh: tuple[np.ndarray, np.ndarray], truth: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """d_C as a share of the diagonal, and the IoU of the volumes."""
    judged = compare(mesh, truth)
    return (judged.accuracy + judged.completeness) / 2 / judged.diagonal, volume_iou(mesh, truth)


def _real() -> str:
    """Real photographs, of which nothing but figures may be shown."""
    with tempfile.TemporaryDirectory() as home:
        carved = process(igr("images", REAL, "-o", Path(home) / "hull.ply", "--hull"))
        run = process(igr("images", REAL, "-o", Path(home) / "mesh.ply", "--held-out", "5", "--json"))
    told = run.result["held_out"]
    return (
        f"| DTU scan 65, 49 photographs, 5 held out | | | | | {told['mask_iou']:.4f} | {told['psnr']:.1f} dB "
        f"| {_seconds(carved, 1)} | {_seconds(run)} | {run.megabytes:.0f} |"
    )


if __name__ == "__main__":  # python -m benchmarks.photos NAME …: those alone, printed
    for line in rows(sys.argv[1:]):
        print(line, flush=True)
