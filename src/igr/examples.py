"""Clouds to try things on, shipped as data: a scanned body, a planar outline, solids, a family of bodies.

`examples/clouds` in the repository makes them. A file of `data` holds whole numbers of 16 bits, as differences
along their first axis, which compress better: positions in the box that the cloud and its truth fill, so that they
are right to 1/130,000 of its sides, directions in 65,536ths of a turn.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from .errors import InputError
from .images.views import View
from .mesh.triangles import face_normals
from .mesh.write import ply_bytes, write_mesh
from .scans.folders import split_folder
from .show.raster import rasterize
from .show.render import png
from .store.atomic import make_folder, write_bytes

EXAMPLES = {
    "body": "a standing body as a scanner sees it: millimetres, metres off the origin, noise, gaps, with normals",
    "body-bare": "the same scan without normals",
    "outline": "a planar outline with mild noise and normals, in millimetres",
    "sphere": "a sphere of radius 1 with exact normals",
    "torus": "a torus of radii 1 and 0.35 with exact normals",
    "box": "a box of 2 x 1.4 x 1 with exact normals: sharp edges",
    "knot": "a trefoil knot of tube radius 0.28 with exact normals",
    "photos": "a folder of 20 masked photographs of the body, with cameras, in the layout of IDR",
    "dfaust": "a folder of bodies in the layout of D-FAUST, with splits",
}
"""What `igr example` writes, with a line about each."""

FOLDERS = ("photos", "dfaust")
"""Examples that are folders."""
SUFFIXES = (".ply", ".xyz", ".npy", ".npz")
"""File formats of an example cloud."""
PHOTOGRAPHS = 20, 256
"""How many photographs the example has, and their height and width."""
FINER = 2
"""A photograph is the mean of so many pixels along either side."""
AWAY, FILLED = 3.2, 0.9
"""How far cameras are from the middle of an object, in radii of it, and what share of a picture that fills."""
HEAD_LIGHT = 0.25, 0.75
"""Light from all around, and from the camera."""
NOISE = 2.0
"""Standard deviation of the noise of a photograph, of 255."""


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
    if name not in EXAMPLES or name in FOLDERS:
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
        The files written; for `photos` their folder.

    Raises:
        InputError: unknown example or format, points that there are not, or a folder that cannot be written to.
    """
    path = Path(path)
    try:
        if name == "photos" and points is not None:
            raise InputError("photos is a folder of pictures: it has no number of points")
        if name == "dfaust":
            if points is not None or reference:
                raise InputError("dfaust is a folder of meshes: it has no number of points and no other truth")
            return _write_family(path, seed)
        if name == "photos":
            body = example_cloud("body")
            assert body.faces is not None
            write_photographs(path, photographs(body.vertices, body.faces, *PHOTOGRAPHS, seed=seed))
            return [path, _write_truth(path / "body.ply", body)] if reference else [path]
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


def photographs(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], count: int, pixels: int, *, seed: int = 0
) -> list[View]:
    """Masked photographs of a mesh, as a camera with a lamp on it takes them from all around; all of it is seen.

    The mesh is painted in colors that change over a twentieth to half of its size. What pixels show are means,
    with noise; masks are exact to half a pixel.

    Args:
        vertices, faces: the mesh, counter-clockwise seen from outside.
        count: how many, from evenly spread directions.
        pixels: height and width of each.
        seed: of colors, noise, and small turns of the cameras.
    """
    rng = np.random.default_rng([seed, 8])
    center = (vertices.min(0) + vertices.max(0)) / 2
    radius = float(np.linalg.norm(vertices - center, axis=1).max())
    paint = _Paint(rng, center, radius)
    normals = np.zeros(vertices.shape)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], face_normals(vertices, faces))
    height = 1 - (2 * np.arange(count) + 1) / count
    around = np.pi * (3 - np.sqrt(5)) * np.arange(count) + rng.uniform(0, 2 * np.pi)
    flat = np.sqrt(1 - height**2)
    views = []
    for index, toward in enumerate(np.stack([flat * np.cos(around), flat * np.sin(around), height], 1)):
        focal = 0.5 * FILLED * pixels * np.sqrt(AWAY**2 - 1)
        intrinsics = np.array([[focal, 0, (pixels - 1) / 2], [0, focal, (pixels - 1) / 2], [0, 0, 1]])
        right = np.cross(rng.normal(0, 0.2, 3) + [0, 0, 1], toward)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(right, toward), -toward])
        nothing = np.zeros((pixels, pixels), np.uint8)
        view = View(
            f"{index:03d}.png",
            nothing[..., None],
            nothing > 0,
            intrinsics,
            rotation,
            center + AWAY * radius * toward,
        )
        views.append(_photograph(view, vertices, faces, normals, paint, rng))
    return views


