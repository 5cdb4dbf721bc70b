"""Writes the example clouds that igr ships, about 10 seconds: python -m examples.clouds.make [FOLDER]

`igr.examples` reads them and says what the files hold.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import igl
import numpy as np
from jaxtyping import Float, Int, UInt16

from examples.clouds.body import Body
from examples.clouds.scanner import scan_mesh
from examples.clouds.solids import SOLIDS, sample_solid, solid_mesh
from igr.examples import ExampleCloud

FOLDER = Path(__file__).parents[2] / "src" / "igr" / "data"
"""Where the package looks for them."""

CLOUDS = ("body", "outline", *SOLIDS)
"""Names of the clouds, each a file."""

FAMILY_MOTIONS = ("jumping_jacks", "knees", "punching")
"""Motions of the family `dfaust`, a file too."""

FAMILY_TRIANGLES = 8000
"""Of each body of the family: 0.7 mm off the whole body on average."""


def make_cloud(name: str) -> ExampleCloud:
    """A cloud of `CLOUDS`, 50,000 points in space and 600 in the plane, and its truth, before they are rounded."""
    rng = np.random.default_rng(0)
    if name == "body":
        return _scanned_body(50_000, rng)
    if name == "outline":
        return _outline(600, rng)
    return ExampleCloud(*sample_solid(name, 50_000, rng), *solid_mesh(name, along=300, around=96))


def make_family() -> tuple[list[str], Float[np.ndarray, "b v 3"], Int[np.ndarray, "f 3"]]:
    """Bodies of four people in motion, in metres: names SUBJECT/MOTION/MOTION.FRAME, vertices, triangles."""
    body, names, bodies = Body(), [], []
    _, faces, _, kept = igl.qslim(body.pose(), body.faces, FAMILY_TRIANGLES)
    for subject, motion, frame, vertices in body.family(4, 4, motions=FAMILY_MOTIONS):
        names.append(f"{subject}/{motion}/{motion}.{frame:06d}")
        bodies.append(vertices[np.asarray(kept)])
    return names, np.array(bodies), np.asarray(faces)


def pack_cloud(cloud: ExampleCloud) -> dict[str, np.ndarray]:
    """The arrays of a cloud's file."""
    arrays = _rounded({"points": cloud.points, "vertices": cloud.vertices})
    if cloud.normals is not None:
        arrays["normals"] = _differences(_turns(cloud.normals))
    return arrays if cloud.faces is None else arrays | {"faces": _differences(cloud.faces)}


def pack_family() -> dict[str, np.ndarray]:
    """The arrays of the family's file."""
    names, bodies, faces = make_family()
    arrays = _rounded({"vertices": bodies.reshape(-1, 3)})
    return {"names": np.array(names), "faces": _differences(faces)} | arrays


def write_clouds(folder: Path) -> None:
    """Write a file for each cloud, and one for the family."""
    for name in (*CLOUDS, "dfaust"):
        path = folder / f"{name}.npz"
        arrays = pack_family() if name == "dfaust" else pack_cloud(make_cloud(name))
        np.savez_compressed(path, **arrays)  # pyright: ignore
        print(f"wrote {path}: {path.stat().st_size / 1e6:.2f} MB")


def _rounded(places: Mapping[str, Float[np.ndarray, "n d"]]) -> dict[str, np.ndarray]:
    """Positions in 65,535ths of the sides of their common box, its lowest corner, and the length of a step."""
    together = np.concatenate(list(places.values()))
    low, step = together.min(0), np.ptp(together, axis=0) / 65535
    return {"low": low, "step": step} | {key: _differences((x - low) / step) for key, x in places.items()}


def _turns(normals: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n a"]:
    """Angles of unit vectors to x in the xy-plane and, in space, to z, in 65,536ths of a turn."""
    angles = [np.arctan2(normals[:, 1], normals[:, 0]) % (2 * np.pi), *np.arccos(np.clip(normals.T[2:], -1, 1))]
    return np.stack(angles, 1) * (65536 / (2 * np.pi))


def _differences(numbers: np.ndarray) -> UInt16[np.ndarray, "n c"]:
    """Differences along the first axis of numbers rounded to whole ones, modulo 65,536."""
    whole = np.round(numbers).astype(np.int64).astype(np.uint16)
    return np.diff(whole, axis=0, prepend=np.zeros_like(whole[:1]))


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


if __name__ == "__main__":
    write_clouds(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
