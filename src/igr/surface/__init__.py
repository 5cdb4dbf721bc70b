"""What a user holds: distances, rays, solids, grids."""
