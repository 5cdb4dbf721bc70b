"""Clouds to try things on, shipped as data: a scanned body, a planar outline, solids, a family of bodies.

`examples/clouds` in the repository makes them. A file of `data` holds whole numbers of 16 bits, as differences
along their first axis, which compress better: positions in the box that the cloud and its truth fill, so that they
are right to 1/130,000 of its sides, directions in 65,536ths of a turn.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from .errors import InputError
from .mesh.write import ply_bytes, write_mesh
from .scans.folders import split_folder
from .store.atomic import make_folder, write_bytes

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
    """Triangles of the true surface; None in 2D. On sphere, torus and knot they miss it by up to 8e-4."""


def example_cloud(name: str, *, points: int | None = None, seed: int = 0) -> ExampleCloud:
    """The example `name`, or some of its points.

    Args:
        name: a key of `EXAMPLES`, but not `dfaust`, which is a folder.
        points: how many, drawn at random; all of them by default, 50,000 in space and 600 in the plane.
        seed: seed of the choice; the same seed gives the same points.

    Raises:
        InputError: there is no such example, or fewer than 10 or more points are asked for than there are.
    """
    if name not in EXAMPLES or name == "dfaust":
        raise InputError(f"there is no example {name!r}; known are {', '.join(EXAMPLES)}")
    shipped = _shipped(name.removesuffix("-bare"))
    whole = len(shipped["points"])
    if points is not None and not 10 <= points <= whole:
        raise InputError(f"the example {name} has at least 10 points and at most {whole:,}, not {points:,}")
    rng = np.random.default_rng(seed)
    kept = slice(None) if points is None else np.sort(rng.choice(whole, points, replace=False))
    normals = None if name == "body-bare" else _directions(shipped["normals"][kept])
    faces = shipped["faces"].astype(np.int64) if "faces" in shipped else None
    return ExampleCloud(_places(shipped, "points")[kept], normals, _places(shipped, "vertices"), faces)


def write_example(
    name: str, path: str | os.PathLike[str], *, points: int | None = None, seed: int = 0, reference: bool = False
) -> list[Path]:
    """Write the example `name` to `path` in the format of its suffix; `dfaust` writes a folder.

    Args:
        name: a key of `EXAMPLES`.
        path: file (.ply, .xyz, .npy, .npz) or, for `dfaust`, folder.
        points: number of points of a cloud, drawn at random; all of them by default.
        seed: seed of the choice of points, or of the split of the folder.
        reference: also write the true surface beside it, as NAME_truth.ply (in 2D .xyz, its corners).

    Returns:
        The files written.

    Raises:
        InputError: unknown example or format, points that there are not, or a folder that cannot be written to.
    """
    path = Path(path)
    try:
        if name == "dfaust":
            if points is not None or reference:
                raise InputError("dfaust is a folder of meshes: it has no number of points and no other truth")
            return _write_family(path, seed)
        if name in EXAMPLES and path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: examples are written as {', '.join(SUFFIXES)}, not {path.suffix!r}")
        cloud = example_cloud(name, points=points, seed=seed)
        write_cloud(path, cloud.points, cloud.normals)
        return [path, _write_truth(path, cloud)] if reference else [path]
    except OSError as problem:
        raise InputError(f"{path} cannot be written: {problem.strerror or problem}") from None


def write_cloud(path: Path, points: Float[np.ndarray, "n d"], normals: Float[np.ndarray, "n d"] | None) -> None:
    """Write points, and normals if there are any, in the format of the suffix, one of `SUFFIXES`."""
    table = points if normals is None else np.hstack([points, normals])
    stream = io.BytesIO()
    suffix = path.suffix.lower()
    if suffix == ".ply":
        stream.write(ply_bytes(points, normals=normals))
    elif suffix == ".xyz":
        np.savetxt(stream, table, fmt="%.6f")
    elif suffix == ".npy":
        np.save(stream, table)
    elif normals is None:
        np.savez_compressed(stream, points=points)
    else:
        np.savez_compressed(stream, points=points, normals=normals)
    write_bytes(path, stream.getvalue())


def _write_truth(path: Path, cloud: ExampleCloud) -> Path:
    truth = path.with_name(f"{path.stem}_truth" + (".xyz" if cloud.faces is None else ".ply"))
    if cloud.faces is None:
        write_cloud(truth, cloud.vertices, None)
    else:
        write_mesh(truth, cloud.vertices, cloud.faces)
    return truth


def _write_family(folder: Path, seed: int) -> list[Path]:
    """The shipped family in the layout of D-FAUST, scans/SUBJECT/MOTION/FRAME.ply, and its splits."""
    shipped, written = _shipped("dfaust"), []
    bodies = np.split(_places(shipped, "vertices"), len(shipped["names"]))
    for name, vertices in zip(shipped["names"], bodies, strict=True):
        path = folder / "scans" / f"{name}.ply"
        make_folder(path.parent)
        write_mesh(path, vertices, shipped["faces"].astype(np.int64))
        written.append(path)
    return [*written, *split_folder(folder, folder / "splits", seed=seed)]


def _shipped(name: str) -> dict[str, np.ndarray]:
    """The arrays of a file of `data`, the differences added up."""
    with resources.as_file(resources.files("igr") / "data" / f"{name}.npz") as path, np.load(path) as file:
        arrays = {key: file[key] for key in file}
    return {key: x.cumsum(0, dtype=np.uint16) if x.dtype == np.uint16 else x for key, x in arrays.items()}


def _places(shipped: dict[str, np.ndarray], key: str) -> Float[np.ndarray, "n d"]:
    return shipped["low"] + shipped["step"] * shipped[key]


def _directions(turns: Int[np.ndarray, "n a"]) -> Float[np.ndarray, "n d"]:
    """Unit vectors of their angle to x in the xy-plane and, in space, that to z, in 65,536ths of a turn."""
    around, *down = turns.T * (2 * np.pi / 65536)
    circle = [np.cos(around), np.sin(around)]
    return np.stack([*(np.sin(down[0]) * circle), np.cos(down[0])] if down else circle, 1)
