"""How good and how quick: reconstructions beside screened Poisson, in the same run."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import trimesh

import igr as package
from igr.config import FAST
from igr.examples import write_example
from igr.judge.metrics import compare
from igr.judge.quality import field_quality, ghost_area, topology

from .clouds import DATA, HELD_OUT, SCANS, Case, meshes, samples, scan
from .measure import igr, process, repeated
from .peers import judged_poisson

DEPTHS = (7, 8, 9, 10)
"""Depths of Poisson's octree that compete for samples of meshes."""


def scans() -> Iterator[str]:
    """The benchmark scans by the whole command, with the scanner's normals and without: medians over three seeds."""
    yield "| scan | method | s | MB | d_C | d_H | NC | pieces | watertight |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    totals: dict[str, list[tuple[float, float]]] = {}
    for name in SCANS:
        case = scan(name)
        assert case.path is not None
        for depth in (8, 9, 10):
            found, seconds = judged_poisson(case, depth, cached=False)
            totals.setdefault(f"Poisson {depth}", []).append((found.chamfer, found.hausdorff))
            nc = found.normal_consistency or 0
            yield (
                f"| {name} | Poisson depth {depth} | {seconds:.1f} | | {found.chamfer:.4f} | {found.hausdorff:.2f} | "
                f"{nc:.3f} | | |"
            )
        for label, options in (("igr", []), ("igr, no normals", ["--normals", "ignore"])):
            seconds, memory, chamfer, hausdorff, nc, pieces, open_ones = _over_seeds(case, options)
            totals.setdefault(label, []).append((chamfer, hausdorff))
            yield (
                f"| {name} | **{label}** | {seconds:.1f} | {memory:.0f} | {chamfer:.4f} | {hausdorff:.2f} | {nc:.3f} | "
                f"{pieces:.0f} | {'no' if open_ones else 'yes'} |"
            )
    yield ""
    peer = np.mean(totals["Poisson 9"], axis=0)
    for label in ("igr", "igr, no normals"):
        ratio = np.mean(totals[label], axis=0) / peer
        yield f"Mean over the scans relative to Poisson depth 9, {label}: d_C {ratio[0]:.3f}, d_H {ratio[1]:.3f}."


def _over_seeds(case: Case, options: list[str]) -> tuple[float, ...]:
    """Medians over three seeds of the whole command: seconds, peak memory, d_C, d_H, normal consistency, pieces;
    and in how many of them the mesh is open."""
    rows = []
    for seed in range(3):
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "mesh.ply"
            run = process(igr("reconstruct", case.path, "-o", target, "--json", "--seed", str(seed), *options))
            mesh = trimesh.load(target, process=False)
        found, shape = compare(mesh, case.truth), topology(mesh)
        accuracy = found.chamfer, found.hausdorff, found.normal_consistency
        rows.append((run.seconds, run.megabytes, *accuracy, shape.components, not shape.watertight))
    return *np.median(rows, axis=0)[:-1], float(np.sum(rows, axis=0)[-1])


def sampled(*, noise: float, count: int = 50_000) -> Iterator[str]:
    """Samples of closed meshes with true normals: medians over three seeds."""
    yield "| mesh | igr d_C / diagonal | best Poisson | ratio | igr d_H / diagonal | best Poisson | pieces | finest | s |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    ratios, worst, relatives = {}, [], []
    for name in meshes():
        case = samples(name, noise=noise, count=count)
        rows = []
        for seed in range(3):
            surface = package.reconstruct(
                case.points, normals=case.normals, config=dataclasses.replace(FAST, seed=seed)
            )
            mesh = surface.mesh()
            ours = compare(mesh, case.truth)
            rows.append((ours.chamfer, ours.hausdorff, topology(mesh).components, surface.seconds))
        chamfer, hausdorff, components, seconds = np.median(rows, axis=0)
        peers = [judged_poisson(case, depth)[0] for depth in DEPTHS]
        peer = min(peers, key=lambda one: one.chamfer)
        diagonal, ratios[name] = peer.diagonal, chamfer / peer.chamfer
        worst.append(hausdorff / peer.hausdorff)
        relatives.append(chamfer / diagonal)
        yield (
            f"| {name} | {chamfer / diagonal:.2e} | {peer.chamfer / diagonal:.2e} | {ratios[name]:.2f} | "
            f"{hausdorff / diagonal:.2e} | {peer.hausdorff / diagonal:.2e} | {components:.0f} | "
            f"{surface.config.network.finest} | {seconds:.1f} |"
        )
    yield ""
    yield (
        f"Mean d_C / diagonal {np.mean(relatives):.2e}; mean ratio to the best Poisson of depth 7 to 10: "
        f"{np.mean(list(ratios.values())):.2f}, worst {max(ratios.values()):.2f}; of d_H {np.mean(worst):.2f}."
    )
    held = [ratios[name] for name in HELD_OUT if name in ratios]
    if held:
        yield f"Of the {len(held)} meshes that no constant was fixed on: {np.mean(held):.2f}, worst {max(held):.2f}."


