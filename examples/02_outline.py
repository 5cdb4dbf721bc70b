"""A planar outline to a closed curve, and its area."""

import numpy as np

import igr
from igr.examples import write_example
from igr.mesh.write import write_curves

write_example("outline", "leaf.xyz")
leaf = igr.reconstruct("leaf.xyz")
curves = leaf.contour(resolution=256)
write_curves("leaf.svg", curves)
x, y = curves[0].T
area = np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2
print(f"{len(curves)} curve, area {area:.0f} square millimetres")
