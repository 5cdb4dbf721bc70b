// The small network f(x) = w3·h2 + b3, h2 = σ(W2 h1 + b2), h1 = σ(W1 h0 + b1), σ = softplus, on tiles of points,
// and its derivatives. With s = σ'(z) and s' = σ''(z) = β s (1 - s):
//
//   forward    a2 = w3 s2     c1 = W2ᵀ a2     a1 = c1 s1     c0 = W1ᵀ a1 = df/dh0,   ∇f = (dh0/dx)ᵀ c0
//   backward   given df = dL/df and dg = dL/d∇f, with dc0 = (dh0/dx) dg:
//              da1 = W1 dc0   dc1 = da1 s1    da2 = W2 dc1   dz2 = w3 (df s2 + da2 s2')
//              dz1 = s1 W2ᵀ dz2 + da1 c1 s1'                 dh0 = W1ᵀ dz1
//              dW2 = dz2 h1ᵀ + a2 dc1ᵀ        dW1 = dz1 h0ᵀ + a1 dc0ᵀ
//              dw3 = df h2 + da2 s2           db2 = dz2      db1 = dz1      db3 = df
#pragma once

#include "kernels.h"
#include "product.h"

namespace igr::IGR_VARIANT {

template <int Width>
struct Mlp {
  static constexpr int kLayer = Width * kTile;

  static constexpr int kMaxInputs = 160;

  // Working memory of one thread; names as above, with `_columns` the transposed (kTile, Width).
  struct Scratch {
    alignas(64) float h1[kLayer], h2[kLayer];  // of `value` alone
    alignas(64) float s1[kLayer], s2[kLayer], a1[kLayer], a2[kLayer];
    alignas(64) float dc1[kLayer], dz2[kLayer], dz1[kLayer], dc0[kMaxInputs * kTile];
    alignas(64) float dz1_columns[kLayer], a1_columns[kLayer], dz2_columns[kLayer], a2_columns[kLayer];
    alignas(64) float dbias1[Width * kLanes], dbias2[Width * kLanes], dweight3[Width * kLanes];  // summed by lane
  };
  static Scratch& scratch_in(float* memory) { return *reinterpret_cast<Scratch*>(memory); }

  // σ of a layer in place, and its slope unless null.
  __attribute__((noinline)) static void activate(const Network& net, const float* bias, float* value,
                                                 float* slope) {
    const Softplus softplus(net.beta);
    for (int o = 0; o < Width; o++)
      for (int i = o * kTile; i < (o + 1) * kTile; i += kLanes) {
        const Floats z = load(value + i) + bias[o];
        Floats own;
        store(value + i, slope ? softplus.value_and_slope(z, own) : softplus.value(z));
        if (slope) store(slope + i, own);
      }
  }

  // Both hidden layers of a tile and f.
  static void hidden(const Network& net, const float* inputs, float* h1, float* s1, float* h2, float* s2,
                     float* f) {
    product<kTile>(Width, {net.weight1, net.inputs, 1}, inputs, net.used,
                   [&](int r, int c, Floats v) IGR_INLINED { store(h1 + r * kTile + c, v); });
    activate(net, net.bias1, h1, s1);
    product<kTile>(Width, {net.weight2, Width, 1}, h1, Width,
                   [&](int r, int c, Floats v) IGR_INLINED { store(h2 + r * kTile + c, v); });
    activate(net, net.bias2, h2, s2);
    product<kTile>(1, {net.weight3, 0, 1}, h2, Width,
                   [&](int, int c, Floats v) IGR_INLINED { store(f + c, v + *net.bias3); });
  }

  static void value(const Network& net, const float* inputs, float* f, float* memory) {
    Scratch& own = scratch_in(memory);
    hidden(net, inputs, own.h1, nullptr, own.h2, nullptr, f);
  }

