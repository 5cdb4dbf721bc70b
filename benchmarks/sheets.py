"""Open scans, default options without normals, beside Poisson with the same normals and the same trimming."""

from __future__ import annotations

import time
from collections.abc import Iterator

import igl
import numpy as np
import trimesh

import igr
from examples.clouds.open_scans import SCANS
from igr.cloud.neighbors import Neighbors
from igr.cloud.pointcloud import as_cloud
from igr.judge.baselines import screened_poisson
from igr.mesh.border import EDGE, cut, unsupported
from igr.mesh.gaps import gaps
from igr.normals.directions import local_spacing
from igr.normals.estimate import orient

from .clouds import DATA, samples, scan

MOST = 40_000
"""Points of a cloud that are used."""
FAR = 3.0
"""In local spacings: area farther than that from every sample was invented."""
FILES = ("terrain", "leaf", "catenoid", "carton_one_view", "room_simulated_lidar")
VIEWED = ("horse", "bunny_closed", "rocker_arm")
"""Meshes that one sensor sees, at the origin."""


def one_view(name: str) -> tuple[np.ndarray, np.ndarray, trimesh.Trimesh]:
    """The points of a mesh that a sensor at the origin, three diagonals away, sees, with noise of a fifth of a pixel;
    their normals, and the mesh."""
    case = samples(name, count=400_000)
    size = float(np.linalg.norm(np.ptp(case.points, axis=0)))
    move = [0, 3 * size, 0] - case.points.mean(0)
    points = case.points + move
    pixel = np.round(300 * points[:, [0, 2]] / points[:, 1:2] * 3)
    order = np.argsort(points[:, 1])
    seen = order[np.unique(pixel[order], axis=0, return_index=True)[1]]
    seen = seen[(case.normals[seen] * points[seen]).sum(1) < 0]
    noise = np.random.default_rng(0).normal(0, size / 1500, (len(seen), 3))
    truth = trimesh.Trimesh(np.asarray(case.truth.vertices) + move, case.truth.faces, process=False)
    return points[seen] + noise, case.normals[seen], truth