class _Paint:
    """Colors of places around an object: waves of many lengths in each channel."""

    def __init__(self, rng: np.random.Generator, center: np.ndarray, radius: float) -> None:
        self.center, self.radius = center, radius
        length = np.geomspace(0.05, 0.5, 24)
        direction = rng.normal(0, 1, (3, len(length), 3))
        self.waves = direction / np.linalg.norm(direction, axis=2, keepdims=True) * (np.pi / length)[:, None]
        self.phase = rng.uniform(0, 2 * np.pi, (3, len(length)))
        self.strength = np.sqrt(length) / np.sqrt(length).sum()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        u = (x - self.center) / self.radius
        waves = [np.sin(u @ self.waves[k].T + self.phase[k]) @ self.strength for k in range(3)]
        return np.clip(0.55 + 1.8 * np.stack(waves, 1), 0.05, 1.0)


def _photograph(
    view: View,
    vertices: np.ndarray,
    faces: np.ndarray,
    normals: np.ndarray,
    paint: _Paint,
    rng: np.random.Generator,
) -> View:
    """The view with what it shows of a painted mesh."""
    pixels = len(view.mask)
    place, depth = view.seen_at(vertices)
    fine = np.column_stack([FINER * (place + 0.5), -1 / depth])  # depth such that it is linear in the picture
    shown = rasterize(fine, faces, FINER * pixels)
    corners = faces[shown.faces]
    share = shown.weights / depth[corners]
    share /= share.sum(1, keepdims=True)
    x = np.einsum("pk,pkc->pc", share, vertices[corners])
    normal = np.einsum("pk,pkc->pc", share, normals[corners])
    toward = view.center - x
    lengths = np.linalg.norm(normal, axis=1) * np.linalg.norm(toward, axis=1)
    facing = np.clip((normal * toward).sum(1) / np.maximum(lengths, 1e-300), 0, 1)
    light = HEAD_LIGHT[0] + HEAD_LIGHT[1] * facing
    colors, covered = np.zeros(((FINER * pixels) ** 2, 3)), np.zeros((FINER * pixels) ** 2)
    colors[shown.pixels], covered[shown.pixels] = paint(x) * light[:, None], 1
    colors, covered = (a.reshape(pixels, FINER, pixels, FINER, -1).mean((1, 3)) for a in (colors, covered))
    image = 255 * colors + rng.normal(0, NOISE, colors.shape)
    return replace(view, image=image.round().clip(0, 255).astype(np.uint8), mask=covered[..., 0] >= 0.5)


def write_photographs(folder: str | os.PathLike[str], views: Sequence[View]) -> None:
    """Write views in the layout of IDR: image, mask and cameras.npz."""
    folder, matrices, files = Path(folder), {}, {}
    for index, view in enumerate(views):
        for kind, picture in (("image", view.image), ("mask", np.uint8(255) * view.mask)):
            make_folder(folder / kind)
            files[folder / kind / view.name] = png(picture)
        matrix, away = np.eye(4), -view.rotation @ view.center
        matrix[:3] = view.intrinsics @ np.column_stack([view.rotation, away])
        matrices |= {f"world_mat_{index}": matrix}
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **matrices)
    files[folder / "cameras.npz"] = stream.getvalue()
    for path, data in files.items():
        write_bytes(path, data)


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
