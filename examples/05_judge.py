"""How good is it: distances to the truth, beside screened Poisson, and the errors as colors."""

import numpy as np

import igr
from igr.examples import write_example
from igr.judge.baselines import screened_poisson
from igr.judge.metrics import compare
from igr.mesh.triangles import read_mesh
from igr.show.colors import write_error_map

write_example("torus", "torus.ply", reference=True)
truth = read_mesh("torus_truth.ply")
cloud = igr.read_points("torus.ply")
mesh = igr.reconstruct(cloud).mesh(resolution=192)
ours = np.asarray(mesh.vertices), np.asarray(mesh.faces)
poisson = screened_poisson(cloud.points, cloud.normals, depth=8)
for name, found in (("igr", ours), ("Poisson", poisson)):
    result = compare(found, truth, protocol="surface")
    print(f"{name:8s} mean {result.chamfer:.5f}, largest {result.hausdorff:.4f}, F-score {result.f_score:.4f}")
write_error_map("torus_error.ply", ours, truth)