def clouds() -> Iterator[tuple[str, np.ndarray]]:
    """The open clouds, by name."""
    for name in FILES:
        yield name, as_cloud(DATA / "cases" / "open" / f"{name}.xyz").points
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(20_000, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    yield "half sphere", ball[ball[:, 2] > 0]
    for name in VIEWED:
        yield f"{name}, one view", one_view(name)[0]


def figures(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> str:
    """99th percentiles from the mesh to the samples and back, in local spacings; area that was invented; pieces."""
    near = Neighbors(points)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    places = trimesh.sample.sample_surface(mesh, 50_000, seed=0)[0]
    away = gaps(places, near)
    back = np.sqrt(igl.point_mesh_squared_distance(points, vertices, faces.astype(np.int64))[0]) / local_spacing(
        near
    )
    share, pieces = (away > FAR).mean(), mesh.body_count
    return f"{np.quantile(away, 0.99):.2f} | {share:.1%} | {np.quantile(back, 0.99):.2f} | {pieces}"


def open_scans() -> Iterator[str]:
    """One row a cloud."""
    yield (
        "Default options, no normals, and screened Poisson of depth 8 given the normals that igr found, cut at the "
        "same gap. In local spacings: 99 % of the mesh lies so close to a sample, and 99 % of the samples to the mesh; "
        f"invented is the area farther than {FAR:g} from every sample."
    )
    yield ""
    yield "| cloud | points | found | s | mesh to samples | invented | samples to mesh | pieces | Poisson: the same four |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, cloud in clouds():
        points = cloud[np.random.default_rng(0).permutation(len(cloud))[:MOST]]
        began = time.perf_counter()
        surface = igr.reconstruct(points, normals="ignore")
        mesh = surface.mesh()
        seconds = time.perf_counter() - began
        ours = figures(np.asarray(mesh.vertices), np.asarray(mesh.faces), points)
        center = points.mean(0)
        vertices, faces = screened_poisson(points - center, orient(points).normals, depth=8)
        near = Neighbors(points - center)
        kept = cut(vertices, faces, unsupported(vertices, faces, near)[0], EDGE)
        theirs = figures(kept[0] + center, kept[1], points)
        found = "open" if surface.is_open else "closed"
        yield f"| {name} | {len(points):,} | {found} | {seconds:.1f} | {ours} | {theirs.replace(' | ', ', ')} |"


SENSED = ("horse", "bunny_closed", "rocker_arm", "armadillo", "fandisk", "spot")
"""Meshes that a sensor sees whose position is told."""


def views() -> Iterator[str]:
    """One row a mesh, seen from one place that is told."""
    yield (
        "One view of each mesh from a sensor whose position is told (`viewpoints=`): share of the normals that face "
        "as the mesh does; in spacings, root mean square and 99 % of the distance from the surface to the mesh, and "
        "99 % from the points to the surface."
    )
    yield ""
    yield "| mesh | points | sides right | RMS | 99 % | points to surface |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name in SENSED:
        points, normals, truth = one_view(name)
        cloud = igr.as_cloud(points, viewpoints=[0.0, 0.0, 0.0])
        right = ((orient(points, None, cloud.lines_of_sight()).normals * normals).sum(1) > 0).mean()
        mesh = igr.reconstruct(cloud).mesh()
        spacing = float(np.median(local_spacing(Neighbors(points))))
        away, back = (
            np.sqrt(igl.point_mesh_squared_distance(x, np.asarray(of.vertices), np.asarray(of.faces, np.int64))[0])
            / spacing
            for x, of in ((trimesh.sample.sample_surface(mesh, 30_000, seed=0)[0], truth), (points, mesh))
        )
        yield (
            f"| {name} | {len(points):,} | {right:.2%} | {np.sqrt((away**2).mean()):.2f} | "
            f"{np.quantile(away, 0.99):.2f} | {np.quantile(back, 0.99):.2f} |"
        )


CLOSED = ("horse", "bunny_closed", "camel", "homer", "spot", "fandisk")
"""Meshes whose sparse and noisy samples are closed."""


def decided() -> Iterator[tuple[str, bool, np.ndarray]]:
    """Twenty open and twenty closed clouds without normals: name, whether open, points."""
    for name, make in SCANS.items():
        yield f"made {name}", name != "slices", make(np.random.default_rng(0))
    for name, points in clouds():
        if name != "half sphere":
            yield name, True, points
    for name in ("lord_quas", "anchor", "daratech"):
        yield name, False, scan(name).points
    for name in ("kitten", "tum_rabbit", "bunny_10scans_registered"):
        yield name, False, as_cloud(DATA / "raw_scans" / f"{name}.ply").points
    yield "organ_slices", False, as_cloud(DATA / "cases" / "open" / "organ_slices.xyz").points
    for name in CLOSED:
        yield f"{name}, 1,000 points", False, samples(name, count=1000).points
        yield f"{name}, 1 % noise", False, samples(name, noise=0.01, count=20_000).points


def decisions() -> Iterator[str]:
    """One row a cloud that is decided, and the count."""
    yield "Default options, no normals, at most 40,000 points: whether the surface was found to be open."
    yield ""
    yield "| cloud | is | found | invented if closed | processor s |"
    yield "| --- | --- | --- | --- | --- |"
    right = total = 0
    for name, is_open, cloud in decided():
        points = cloud[np.random.default_rng(0).permutation(len(cloud))[:MOST]]
        began = time.process_time()
        surface = igr.reconstruct(points, normals="ignore")
        words = ["closed", "open"]
        yield (
            f"| {name} | {words[is_open]} | {words[surface.is_open]} | {surface.details['invented']:.1%} | "
            f"{time.process_time() - began:.1f} |"
        )
        right, total = right + (surface.is_open == is_open), total + 1
    yield ""
    yield f"{right} of {total} are decided rightly."
