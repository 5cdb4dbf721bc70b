"""Shape spaces: training on the human family, held-back frames, unseen subjects, halves, real scans, interpolation.

The family is `humans/humans_anny.npz` of the development data; of every motion of every subject one frame, drawn at
random with seed 1, is held back. Distances are two-way means (protocol `surface`, 20,000 samples each way) in percent
of the body's height.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import igl
import numpy as np
import trimesh

from igr.cloud.pointcloud import PointCloud
from igr.config import FAST_SPACE
from igr.mesh.pieces import largest_piece
from igr.mesh.triangles import face_normals, sample_mesh
from igr.scans.batches import Ahead, ScanSampler
from igr.space.encode import EncodeOptions
from igr.space.predict import scan_errors
from igr.space.refine import refine
from igr.space.space import ShapeSpace
from igr.space.training import TrainingOptions
from igr.surface.surface import Surface

from .clouds import DATA

FAMILY = DATA / "humans" / "humans_anny.npz"
REAL = DATA / "humans" / "dfaust_50002_light_hopping_loose_17x100k_NONCOMMERCIAL.npz"
POINTS = 16_384


@dataclass(frozen=True)
class Posed:
    """One body of the family: its mesh, and a cloud of it with normals."""

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    table: np.ndarray
    held: bool

    @property
    def height(self) -> float:
        """Of the standing person it belongs to, roughly: the family's mean."""
        return 1.75


def family(samples: int) -> list[Posed]:
    """All bodies, sampled by area."""
    with np.load(FAMILY) as data:
        vertices, faces = data["vertices"].astype(float), data["faces"].astype(np.int64)
        motions = [str(name) for name in data["motions"]]
    rng, bodies = np.random.default_rng(1), []
    held = rng.integers(0, vertices.shape[2], vertices.shape[:2])
    for subject, motion, frame in np.ndindex(*vertices.shape[:3]):
        mesh = vertices[subject, motion, frame]
        points, face = sample_mesh(mesh, faces, samples, np.random.default_rng([subject, motion, frame]))
        table = np.hstack([points, face_normals(mesh, faces)[face]])
        table = np.random.default_rng([subject, motion, frame, 1]).permutation(table)
        name = f"subject{subject}/{motions[motion]}/{frame}"
        bodies.append(Posed(name, mesh, faces, table, bool(held[subject, motion] == frame)))
    return bodies


def write_samples(bodies: Sequence[Posed], folder: Path) -> None:
    """Samples as `igr dfaust preprocess` writes them, without the way back."""
    for body in bodies:
        path = folder / f"{body.name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = body.table - np.r_[body.table[:, :3].mean(0), 0, 0, 0]
        np.save(path, table.astype(np.float32))


def two_way(surface: Surface, body: Posed, resolution: int = 160) -> tuple[float, trimesh.Trimesh]:
    """Mean two-way distance in percent of the height, and the mesh: the largest piece, as the command writes it."""
    mesh, _ = largest_piece(surface.mesh(resolution=resolution))
    ends = [(np.asarray(mesh.vertices), np.asarray(mesh.faces)), (body.vertices, body.faces)]
    means = []
    for (v, f), (w, g) in (ends, ends[::-1]):
        samples, _ = sample_mesh(v, f, 20_000, np.random.default_rng(0))
        square = igl.point_mesh_squared_distance(samples, np.asarray(w, float), np.asarray(g, np.int64))[0]
        means.append(np.sqrt(square).mean())
    return 100 * float(np.mean(means)) / body.height, mesh


def encoded_rows(space: ShapeSpace, bodies: Sequence[Posed]) -> Iterator[str]:
    """Latent fits of bodies: whole with normals, bare, and halves."""
    yield "| latent fit of | bodies | mean | worst | on what was seen | seconds for all |"
    yield "| --- | --- | --- | --- | --- | --- |"
    kinds = {
        f"{POINTS:,} points with normals": lambda t: t,
        "the same without normals": lambda t: t[:, :3],
        "left half, with normals": lambda t: t[t[:, 0] > np.median(t[:, 0])],
        "upper half, with normals": lambda t: t[t[:, 2] > np.median(t[:, 2])],
    }
    for name, cut in kinds.items():
        scans = [cut(body.table[:POINTS]) for body in bodies]
        began = time.monotonic()
        found = space.encode_all(scans, EncodeOptions(units=1.0))
        seconds = time.monotonic() - began
        errors, seen = [], []
        for encoding, scan, body in zip(found, scans, bodies, strict=True):
            error, mesh = two_way(space.decode(encoding), body)
            cloud = PointCloud(scan[:, :3], None, name=body.name)
            errors.append(error)
            seen.append(100 * scan_errors(mesh.vertices, mesh.faces, cloud)["mean_to_surface"] / body.height)
        row = [name, len(bodies), f"{np.mean(errors):.3f} %", f"{max(errors):.3f} %", f"{np.mean(seen):.3f} %"]
        yield f"| {' | '.join(map(str, row))} | {seconds:.1f} |"


