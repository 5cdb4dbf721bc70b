// Multilinear features: reading them (encode) and adding to their gradient (scatter), for one level and one tile.
//
// On a grid of `resolution` cells along an edge of [-bound, bound]^d, a point has the place
// p = (x/bound + 1)/2 · resolution clamped to [0, resolution], lies in cell i = min(floor(p), resolution - 1) and
// at t = p - i in it. So outside the cube features are those of the nearest place on its boundary, and their
// derivative along an axis that is outside is 0; inside, boundary included, dt/dx = resolution / (2 bound).
#pragma once

#include "kernels.h"
#include "vector.h"

namespace igr::IGR_VARIANT {

// Where one vector of points lies on a level. Corner c's bit for axis a is (c >> (D - 1 - a)) & 1.
template <int D>
struct Cell {
  Ints row[1 << D];  // of each corner, within the level
  Floats t[D];       // place within the cell
  Floats slope[D];   // dt/dx times the level's weight
};

template <int D>
IGR_INLINE Cell<D> find_cell(const Level& level, float bound, const float* x) {
  constexpr uint32_t primes[3] = {1u, 2654435761u, 805459861u};  // igr.encoding.HASH_PRIMES
  const float edge = float(level.resolution), scale = edge / (2 * bound);
  Cell<D> cell;
  Bits low[D], high[D];  // what the cell's lower and upper corner contribute to the row along each axis
  uint32_t stride = 1;
  for (int a = D - 1; a >= 0; a--) {
    const Floats p = load(x + a * kTile) * scale + 0.5f * edge;
    const Floats clamped = minimum(maximum(p, Floats{}), all(edge));
    const Floats corner = minimum(clamped, all(edge - 1));
    const Ints i = __builtin_convertvector(corner, Ints);
    cell.t[a] = clamped - __builtin_convertvector(i, Floats);
    cell.slope[a] = p == clamped ? all(scale * level.weight) : Floats{};
    const uint32_t factor = level.hashed ? primes[a] : stride;
    low[a] = (Bits)i * factor;
    high[a] = low[a] + factor;
    stride *= uint32_t(level.resolution + 1);
  }
  for (int c = 0; c < 1 << D; c++) {
    Bits row = c >> (D - 1) & 1 ? high[0] : low[0];
    for (int a = 1; a < D; a++) {
      const Bits part = c >> (D - 1 - a) & 1 ? high[a] : low[a];
      row = level.hashed ? row ^ part : row + part;
    }
    cell.row[c] = (Ints)(level.hashed ? row & uint32_t(level.rows - 1) : row);
  }
  return cell;
}

// The F features of kLanes rows, feature by feature.
template <int F>
IGR_INLINE void gather(const float* table, Ints row, Floats (&feature)[F]) {
#if defined(__AVX512F__)
  if constexpr (F == 2) {  // a row is one 64-bit number
    const __m512i index = (__m512i)row;
    const double* pairs = (const double*)table;
    const __m512i zero = _mm512_setzero_si512();
    const Floats a = (Floats)_mm512_mask_i32gather_pd((__m512d)zero, 255, _mm512_castsi512_si256(index), pairs, 8);
    const Floats b =
        (Floats)_mm512_mask_i32gather_pd((__m512d)zero, 255, _mm512_extracti64x4_epi64(index, 1), pairs, 8);
    feature[0] = shuffled<Alternate, 0>(a, b);
    feature[1] = shuffled<Alternate, 1>(a, b);
    return;
  }
#endif
  for (int i = 0; i < kLanes; i++)
    for (int f = 0; f < F; f++) feature[f][i] = table[int64_t(row[i]) * F + f];
}

// Value and derivatives (along t) of the multilinear function with these corner values.
template <int D>
struct Interpolated {
  Floats value, slope[D];
};
template <int D>
IGR_INLINE Interpolated<D> interpolate(const Floats* corner, const Floats* t) {
  if constexpr (D == 1) {
    const Floats slope = corner[1] - corner[0];
    return {corner[0] + t[0] * slope, {slope}};
  } else {
    const auto low = interpolate<D - 1>(corner, t + 1), high = interpolate<D - 1>(corner + (1 << (D - 1)), t + 1);
    Interpolated<D> both;
    both.slope[0] = high.value - low.value;
    both.value = low.value + t[0] * both.slope[0];
    for (int a = 1; a < D; a++) both.slope[a] = low.slope[a - 1] + t[0] * (high.slope[a - 1] - low.slope[a - 1]);
    return both;
  }
}

template <int D, int F>
void encode(const Level& level, float bound, const float* table, const float* x, float* features, float* jacobian,
            int64_t jacobian_stride) {
  table += level.offset * F;
  for (int p = 0; p < kTile; p += kLanes) {
    const Cell<D> cell = find_cell<D>(level, bound, x + p);
    Floats corner[F][1 << D];
    for (int c = 0; c < 1 << D; c++) {
      Floats feature[F];
      gather<F>(table, cell.row[c], feature);
      for (int f = 0; f < F; f++) corner[f][c] = feature[f];
    }
    for (int f = 0; f < F; f++) {
      const auto at = interpolate<D>(corner[f], cell.t);
      store(features + f * kTile + p, at.value * level.weight);
      if (jacobian)
        for (int a = 0; a < D; a++) store(jacobian + a * jacobian_stride + f * kTile + p, at.slope[a] * cell.slope[a]);
    }
  }
}

// A row of the table as one small vector.
template <int F>
struct Row;
template <>
struct Row<1> {
  typedef float Type;
};
template <>
struct Row<2> {
  typedef float Type __attribute__((vector_size(8)));
};
template <>
struct Row<4> {
  typedef float Type __attribute__((vector_size(16)));
};

// Writes F vectors, one a feature, as kLanes rows.
template <int F>
IGR_INLINE void store_rows(float* to, const Floats* feature) {
  if constexpr (F == 1) {
    store(to, feature[0]);
  } else {
    Floats low[F / 2], high[F / 2];
    for (int f = 0; f < F / 2; f++) {
      low[f] = shuffled<Interleave, 0>(feature[f], feature[f + F / 2]);
      high[f] = shuffled<Interleave, kLanes / 2>(feature[f], feature[f + F / 2]);
    }
    store_rows<F / 2>(to, low);
    store_rows<F / 2>(to + kLanes * F / 2, high);
  }
}

// `gradient` begins with row `first_row`; with Some, rows outside [first_row, last_row) are left out.
template <int D, int F, bool Some>
void scatter(const Level& level, float bound, float* gradient, const float* x, const float* dgradient,
             const float* dfeatures, const float* sensitivity, int32_t first_row, int32_t last_row) {
  using Row = typename Row<F>::Type;
  for (int p = 0; p < kTile; p += kLanes) {
    const Cell<D> cell = find_cell<D>(level, bound, x + p);
    Floats along[D], own[F], turned[F];  // dL/d(slope along each axis) in cell units; dL/d(feature); df/d(feature)
    for (int a = 0; a < D; a++) along[a] = load(dgradient + a * kTile + p) * cell.slope[a];
    for (int f = 0; f < F; f++) {
      own[f] = load(dfeatures + f * kTile + p) * level.weight;
      turned[f] = load(sensitivity + f * kTile + p);
    }
    alignas(64) float part[1 << D][F * kLanes];
    alignas(64) int32_t row[1 << D][kLanes];
    for (int c = 0; c < 1 << D; c++) {
      Floats share = all(1.f), turn = Floats{};  // the corner's weight, and its derivative along `along`
      for (int a = 0; a < D; a++) {
        const bool upper = c >> (D - 1 - a) & 1;
        const Floats factor = upper ? cell.t[a] : 1.f - cell.t[a];
        turn = turn * factor + (upper ? along[a] : -along[a]) * share;
        share = share * factor;
      }
      Floats sum[F];
      for (int f = 0; f < F; f++) sum[f] = share * own[f] + turn * turned[f];
      store_rows<F>(part[c], sum);
      memcpy(row[c], &cell.row[c], sizeof row[c]);
    }
    for (int c = 0; c < 1 << D; c++)
      for (int i = 0; i < kLanes; i++) {
        if (Some && (row[c][i] < first_row || row[c][i] >= last_row)) continue;
        float* to = gradient + int64_t(row[c][i] - (Some ? first_row : 0)) * F;
        Row total, add;
        memcpy(&total, to, sizeof total);
        memcpy(&add, part[c] + i * F, sizeof add);
        total += add;
        memcpy(to, &total, sizeof total);
      }
  }
}

}  // namespace igr::IGR_VARIANT
