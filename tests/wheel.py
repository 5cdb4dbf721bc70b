"""What an installed wheel must do, in any folder and with nothing but what it depends on: its native core computes
the surface of a ball. `[tool.cibuildwheel]` runs it."""

import numpy as np

import igr
from igr.field import native

directions = np.random.default_rng(0).normal(size=(2000, 3))
directions /= np.linalg.norm(directions, axis=1)[:, None]
surface = igr.reconstruct(1000 + 50 * directions, normals=directions, options=igr.Options(steps=200))
distance = surface.distance(1000 + np.array([30.0, 50.0, 70.0])[:, None] * directions[:3])
mesh = surface.mesh(resolution=64)

assert native.available(), "the wheel has no native core"
assert np.allclose(distance, [-20, 0, 20], atol=1), distance
assert mesh.is_watertight
print(igr.__file__, surface.details["machine"], distance, f"{len(mesh.faces):,} triangles")
