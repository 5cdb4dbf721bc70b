"""A scan as a function of space: distances, nearest places, rays, a grid for ParaView."""

import numpy as np

import igr
from igr.examples import write_example

write_example("knot", "knot.ply")
knot = igr.reconstruct("knot.ply")
places = np.random.default_rng(0).uniform(-2, 2, (1000, 3))
distance = knot.distance(places)
print(f"{(distance < 0).mean():.1%} of the places lie inside")

near = places[abs(distance) < 0.3]
print(f"moved onto the surface: {abs(knot.distance(knot.project(near))).max():.1e} off")

hits = knot.cast_rays(origins=[[-9.0, 1.0, 0.0]], directions=[[1.0, 0.0, 0.0]])
print(f"a ray meets it {len(hits.locations)} times, first at {hits.locations[0].round(2)}")
knot.to_grid(resolution=96).save("knot.vti")
