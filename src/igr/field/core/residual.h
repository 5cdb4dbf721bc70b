// What is added to a field near its cloud: multilinear functions on grids whose corners are kept in bricks.
#pragma once

#include <cstdint>
#include <vector>

namespace igr {

// Corner (i, j, k) of `resolution` cells along an edge of [-bound, bound]^d lies in brick (i, j, k) / kBrick, of
// which there are `edge` along an edge; `bricks` says where among the values a brick is. Brick 0 is that of all
// zeros.
constexpr int kBrick = 8;
struct Bricks {
  int32_t resolution;
  int64_t edge;
  const int32_t* bricks;
  const float* values;
};

// Adds the values of all grids at x (n, d), row after row, to f and, unless it is null, their gradients to g.
void add_residual(const std::vector<Bricks>& grids, int dimension, float bound, int threads, const float* x,
                  int64_t n, float* f, float* g);

// The multilinear function c on a grid over [-bound, bound]^3 that is least in
//   Σ_i (c(x_i) - height_i)² + turned_i² ‖∇c(x_i) - slope_i‖² cell²  +  stiff Σ_ab (c_a - c_b)²
// over n points and the pairs of neighboring corners of their cells, by so many steps of conjugate gradients, the
// diagonal as preconditioner. What it explains is taken from height (n) and slope (n, 3).
struct FittedGrid {
  std::vector<int64_t>
      corners;  // ((i·s + j)·s + k) for s = resolution + 1, in the order in which points meet them
  std::vector<float> values;
};
FittedGrid fit_grid(const float* x, int64_t n, const float* turned, float* height, float* slope, int resolution,
                    float bound, float stiff, int rounds);

}  // namespace igr
