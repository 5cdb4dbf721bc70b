"""A scan to a watertight mesh, in the scan's own millimetres."""

import igr
from igr.examples import write_example

write_example("body", "body.ply")
surface = igr.reconstruct("body.ply", notify=print)
mesh = surface.mesh(resolution=192)
mesh.export("body_mesh.ply")
surface.save("body.igr")
print(f"{len(mesh.faces):,} triangles, watertight: {mesh.is_watertight}, {mesh.volume / 1e6:.1f} litres")
