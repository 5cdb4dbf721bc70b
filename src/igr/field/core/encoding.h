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
  constexpr uint32_t primes[3] = {1u, 2654435761u, 805459861u};  // igr.field.features.HASH_PRIMES
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

// Reads kLanes rows that lie one after the other as F vectors, one a feature: the inverse of store_rows.
template <int F>
IGR_INLINE void load_rows(const float* from, Floats* feature) {
  if constexpr (F == 1) {
    feature[0] = load(from);
  } else {
    Floats low[F / 2], high[F / 2];
    load_rows<F / 2>(from, low);
    load_rows<F / 2>(from + kLanes * F / 2, high);
    for (int f = 0; f < F / 2; f++) {
      feature[f] = shuffled<Alternate, 0>(low[f], high[f]);
      feature[f + F / 2] = shuffled<Alternate, 1>(low[f], high[f]);
    }
  }
}

// Copies kLanes rows of the table.
template <int F>
IGR_INLINE void copy_rows(const float* table, Ints row, float* to) {
#if defined(__AVX2__)
  if constexpr (F == 2) {  // a row is one 64-bit number, which the processor can gather
    const double* pairs = (const double*)table;
#if defined(__AVX512F__)
    const __m512i index = (__m512i)row;
    const __m512d zero = _mm512_setzero_pd();
    store(to, (Floats)_mm512_mask_i32gather_pd(zero, 255, _mm512_castsi512_si256(index), pairs, 8));
    store(to + kLanes, (Floats)_mm512_mask_i32gather_pd(zero, 255, _mm512_extracti64x4_epi64(index, 1), pairs, 8));
#else
    const __m256i index = (__m256i)row;
    const __m256d zero = _mm256_setzero_pd(), every = _mm256_castsi256_pd(_mm256_set1_epi32(-1));
    store(to, (Floats)_mm256_mask_i32gather_pd(zero, pairs, _mm256_castsi256_si128(index), every, 8));
    store(to + kLanes,
          (Floats)_mm256_mask_i32gather_pd(zero, pairs, _mm256_extracti128_si256(index, 1), every, 8));
#endif
    return;
  }
#endif
  alignas(64) uint32_t number[kLanes];
  memcpy(number, &row, sizeof number);
  for (int i = 0; i < kLanes; i++) memcpy(to + i * F, table + int64_t(number[i]) * F, F * sizeof(float));
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
    alignas(64) float rows[1 << D][F * kLanes];
    for (int c = 0; c < 1 << D; c++) copy_rows<F>(table, cell.row[c], rows[c]);
    for (int c = 0; c < 1 << D; c++) {
      Floats feature[F];
      load_rows<F>(rows[c], feature);
      for (int f = 0; f < F; f++) corner[f][c] = feature[f];
    }
    for (int f = 0; f < F; f++) {
      const auto at = interpolate<D>(corner[f], cell.t);
      store(features + f * kTile + p, at.value * level.weight);
      if (jacobian)
        for (int a = 0; a < D; a++)
          store(jacobian + a * jacobian_stride + f * kTile + p, at.slope[a] * cell.slope[a]);
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

template <int D, int F>
void scatter(const Level& level, float bound, const RowSums& sums, const float* x, const float* dgradient,
             const float* dfeatures, const float* sensitivity) {
  using Numbers = typename Row<F>::Type;
  for (int p = 0; p < kTile; p += kLanes) {
    const Cell<D> cell = find_cell<D>(level, bound, x + p);
    Floats along[D], own[F], turned[F];  // dL/d(slope along each axis) in cell units; dL/d(feature); df/d(feature)
    for (int a = 0; a < D; a++) along[a] = load(dgradient + a * kTile + p) * cell.slope[a];
    for (int f = 0; f < F; f++) {
      own[f] = load(dfeatures + f * kTile + p) * level.weight;
      turned[f] = load(sensitivity + f * kTile + p);
    }
    alignas(64) float part[1 << D][F * kLanes];
    alignas(64) uint32_t row[1 << D][kLanes];
    for (int c = 0; c < 1 << D; c++) {
      Floats share = all(1.f), turn = Floats{};  // the corner's weight, and its derivative along `along`
      for (int a = 0; a < D; a++) {
        const bool upper = c >> (D - 1 - a) & 1;
        const Floats factor = upper ? cell.t[a] : 1.f - cell.t[a];
        turn = turn * factor + (upper ? along[a] : -along[a]) * share;
        share = share * factor;
      }
      Floats total[F];
      for (int f = 0; f < F; f++) total[f] = share * own[f] + turn * turned[f];
      store_rows<F>(part[c], total);
      const Bits local = (Bits)cell.row[c] - uint32_t(sums.first_row);
      const Bits mine =
          (local < uint32_t(sums.rows) ? local : uint32_t(sums.rows) + Bits{}) + uint32_t(sums.offset);
      memcpy(row[c], &mine, sizeof mine);
    }
    for (int c = 0; c < 1 << D; c++)
      for (int i = 0; i < kLanes; i++) {
        float* to = sums.values + int64_t(row[c][i]) * F;
        Numbers total, more;
        memcpy(&total, to, sizeof total);
        memcpy(&more, part[c] + i * F, sizeof more);
        total += more;
        memcpy(to, &total, sizeof total);
        sums.marks[row[c][i] / (kBlock / F)] = 1;
      }
  }
}

}  // namespace igr::IGR_VARIANT
