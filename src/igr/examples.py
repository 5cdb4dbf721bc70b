"""Clouds to try things on: a scanned body, a planar outline, analytic solids, a family of bodies."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from .body import Body
from .errors import InputError
from .storage import write_bytes

EXAMPLES = {
    "body": "a standing body as a scanner sees it: millimetres, metres off the origin, noise, gaps, with normals",
    "body-bare": "the same scan without normals",
    "outline": "a planar outline with mild noise and normals, in millimetres",
    "sphere": "a sphere of radius 1 with exact normals",
    "torus": "a torus of radii 1 and 0.35 with exact normals",
    "box": "a box of 2 x 1.4 x 1 with exact normals: sharp edges",
    "knot": "a trefoil knot of tube radius 0.28 with exact normals",
    "dfaust": "a folder of body scans in the layout of D-FAUST",
}
"""What `igr example` writes, with a line about each."""

SUFFIXES = (".ply", ".xyz", ".npy", ".npz")
"""File formats of an example cloud."""


@dataclass(frozen=True)
class ExampleCloud:
    """A cloud and the truth it was made from."""

    points: Float[np.ndarray, "n d"]
    normals: Float[np.ndarray, "n d"] | None
    vertices: Float[np.ndarray, "v d"]
    """Vertices of the true surface (of the true closed curve in 2D, in order)."""
    faces: np.ndarray | None
    """Triangles of the true surface; None in 2D."""


def example_cloud(name: str, *, points: int | None = None, seed: int = 0) -> ExampleCloud:
    """The example `name` with about so many points.

    Args:
        name: a key of `EXAMPLES`, but not `dfaust`, which is a folder.
        points: number of points; the default is 50,000 in space and 600 in the plane.
        seed: seed of the virtual scanner; the same seed gives the same cloud.

    Raises:
        InputError: there is no such example, or the number of points is not positive.
    """
    if name not in EXAMPLES or name == "dfaust":
        raise InputError(f"there is no example {name!r}; known are {', '.join(EXAMPLES)}")
    count = (600 if name == "outline" else 50_000) if points is None else points
    if count < 10:
        raise InputError(f"an example needs at least 10 points, not {count}")
    rng = np.random.default_rng(seed)
    if name == "outline":
        return _outline(count, rng)
    if name.startswith("body"):
        scan = scanned_body(count, rng)
        return scan if name == "body" else ExampleCloud(scan.points, None, scan.vertices, scan.faces)
    vertices, faces = _solid(name)
    sampled, face = sample_mesh(vertices, faces, count, rng)
    return ExampleCloud(sampled, _face_normals(vertices, faces)[face], vertices, faces)


def write_example(
    name: str, path: str | os.PathLike[str], *, points: int | None = None, seed: int = 0, reference: bool = False
) -> list[Path]:
    """Write the example `name` to `path` in the format of its suffix; `dfaust` writes a folder.

    Args:
        name: a key of `EXAMPLES`.
        path: file (.ply, .xyz, .npy, .npz) or, for `dfaust`, folder.
        points: number of points.
        seed: seed of the virtual scanner.
        reference: also write the true surface beside it, as NAME_truth.ply (in 2D .xyz, its corners).

    Returns:
        The files written.

    Raises:
        InputError: unknown example or format, or a folder that cannot be written to.
    """
    path = Path(path)
    if name == "dfaust":
        return _write_family(path, seed)
    cloud = example_cloud(name, points=points, seed=seed)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: examples are written as {', '.join(SUFFIXES)}, not {path.suffix!r}")
    try:
        write_bytes(path, _encoded(path.suffix.lower(), cloud.points, cloud.normals))
        written = [path]
        if reference:
            truth = path.with_name(f"{path.stem}_truth" + (".xyz" if cloud.faces is None else ".ply"))
            if cloud.faces is None:
                write_bytes(truth, _encoded(".xyz", cloud.vertices, None))
            else:
                write_bytes(truth, _ply(cloud.vertices, None, cloud.faces))
            written.append(truth)
    except OSError as problem:
        raise InputError(f"{path} cannot be written: {problem.strerror}") from None
    return written


def scanned_body(count: int, rng: np.random.Generator) -> ExampleCloud:
    """A body seen by eight virtual scanners around it: what none of them sees is missing, noise grows where the
    surface is seen at a grazing angle, and the views are misregistered by a fraction of a millimetre."""
    body = Body()
    pose = {"upperarm01.L": [0, 8, 0], "upperarm01.R": [0, -8, 0], "lowerarm01.L": [-18, 0, 0], "head": [0, 0, 14]}
    vertices = 1000.0 * body.pose([0.6, -0.4, 0.3], pose) + [2500.0, -1200.0, 300.0]
    dense, face = sample_mesh(vertices, body.faces, 8 * count, rng)
    normals = _face_normals(vertices, body.faces)[face]
    points, directions = [], []
    for view in range(8):
        angle, height = 2 * np.pi * view / 8 + 0.2, (0.25, -0.12)[view % 2]
        toward = np.array([np.cos(angle), np.sin(angle), height])  # from the body to the scanner
        toward /= np.linalg.norm(toward)
        facing = normals @ toward
        seen = np.flatnonzero((facing > 0.15) & _visible(dense, toward, pixel=5.0))
        seen = rng.choice(seen, min(len(seen), count // 8), replace=False, p=facing[seen] / facing[seen].sum())
        depth = rng.normal(0, 0.35, len(seen)) / np.sqrt(facing[seen])
        tilted = normals[seen] + rng.normal(0, 0.06, (len(seen), 3))
        points.append(dense[seen] + depth[:, None] * toward + rng.normal(0, 0.15, 3))
        directions.append(tilted / np.linalg.norm(tilted, axis=1, keepdims=True))
    return ExampleCloud(np.concatenate(points), np.concatenate(directions), vertices, body.faces)


def sample_mesh(
    vertices: Float[np.ndarray, "v 3"], faces: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n 3"], np.ndarray]:
    """Points spread evenly over the area of a mesh, and the face of each."""
    a, b, c = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = np.sort(rng.choice(len(faces), count, p=area / area.sum()))
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, (1 - u, 1 - v), (u, v))
    return a[face] + u * (b - a)[face] + v * (c - a)[face], face


def _visible(points: np.ndarray, toward: np.ndarray, *, pixel: float) -> np.ndarray:
    """Which points a far-away scanner in the direction `toward` sees: those near the front of their pixel."""
    side = np.cross(toward, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    across, up = (np.floor(points @ axis / pixel).astype(np.int64) for axis in (side, np.cross(toward, side)))
    cell = (across - across.min()) * (np.ptp(up) + 1) + up - up.min()
    depth = points @ toward
    front = np.full(cell.max() + 1, -np.inf)
    np.maximum.at(front, cell, depth)
    return depth > front[cell] - 4 * pixel


def _face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    normal = np.cross(b - a, c - a)
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)


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


def _solid(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A fine, outward-oriented mesh of an analytic solid."""
    if name == "box":
        corners = np.array(list(np.ndindex(2, 2, 2))) * [2.0, 1.4, 1.0] - [1.0, 0.7, 0.5]
        quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        return corners, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 601)[:-1], np.linspace(0, 2 * np.pi, 121)[:-1], indexing="ij")
    if name == "torus":
        center, tube = np.stack([np.cos(u), np.sin(u), 0 * u], -1), 0.35
    elif name == "knot":
        center = np.stack([np.sin(u) + 2 * np.sin(2 * u), np.cos(u) - 2 * np.cos(2 * u), -np.sin(3 * u)], -1) / 2
        tube = 0.28
    else:
        polar, turn = np.meshgrid(np.linspace(0, np.pi, 202)[1:-1], v[0], indexing="ij")
        ring = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], -1)
        return _capped(ring)
    along = np.roll(center, -1, 0) - np.roll(center, 1, 0)
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    first = np.cross(along, [0.0, 0.0, 1.0])
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second = np.cross(along, first)
    return _grid_mesh(center + tube * (np.cos(v)[..., None] * first + np.sin(v)[..., None] * second))


