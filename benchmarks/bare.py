"""Without normals: against our own fit with them, on clean, noisy and disturbed clouds, and over seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

import igr
from igr.config import FAST, ObjectiveConfig
from igr.judge.metrics import Comparison, compare
from igr.judge.quality import topology, volume_iou

from .clouds import DATA, SCANS, Case, meshes, samples, scan
from .holes import without_caps
from .peers import judged_poisson
from .surfaces import bunny_error

SEEDS = 10


def fitted(
    case: Case, *, normals: bool = False, seed: int = 0, objective: ObjectiveConfig = FAST.objective
) -> tuple[Comparison, float, bool]:
    """A fit of the default preset: its comparison with the truth, volume IoU (nan for scans), and whether it is one
    watertight piece."""
    config = dataclasses.replace(FAST, seed=seed, objective=objective)
    surface = igr.reconstruct(case.points, normals=case.normals if normals else "ignore", config=config)
    mesh = surface.mesh(resolution=224)
    shape = topology(mesh)
    iou = float("nan") if case.path else volume_iou(mesh, case.truth)
    return compare(mesh, case.truth), iou, shape.watertight and shape.large_components == 1


def bare_scans() -> Iterator[str]:
    """The scans: without normals, with them, SAL, SALD, and screened Poisson given the scanner's normals."""
    yield "| scan | method | d_C | d_H | NC | one closed piece |"
    yield "| --- | --- | --- | --- | --- | --- |"
    totals: dict[str, list[tuple[float, float]]] = {}
    weights = FAST.objective
    methods = {
        "no normals": (False, weights),
        "with normals": (True, weights),
        "SAL": (False, dataclasses.replace(weights, kind="sal")),
        "SALD": (False, dataclasses.replace(weights, kind="sald")),
    }
    for case in map(scan, SCANS):
        peer = judged_poisson(case, 9)[0]
        totals.setdefault("Poisson 9", []).append((peer.chamfer, peer.hausdorff))
        for label, (normals, objective) in methods.items():
            found, _, whole = fitted(case, normals=normals, objective=objective)
            totals.setdefault(label, []).append((found.chamfer, found.hausdorff))
            yield (
                f"| {case.name} | {label} | {found.chamfer:.4f} | {found.hausdorff:.2f} | "
                f"{found.normal_consistency:.3f} | {'yes' if whole else 'no'} |"
            )
    yield ""
    means = {label: np.mean(rows, axis=0) for label, rows in totals.items()}
    for peer in ("with normals", "Poisson 9"):
        ratio = means["no normals"] / means[peer]
        yield f"Mean without normals relative to {peer}: d_C {ratio[0]:.3f}, d_H {ratio[1]:.3f}."
    yield ""
    bunny = igr.reconstruct(DATA / "raw_scans" / "bunny_10scans_registered.ply", normals="ignore")
    yield f"Raw bunny: 95 % of the reference within {bunny_error(bunny.mesh(resolution=256)):.2f} mm of 250 mm."


def uneven(case: Case, *, ratio: float = 20.0, seed: int = 0) -> Case:
    """The case thinned along x, at one end so many times more than at the other."""
    x = case.points[:, 0]
    kept = np.random.default_rng(seed).random(len(x)) < ratio ** -((x - x.min()) / np.ptp(x))
    return Case(f"{case.name} uneven", case.points[kept], case.normals[kept], case.truth)


def with_outliers(case: Case, *, share: float = 0.05, seed: int = 0) -> Case:
    """The case with so many more points, uniform in twice its box."""
    low, high = case.points.min(0), case.points.max(0)
    spread = np.random.default_rng(seed).uniform(-1, 1, (int(share * len(case.points)), 3)) * (high - low)
    strays = (low + high) / 2 + spread
    normals = np.concatenate([case.normals, np.zeros_like(strays)])
    return Case(f"{case.name} outliers", np.concatenate([case.points, strays]), normals, case.truth)


DISTURBED: dict[str, Callable[[str], Case]] = {
    "clean, 20,000": lambda name: samples(name, count=20_000),
    "1 % noise": lambda name: samples(name, count=20_000, noise=0.01),
    "5 % outliers": lambda name: with_outliers(samples(name, count=20_000)),
    "density 20:1": lambda name: uneven(samples(name, count=60_000)),
    "caps cut away": lambda name: without_caps(samples(name, count=20_000)),
    "1,000 points": lambda name: samples(name, count=1000),
}
"""What is done to the samples of the closed meshes."""


def bare_samples() -> Iterator[str]:
    """The closed meshes: median and worst of twelve."""
    yield "| cloud | IoU mean | IoU worst | d_C / diagonal, mean | relative to clean | not one closed piece |"
    yield "| --- | --- | --- | --- | --- | --- |"
    clean = noisy = 0.0
    for label, make in DISTURBED.items():
        rows = [(name, *fitted(make(name))) for name in meshes()]
        iou = {name: value for name, _, value, _ in rows}
        error = float(np.mean([found.chamfer / found.diagonal for _, found, _, _ in rows]))
        clean = clean or error
        worst = min(iou, key=lambda name: iou[name])
        failed = [name for name, _, _, whole in rows if not whole]
        yield (
            f"| {label} | {np.mean(list(iou.values())):.4f} | {iou[worst]:.4f} ({worst}) | {error:.2e} | "
            f"{error / clean:.2f} | {', '.join(failed) or 'none'} |"
        )
        if label == "1 % noise":
            peers = [min(judged_poisson(make(name), depth)[0].chamfer for depth in (6, 7, 8)) for name in meshes()]
            noisy = np.mean([found.chamfer / peer for (_, found, *_), peer in zip(rows, peers, strict=True)])
    yield ""
    yield f"1 % noise: mean d_C relative to the best Poisson of depth 6, 7, 8 with the true normals {noisy:.2f}."


def bare_seeds() -> Iterator[str]:
    """Six shapes, many seeds: which runs fail."""
    yield "| cloud | d_C median | worst | failed |"
    yield "| --- | --- | --- | --- |"
    cases = [scan(name) for name in SCANS]
    cases += [samples(name, count=20_000) for name in ("armadillo", "elephant", "knot")]
    for case in cases:
        rows = [fitted(case, seed=seed) for seed in range(SEEDS)]
        errors = np.array([found.chamfer for found, _, _ in rows])
        whole = np.array([one for _, _, one in rows])
        failed = int(((errors > 2 * np.median(errors)) | ~whole).sum())
        yield f"| {case.name} | {np.median(errors):.5f} | {errors.max():.5f} | {failed} of {SEEDS} |"
