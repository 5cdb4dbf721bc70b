// What the core asks of an instruction set: plain data and function pointers, filled in by each variant's
// translation unit (kernels.cpp, compiled once per instruction set).
#pragma once

#include <cstdint>

namespace igr {

// Points are computed in tiles of this many, every quantity of a tile a row of kTile numbers ("points last"):
// a tile's layer fits in first-level cache and is a whole number of vectors on every instruction set.
constexpr int kTile = 48;

// One grid of features, see igr.field.features.Level.
struct Level {
  int32_t resolution;
  int32_t rows;
  int64_t offset;
  bool hashed;
  float weight;  // share of this level that is switched on
};

// Sizes and parameters of f(x) = w3 · softplus(W2 softplus(W1 [x, features] + b1) + b2) + b3, torch's layout.
struct Network {
  int dimension;
  int inputs;  // coordinates and all features
  int used;    // leading inputs that matter: coordinates and features up to the last level that is on
  int width;
  float beta;
  const float *weight1, *bias1, *weight2, *bias2, *weight3, *bias3;
};

// Everything a tile's forward pass leaves for its backward pass; shapes are (rows, kTile).
struct Tile {
  float* inputs;       // (inputs): coordinates, then features
  float* jacobian;     // (dimension, inputs - dimension): derivatives of the features along each axis
  float* sensitivity;  // (inputs): df/d(input)
  float* hidden;       // (3, width): both layers' values, and df/d(first layer's value)
  float* dgradient;    // (dimension): dL/d∇f
  float* dinputs;      // (inputs): dL/d(input), coordinates not filled in
};

// Derivatives of the MLP's parameters summed over a group of tiles; the matrices transposed.
struct Sums {
  float *weight1, *weight2;        // (inputs, width), (width, width)
  float *bias1, *bias2, *weight3;  // (width)
  float* bias3;                    // (1)
};

// Numbers that are marked together when a row is touched: a line of cache.
constexpr int kBlock = 16;

// Derivatives of some successive rows of a level, all 0 but for the blocks that are marked.
struct RowSums {
  float* values;   // whole blocks; row first_row + i is number offset + i; the row after the last is waste
  uint8_t* marks;  // one a block
  int32_t first_row, rows;  // rows of the level that are summed, the others go to waste
  int32_t offset;           // rows before the first, so that blocks coincide with the table's lines of cache
};

// One step of Adam (Kingma & Ba 2015, algorithm 1); `rate` and `inverse_root` contain the bias corrections.
struct AdamStep {
  float rate;          // learning rate / (1 - beta1^t)
  float inverse_root;  // 1 / sqrt(1 - beta2^t)
  float beta1, beta2, epsilon;
};

struct Kernels {
  int64_t scratch;  // floats of working memory that a thread needs for the functions below
  int max_inputs;   // largest Network::inputs

  // Features of a tile on one level, and, if `jacobian` is not null, their spatial derivatives, whose rows
  // for successive axes are `jacobian_stride` floats apart.
  void (*encode)(const Level&, float bound, const float* table, const float* x, float* features, float* jacobian,
                 int64_t jacobian_stride);
  // Adds a tile's derivatives with respect to one level's features and their spatial derivatives to the sums of
  // the level's rows: `dfeatures` = dL/d(feature), `sensitivity` = df/d(feature).
  void (*scatter)(const Level&, float bound, const RowSums& sums, const float* x, const float* dgradient,
                  const float* dfeatures, const float* sensitivity);

  // f of a tile (inputs given).
  void (*value)(const Network&, const float* inputs, float* f, float* scratch);
  // f (kTile) and g (dimension, kTile) of a tile (inputs and jacobian given).
  void (*forward)(const Network&, const Tile&, float* f, float* g, float* scratch);
  // Derivatives of a loss for `count` tiles, `tile_step` floats apart, from df (kTile each) and each tile's
  // dgradient; overwrites `sums`.
  void (*backward)(const Network&, const Tile& first, int64_t tile_step, int count, const float* df,
                   const Sums& sums, float* scratch);

  // Adam on `count` numbers, a multiple of 16.
  void (*adam)(const AdamStep&, float* values, float* first, float* second, const float* gradient, int64_t count);
  // Adam on the rows whose sum is not 0; clears sums and marks. The arrays begin with the first block of `sums`.
  void (*adam_rows)(const AdamStep&, float* values, float* first, float* second, const RowSums& sums);

  // Multiplies and adds in registers only; returns the number of floating-point operations done.
  double (*spin)(int64_t rounds);
};

// Kernels of an instruction set for these sizes; false if the sizes are not compiled in.
using FillKernels = bool (*)(Kernels&, int dimension, int features, int width);

}  // namespace igr