def _grid_mesh(surface: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of a surface that is periodic in both parameters, shape (a, b, 3)."""
    a, b = surface.shape[:2]
    row = np.arange(a * b).reshape(a, b)
    right, down = np.roll(row, -1, 1), np.roll(row, -1, 0)
    diagonal = np.roll(down, -1, 1)
    triangles = [np.stack([row, right, diagonal], -1), np.stack([row, diagonal, down], -1)]
    return surface.reshape(-1, 3), np.concatenate([t.reshape(-1, 3) for t in triangles])


def _capped(ring: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of rings from pole to pole, the poles added."""
    a, b = ring.shape[:2]
    row = np.arange(a * b).reshape(a, b)
    right = np.roll(row, -1, 1)
    bands = [(row[:-1], row[1:], right[1:]), (row[:-1], right[1:], right[:-1])]
    north, south = np.full(b, a * b), np.full(b, a * b + 1)
    caps = [(north, row[0], right[0]), (south, right[-1], row[-1])]
    faces = np.concatenate([np.stack([x.ravel() for x in t], -1) for t in (*bands, *caps)])
    return np.concatenate([ring.reshape(-1, 3), [[0, 0, 1.0], [0, 0, -1.0]]]), faces


def _encoded(suffix: str, points: np.ndarray, normals: np.ndarray | None) -> bytes:
    """The bytes of a cloud file."""
    table = points if normals is None else np.c_[points, normals]
    if suffix == ".ply":
        return _ply(points, normals, None)
    stream = io.BytesIO()
    if suffix == ".xyz":
        np.savetxt(stream, table, fmt="%.6f")
    elif suffix == ".npy":
        np.save(stream, table)
    elif normals is None:
        np.savez_compressed(stream, points=points)
    else:
        np.savez_compressed(stream, points=points, normals=normals)
    return stream.getvalue()


def _ply(points: np.ndarray, normals: np.ndarray | None, faces: np.ndarray | None) -> bytes:
    """A binary PLY in float64; planar points get z = 0 columns left out, as our reader takes them."""
    names = ["x", "y", "z"][: points.shape[1]] + ([] if normals is None else ["nx", "ny", "nz"][: points.shape[1]])
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    lines += [f"property double {name}" for name in names]
    body = (points if normals is None else np.c_[points, normals]).astype("<f8").tobytes()
    if faces is not None:
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        rows = np.empty(len(faces), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
        rows["count"], rows["corners"] = 3, faces
        body += rows.tobytes()
    return ("\n".join([*lines, "end_header"]) + "\n").encode() + body


def _write_family(folder: Path, seed: int) -> list[Path]:
    """A small family in the layout of D-FAUST: scans/SUBJECT/MOTION/FRAME.ply, and a split file."""
    body, written = Body(), []
    scans: dict[str, dict[str, list[str]]] = {}
    for subject, motion, frame, vertices in body.family(
        4, 4, motions=("jumping_jacks", "knees", "punching"), seed=seed
    ):
        name = f"{motion}.{frame:06d}"
        path = folder / "scans" / subject / motion / f"{name}.ply"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, _ply(vertices, None, body.faces))
        scans.setdefault(subject, {}).setdefault(motion, []).append(name)
        written.append(path)
    split = folder / "split_all.json"
    write_bytes(split, json.dumps({"scans": scans}, indent=1).encode())
    return [*written, split]