def everyday() -> Iterator[str]:
    """Other real input by the whole command, default preset."""
    yield "| input | points | s | MB | result |"
    yield "| --- | --- | --- | --- | --- |"
    with tempfile.TemporaryDirectory() as folder:
        inputs = [
            DATA / "raw_scans" / "kitten.ply",
            DATA / "raw_scans" / "bunny_10scans_registered.ply",
            DATA / "2d" / "Cup0.xyz",
            DATA / "2d" / "fish.xyz",
        ]
        inputs += write_example("outline", Path(folder) / "outline.xyz")
        inputs += write_example("body", Path(folder) / "body.ply")
        inputs += write_example("body-bare", Path(folder) / "body-bare.ply")
        for path in inputs:
            planar = path.suffix == ".xyz"
            target = Path(folder) / f"out{'.svg' if planar else '.ply'}"
            seconds, memory, run = repeated(igr("reconstruct", path, "-o", target, "--json"))
            found = run.result
            if planar:
                text = f"{found['curves']} curves, {'closed' if found['closed'] else 'open'}"
            else:
                text = f"{found['triangles']:,} triangles, {found['components']} pieces, "
                text += "watertight" if found["watertight"] else "open"
                if path.stem.startswith("bunny"):
                    error = bunny_error(trimesh.load_mesh(target, process=False))
                    text += f"; 95 % of the reference within {error:.2f} mm"
            yield f"| {path.name} | {found['points']:,} | {seconds:.1f} | {memory:.0f} | {text} |"


def bunny_error(mesh: trimesh.Trimesh) -> float:
    """95th percentile, in mm, of the distance of the raw bunny's reference, where it exists, to a reconstruction."""
    import igl

    reference = trimesh.load_mesh(DATA / "raw_scans" / "bunny_zippered_reference_open.ply", process=False)
    square = igl.point_mesh_squared_distance(
        np.asarray(reference.vertices, float), np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64)
    )[0]
    return float(1000 * np.percentile(np.sqrt(square), 95))


def budgets() -> Iterator[str]:
    """Quality against the time given, on lord_quas with normals, and how much the field is a distance."""
    yield "| --seconds | d_C | d_H | NC | area far from every point |"
    yield "| --- | --- | --- | --- | --- |"
    case: Case = scan("lord_quas")
    for seconds in (0.5, 1, 2, 5, 10, 20, 60):
        options = package.Options(seconds=seconds)
        surface = package.reconstruct(case.points, normals=case.normals, options=options)
        mesh = surface.mesh()
        found = compare(mesh, case.truth)
        ghosts = ghost_area(mesh, case.points)
        yield (
            f"| {seconds} | {found.chamfer:.4f} | {found.hausdorff:.2f} | {found.normal_consistency:.3f} | "
            f"{ghosts:.3%} |"
        )
    yield ""
    yield "| cloud | mean abs(‖∇f‖ − 1), band | box | RMS of f − truth, band / radius | box / radius |"
    yield "| --- | --- | --- | --- | --- |"
    for name in ("armadillo", "elephant", "knot", "spot"):
        one = samples(name)
        surface = package.reconstruct(one.points, normals=one.normals, config=dataclasses.replace(FAST))
        radius = surface.frame.scale * FAST.radius
        quality = field_quality(surface.distance, surface.gradient, one.truth, band=0.1 * radius)
        yield (
            f"| {name} | {quality.eikonal_band:.3f} | {quality.eikonal_box:.3f} | {quality.rms_band / radius:.4f} | "
            f"{quality.rms_box / radius:.4f} |"
        )
