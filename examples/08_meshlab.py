"""A mesh handed to MeshLab by its file, with confidence as its quality. Needs `pip install pymeshlab`."""

import numpy as np
import pymeshlab

import igr
from igr.examples import write_example

write_example("body", "body.ply", points=8000)
surface = igr.reconstruct("body.ply", options=igr.Options(steps=150))
mesh = surface.mesh(resolution=128)
mesh.vertex_attributes["quality"] = surface.confidence(mesh.vertices)  # pymeshlab misreads one named confidence
mesh.export("body_mesh.ply")

meshlab = pymeshlab.MeshSet()
meshlab.load_new_mesh("body_mesh.ply")
read = meshlab.current_mesh()
off = np.abs(read.vertex_scalar_array() - mesh.vertex_attributes["quality"]).max()
print(f"{read.face_number():,} triangles; quality and confidence differ by at most {off:.1e}")

meshlab.compute_selection_by_scalar_per_vertex(minq=0.0, maxq=0.5)
print(f"{read.selected_vertex_number():,} vertices with a confidence below one half")
meshlab.compute_color_from_scalar_per_vertex(minval=0.0, maxval=1.0)
meshlab.save_current_mesh("body_colored.ply")
