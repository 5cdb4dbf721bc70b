"""The mesh with its confidence as scalars in PyVista: filled-in parts stand out. Needs `pip install pyvista`."""

import pyvista

import igr
from igr.examples import write_example

write_example("body", "body.ply", points=8000)
surface = igr.reconstruct("body.ply", options=igr.Options(steps=150))
mesh = pyvista.wrap(surface.mesh(resolution=128))
mesh["confidence"] = surface.confidence(mesh.points)
mesh.save("body.vtp")  # opens in ParaView

low = mesh.threshold(0.5, scalars="confidence", invert=True)
print(f"{mesh.n_points:,} vertices, {low.n_points:,} with a confidence below one half")
# with a screen: mesh.plot(scalars="confidence", cmap="viridis")