  static void forward(const Network& net, const Tile& tile, float* f, float* g, float* memory) {
    Scratch& own = scratch_in(memory);
    float *h1 = tile.hidden, *h2 = h1 + kLayer, *c1 = h2 + kLayer;
    hidden(net, tile.inputs, h1, own.s1, h2, own.s2, f);
    for (int o = 0; o < Width; o++)
      for (int i = o * kTile; i < (o + 1) * kTile; i += kLanes)
        store(own.a2 + i, load(own.s2 + i) * net.weight3[o]);
    product<kTile>(Width, {net.weight2, 1, Width}, own.a2, Width, [&](int r, int c, Floats v) IGR_INLINED {
      const int at = r * kTile + c;
      store(c1 + at, v);
      store(own.a1 + at, v * load(own.s1 + at));
    });
    product<kTile>(net.used, {net.weight1, 1, net.inputs}, own.a1, Width,
                   [&](int r, int c, Floats v) IGR_INLINED { store(tile.sensitivity + r * kTile + c, v); });
    spatial_gradient(net, tile, f, g);
  }

  // Derivatives for `count` tiles, summed over all of them.
  static void backward(const Network& net, const Tile& start, int64_t tile_step, int count, const float* df,
                       const Sums& sums, float* memory) {
    Scratch& own = scratch_in(memory);
    memset(own.dbias1, 0, sizeof own.dbias1);
    memset(own.dbias2, 0, sizeof own.dbias2);
    memset(own.dweight3, 0, sizeof own.dweight3);
    memset(sums.weight1, 0, sizeof(float) * net.inputs * Width);
    memset(sums.weight2, 0, sizeof(float) * Width * Width);
    Floats bias3{};
    for (int i = 0; i < count; i++, df += kTile) {
      const Tile tile = moved(start, i * tile_step);
      backward_tile(net, tile, i + 1 < count ? tile_step : 0, df, own);
      weight_derivatives(net, tile, sums, own);
      for (int p = 0; p < kTile; p += kLanes) bias3 += load(df + p);
    }
    for (int o = 0; o < Width; o++) {
      sums.bias1[o] = sum(load(own.dbias1 + o * kLanes));
      sums.bias2[o] = sum(load(own.dbias2 + o * kLanes));
      sums.weight3[o] = sum(load(own.dweight3 + o * kLanes));
    }
    *sums.bias3 = sum(bias3);
  }

 private:
  // `ahead` is the distance to the next tile's layers: kept since the forward pass, they have left the nearest
  // caches by now and are fetched while this tile is computed.
  static void backward_tile(const Network& net, const Tile& tile, int64_t ahead, const float* df, Scratch& own) {
    const float *h1 = tile.hidden, *h2 = h1 + kLayer, *c1 = h2 + kLayer;
    slopes(net, h1, ahead, own.s1);
    slopes(net, h2, ahead, own.s2);
    input_directions(net, tile, ahead, own.dc0);
    product<kTile>(Width, {net.weight1, net.inputs, 1}, own.dc0, net.used,
                   [&](int r, int c, Floats da1) IGR_INLINED {
                     const int at = r * kTile + c;
                     const Floats s = load(own.s1 + at);
                     fetch(c1 + at + ahead);
                     store(own.dc1 + at, da1 * s);
                     store(own.dz1 + at, da1 * load(c1 + at) * (net.beta * s * (1.f - s)));
                   });
    product<kTile>(Width, {net.weight2, Width, 1}, own.dc1, Width, [&](int r, int c, Floats da2) IGR_INLINED {
      const int at = r * kTile + c;
      const Floats s = load(own.s2 + at), dvalue = load(df + c);
      const Floats dz = (dvalue * s + da2 * (net.beta * s * (1.f - s))) * net.weight3[r];
      store(own.dz2 + at, dz);
      add_to(own.dbias2 + r * kLanes, dz);
      add_to(own.dweight3 + r * kLanes, da2 * s + dvalue * load(h2 + at));
    });
    product<kTile>(Width, {net.weight2, 1, Width}, own.dz2, Width, [&](int r, int c, Floats dh1) IGR_INLINED {
      const int at = r * kTile + c;
      const Floats dz = dh1 * load(own.s1 + at) + load(own.dz1 + at);
      store(own.dz1 + at, dz);
      add_to(own.dbias1 + r * kLanes, dz);
    });
    product<kTile>(net.used, {net.weight1, 1, net.inputs}, own.dz1, Width,
                   [&](int r, int c, Floats v) IGR_INLINED { store(tile.dinputs + r * kTile + c, v); });
  }

