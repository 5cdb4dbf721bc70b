"""Clouds to try things on: a scanned body, a planar outline, analytic solids, a family of bodies."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ..errors import InputError
from ..mesh.write import write_mesh
from ..scans.folders import split_folder
from ..store.atomic import make_folder, write_bytes
from .body import Body
from .scanner import scan_mesh
from .solids import SOLIDS, sample_solid, solid_mesh

EXAMPLES = {
    "body": "a standing body as a scanner sees it: millimetres, metres off the origin, noise, gaps, with normals",
    "body-bare": "the same scan without normals",
    "outline": "a planar outline with mild noise and normals, in millimetres",
    "sphere": "a sphere of radius 1 with exact normals",
    "torus": "a torus of radii 1 and 0.35 with exact normals",
    "box": "a box of 2 x 1.4 x 1 with exact normals: sharp edges",
    "knot": "a trefoil knot of tube radius 0.28 with exact normals",
    "dfaust": "a folder of bodies in the layout of D-FAUST, with splits",
}
"""What `igr example` writes, with a line about each."""

SUFFIXES = (".ply", ".xyz", ".npy", ".npz")
"""File formats of an example cloud."""

FAMILY_MOTIONS = ("jumping_jacks", "knees", "punching")
"""Motions of the example `dfaust`."""


@dataclass(frozen=True)
class ExampleCloud:
    """A cloud and the truth it was made from."""

    points: Float[np.ndarray, "n d"]
    """Positions."""
    normals: Float[np.ndarray, "n d"] | None
    """Unit normals, outward."""
    vertices: Float[np.ndarray, "v d"]
    """Vertices of the true surface (of the true closed curve in 2D, in order)."""
    faces: Int[np.ndarray, "f 3"] | None
    """Triangles of the true surface; None in 2D."""


def example_cloud(name: str, *, points: int | None = None, seed: int = 0) -> ExampleCloud:
    """The example `name` with about so many points.

    Args:
        name: a key of `EXAMPLES`, but not `dfaust`, which is a folder.
        points: number of points; the default is 50,000 in space and 600 in the plane.
        seed: seed of the virtual scanner; the same seed gives the same cloud.

    Raises:
        InputError: there is no such example, or there are too few or too many points.
    """
    if name not in EXAMPLES or name == "dfaust":
        raise InputError(f"there is no example {name!r}; known are {', '.join(EXAMPLES)}")
    count = (600 if name == "outline" else 50_000) if points is None else points
    if not 10 <= count <= 10_000_000:
        raise InputError(f"an example has at least 10 points and at most 10,000,000, not {count:,}")
    rng = np.random.default_rng(seed)
    if name in SOLIDS:
        return ExampleCloud(*sample_solid(name, count, rng), *solid_mesh(name))
    if name == "outline":
        return _outline(count, rng)
    scan = _scanned_body(count, rng)
    return scan if name == "body" else ExampleCloud(scan.points, None, scan.vertices, scan.faces)


def write_example(
    name: str, path: str | os.PathLike[str], *, points: int | None = None, seed: int = 0, reference: bool = False
) -> list[Path]:
    """Write the example `name` to `path` in the format of its suffix; `dfaust` writes a folder.

    Args:
        name: a key of `EXAMPLES`.
        path: file (.ply, .xyz, .npy, .npz) or, for `dfaust`, folder.
        points: number of points of a cloud.
        seed: seed of the virtual scanner, or of the family.
        reference: also write the true surface beside it, as NAME_truth.ply (in 2D .xyz, its corners).

    Returns:
        The files written.

    Raises:
        InputError: unknown example or format, or a folder that cannot be written to.
    """
    path = Path(path)
    try:
        if name == "dfaust":
            return _write_family(path, seed)
        if name in EXAMPLES and path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: examples are written as {', '.join(SUFFIXES)}, not {path.suffix!r}")
        cloud = example_cloud(name, points=points, seed=seed)
        write_bytes(path, _encoded(path.suffix.lower(), cloud.points, cloud.normals))
        return [path, _write_truth(path, cloud)] if reference else [path]
    except OSError as problem:
        raise InputError(f"{path} cannot be written: {problem.strerror or problem}") from None


def _write_truth(path: Path, cloud: ExampleCloud) -> Path:
    truth = path.with_name(f"{path.stem}_truth" + (".xyz" if cloud.faces is None else ".ply"))
    if cloud.faces is None:
        write_bytes(truth, _encoded(".xyz", cloud.vertices, None))
    else:
        write_mesh(truth, cloud.vertices, cloud.faces)
    return truth


def _scanned_body(count: int, rng: np.random.Generator) -> ExampleCloud:
    """A standing body in millimetres, on glass somewhere in a hall; no camera sees armpits and mouth."""
    body = Body()
    pose = {"upperarm01.L": [0, 8, 0], "upperarm01.R": [0, -8, 0], "lowerarm01.L": [-18, 0, 0], "head": [0, 0, 14]}
    vertices = 1000.0 * body.pose([0.6, -0.4, 0.3], pose) + [2500.0, -1200.0, 300.0]
    return ExampleCloud(*scan_mesh((vertices, body.faces), count, rng), vertices, body.faces)


def _outline(count: int, rng: np.random.Generator) -> ExampleCloud:
    """A leaf-like closed curve with five lobes, about 80 mm across, sampled unevenly."""
    fine = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    radius = 30 + 9 * np.cos(5 * fine) + 3 * np.sin(2 * fine)
    curve = np.c_[radius * np.cos(fine), radius * np.sin(fine)] + [120.0, 45.0]
    tangent = np.roll(curve, -1, 0) - np.roll(curve, 1, 0)
    normal = np.c_[tangent[:, 1], -tangent[:, 0]] / np.linalg.norm(tangent, axis=1, keepdims=True)
    chosen = rng.choice(len(fine), count, p=radius / radius.sum())
    noisy = curve[chosen] + rng.normal(0, 0.15, count)[:, None] * normal[chosen]
    return ExampleCloud(noisy, normal[chosen], curve, None)


def _encoded(suffix: str, points: np.ndarray, normals: np.ndarray | None) -> bytes:
    """The bytes of a cloud file."""
    table = points if normals is None else np.hstack([points, normals])
    stream = io.BytesIO()
    if suffix == ".ply":
        axes = ["x", "y", "z"][: points.shape[1]]
        names = axes if normals is None else axes + [f"n{axis}" for axis in axes]
        lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
        header = [*lines, *(f"property double {name}" for name in names), "end_header"]
        return ("\n".join(header) + "\n").encode() + table.astype("<f8").tobytes()
    if suffix == ".xyz":
        np.savetxt(stream, table, fmt="%.6f")
    elif suffix == ".npy":
        np.save(stream, table)
    elif normals is None:
        np.savez_compressed(stream, points=points)
    else:
        np.savez_compressed(stream, points=points, normals=normals)
    return stream.getvalue()


def _write_family(folder: Path, seed: int) -> list[Path]:
    """A small family in the layout of D-FAUST, scans/SUBJECT/MOTION/FRAME.ply, and its splits."""
    body, written = Body(), []
    for subject, motion, frame, vertices in body.family(4, 4, motions=FAMILY_MOTIONS, seed=seed):
        path = folder / "scans" / subject / motion / f"{motion}.{frame:06d}.ply"
        make_folder(path.parent)
        write_mesh(path, vertices, body.faces)
        written.append(path)
    return [*written, *split_folder(folder, folder / "splits", seed=seed)]