def trained() -> Iterator[str]:
    """A space trained on the family, and its held-back frames."""
    bodies = family(40_000)
    with tempfile.TemporaryDirectory() as folder:
        write_samples([body for body in bodies if not body.held], Path(folder) / "samples")
        options = TrainingOptions(run=Path(folder) / "run")
        space = ShapeSpace.train(Path(folder) / "samples", config=FAST_SPACE, options=options)
    training = space.details["training"]
    yield f"Preset `fast`: {training['shapes']} bodies, {training['steps']:,} steps, {space.seconds:.0f} s.\n"
    yield from encoded_rows(space, [body for body in bodies if body.held][::4])


def shipped() -> Iterator[str]:
    """The shipped space on people it has never seen, single fits, real scans, interpolation."""
    space = ShapeSpace.load("bodies")
    bodies = [body for body in family(POINTS) if body.held]
    yield "The shipped space `bodies` on subjects that it has never seen:\n"
    yield from encoded_rows(space, bodies[::4])
    yield ""
    for count in (1, 16):
        began = time.monotonic()
        space.encode_all([body.table for body in bodies[:count]])
        yield f"Latent fit of {count} in a batch: {time.monotonic() - began:.1f} s.\n"
    yield from real(space)
    yield from interpolated(space)


def real(space: ShapeSpace) -> Iterator[str]:
    """Real scans without normals, of another body model's world: latent, then the network refined for 20 s."""
    with np.load(REAL) as data:
        clouds = [
            data["points_f16"][i].astype(float) * data["scale"][i] + data["loc"][i].astype(float)
            for i in (0, 8, 16)
        ]
    yield "| real D-FAUST points, 100,000 a scan, no normals | mean | 95th percentile | seconds |"
    yield "| --- | --- | --- | --- |"
    for index, points in enumerate(clouds):
        cloud = PointCloud(points, None, name=f"scan {index}")
        began = time.monotonic()
        surface = space.decode(space.encode(cloud))
        for kind in ("latent", "refined"):
            if kind == "refined":
                surface = refine(surface, cloud, seconds=20)
            seconds = time.monotonic() - began
            mesh = surface.mesh(resolution=160)
            errors, height = scan_errors(mesh.vertices, mesh.faces, cloud), float(np.ptp(points, axis=0).max())
            mean, tail = (100 * errors[f"{key}_to_surface"] / height for key in ("mean", "percentile_95"))
            yield f"| scan {index}, {kind} | {mean:.2f} % | {tail:.2f} % | {seconds:.1f} |"
    yield ""


def interpolated(space: ShapeSpace) -> Iterator[str]:
    """In-betweens of pairs of training shapes: pieces, and volume against the ends'."""
    rng, good, whole, worst, lost = np.random.default_rng(0), 0, 0, 0.0, 0.0
    pairs = [rng.choice(len(space.names), 2, replace=False) for _ in range(12)]
    for pair in pairs:
        first, second = (space.names[index] for index in pair)
        meshes = [surface.mesh(resolution=96) for surface in space.interpolate(first, second, steps=7)]
        volumes = np.array([mesh.volume for mesh in meshes])
        low, high = sorted((volumes[0], volumes[-1]))
        outside = max(volumes.max() / high - 1, 1 - volumes.min() / low)
        worst = max(worst, outside)
        good += all(mesh.is_watertight for mesh in meshes) and outside <= 0.05
        shares = [largest_piece(mesh)[1] for mesh in meshes]
        whole += min(shares) == 1
        lost = max(lost, 1 - min(shares))
    yield (
        f"Interpolation, {len(pairs)} random pairs of training shapes, 7 meshes each: {good} pairs with every mesh "
        f"watertight and its volume between the ends' ± 5 % (the worst leaves them by {100 * worst:.1f} %); {whole} with "
        f"every mesh in one piece before the command leaves out all but the largest (at most {100 * lost:.1f} % of the "
        "area is lost).\n"
    )


def many() -> Iterator[str]:
    """Sampling from 6,258 files against 64: time a batch, and memory, with the next one prepared meanwhile."""
    import resource

    bodies = family(40_000)[:64]
    with tempfile.TemporaryDirectory() as folder:
        write_samples(bodies, Path(folder))
        files = sorted(Path(folder).rglob("*.npy"))
        links = [files[index % 64] for index in range(64)]
        for index in range(64, 6258):
            target = files[index % 64].with_name(f"{files[index % 64].stem}_{index}.npy")
            os.link(files[index % 64], target)
            links.append(target)
        for count in (64, 6258):
            sampler = Ahead(ScanSampler(links[:count], FAST_SPACE, dimension=3, scale=1.2))
            sampler(0)
            began = time.monotonic()
            for step in range(1, 101):
                sampler(step)
            seconds = (time.monotonic() - began) / 100
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            yield f"{count:,} scans: {1000 * seconds:.1f} ms a batch of 16 shapes, {peak:,.0f} MB peak.\n"