  // dW2ᵀ += h1 dz2ᵀ + dc1 a2ᵀ and dW1ᵀ += h0 dz1ᵀ + dc0 a1ᵀ: sums over points, so neurons must become the vectors.
  static void weight_derivatives(const Network& net, const Tile& tile, const Sums& sums, Scratch& own) {
    const float *h1 = tile.hidden, *c1 = h1 + 2 * kLayer;
    to_columns(own.dz2_columns, [&](int, int at) IGR_INLINED { return load(own.dz2 + at); });
    to_columns(own.a2_columns, [&](int o, int at) IGR_INLINED { return load(own.s2 + at) * net.weight3[o]; });
    add_outer(Width, h1, own.dz2_columns, own.dc1, own.a2_columns, sums.weight2);
    to_columns(own.dz1_columns, [&](int, int at) IGR_INLINED { return load(own.dz1 + at); });
    to_columns(own.a1_columns, [&](int, int at) IGR_INLINED { return load(own.s1 + at) * load(c1 + at); });
    add_outer(net.used, tile.inputs, own.dz1_columns, own.dc0, own.a1_columns, sums.weight1);
  }

  // total(rows, Width) += left1(rows, kTile) right1(kTile, Width) + left2 right2
  static void add_outer(int rows, const float* left1, const float* right1, const float* left2, const float* right2,
                        float* total) {
    in_blocks<Width>(rows, [&](auto& block) IGR_INLINED {
      block.add({left1, kTile, 1}, right1, Width, kTile);
      block.add({left2, kTile, 1}, right2, Width, kTile);
      block.each([&](int r, int c, Floats v) IGR_INLINED { add_to(total + r * Width + c, v); });
    });
  }

  // (kTile, Width) from what `row(neuron, at)` gives for the vector of points at number `at` of a layer.
  template <class Row>
  static void to_columns(float* columns, Row row) {
    for (int o = 0; o < Width; o += kLanes)
      for (int p = 0; p < kTile; p += kLanes) {
        Floats square[kLanes];
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; i++) square[i] = row(o + i, (o + i) * kTile + p);
        transpose(square);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; i++) store(columns + (p + i) * Width + o, square[i]);
      }
  }

  // The slopes of a layer from its values, which takes less time than keeping them does.
  __attribute__((noinline)) static void slopes(const Network& net, const float* value, int64_t ahead,
                                               float* slope) {
    const Softplus softplus(net.beta);
    for (int i = 0; i < kLayer; i += kLanes) {
      fetch(value + i + ahead);
      store(slope + i, softplus.slope_at_value(load(value + i)));
    }
  }

  static Tile moved(const Tile& tile, int64_t step) {
    return {tile.inputs + step, tile.jacobian + step,  tile.sensitivity + step,
            tile.hidden + step, tile.dgradient + step, tile.dinputs + step};
  }

  // g = c0 of the coordinates + (d features/dx)ᵀ c0 of the features. Softplus has a slope whatever it is given, so
  // where f is not a number that is said of g, too.
  static void spatial_gradient(const Network& net, const Tile& tile, const float* f, float* g) {
    const int d = net.dimension, features = net.inputs - d;
    for (int a = 0; a < d; a++)
      for (int p = 0; p < kTile; p += kLanes) {
        const Floats value = load(f + p);
        Floats v = load(tile.sensitivity + a * kTile + p);
        for (int i = 0; i < net.used - d; i++)
          v += load(tile.jacobian + (a * features + i) * kTile + p) * load(tile.sensitivity + (d + i) * kTile + p);
        store(g + a * kTile + p, value == value ? v : value);
      }
  }

  // dc0 = (dh0/dx) dg: the coordinates' rows are dg itself.
  static void input_directions(const Network& net, const Tile& tile, int64_t ahead, float* dc0) {
    const int d = net.dimension, features = net.inputs - d;
    memcpy(dc0, tile.dgradient, sizeof(float) * d * kTile);
    for (int i = 0; i < net.used - d; i++)
      for (int p = 0; p < kTile; p += kLanes) {
        Floats v{};
        for (int a = 0; a < d; a++) {
          const float* along = tile.jacobian + (a * features + i) * kTile + p;
          fetch(along + ahead);
          v += load(along) * load(tile.dgradient + a * kTile + p);
        }
        store(dc0 + (d + i) * kTile + p, v);
      }
  }
};

}  // namespace igr::IGR_VARIANT
