"""A fitted surface as an ONNX model, which onnxruntime computes without this package."""

import numpy as np
import onnxruntime

import igr
from igr.examples import write_example

write_example("torus", "torus.ply")
surface = igr.reconstruct("torus.ply")
surface.to_onnx("torus.onnx")

session = onnxruntime.InferenceSession("torus.onnx")
points = np.random.default_rng(0).uniform(-1.5, 1.5, (10_000, 3))
(distances,) = session.run(["distance"], {"points": points})
print(f"largest difference: {abs(distances - surface.distance(points)).max():.1e}")
