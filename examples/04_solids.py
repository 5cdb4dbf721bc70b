"""Surfaces are solids: hollow one out, cut a piece off, and mesh the result like any other."""

import igr
from igr.examples import write_example

for name in ("sphere", "box"):
    write_example(name, f"{name}.ply")
ball = igr.reconstruct("sphere.ply")
box = igr.placed(igr.reconstruct("box.ply"), scale=1.5, shift=[0.0, 0.0, 1.2])

hollow = igr.shell(ball, 0.1)
bowl = hollow - box
mesh = bowl.mesh(resolution=128)
mesh.export("bowl.ply")
print(f"a bowl of {mesh.volume:.2f} cubic units, watertight: {mesh.is_watertight}")
