// One vector of floats of the instruction set that this translation unit is compiled for, by the compilers'
// vector extensions, and the few operations on it that are more than an operator.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define IGR_INLINE inline __attribute__((always_inline))
#define IGR_INLINED __attribute__((always_inline))  // for lambdas: `[&](int i) IGR_INLINED { … }`

namespace igr::IGR_VARIANT {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kRegisters = 32;
#elif defined(__AVX__)
constexpr int kLanes = 8, kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kLanes = 4, kRegisters = 32;
#else
constexpr int kLanes = 4, kRegisters = 16;
#endif

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Bits __attribute__((vector_size(4 * kLanes)));

IGR_INLINE Floats load(const float* from) {
  Floats v;
  memcpy(&v, from, sizeof v);
  return v;
}
IGR_INLINE void store(float* to, Floats v) { memcpy(to, &v, sizeof v); }
IGR_INLINE void add_to(float* to, Floats v) { store(to, load(to) + v); }
IGR_INLINE void fetch(const float* from) { __builtin_prefetch(from); }
IGR_INLINE Floats all(float x) { return x - Floats{}; }

// Written so that a NaN in the first argument gives the second: indices made from it stay in range.
IGR_INLINE Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
IGR_INLINE Floats minimum(Floats a, Floats b) { return a < b ? a : b; }
IGR_INLINE Floats absolute(Floats a) { return (Floats)((Bits)a & 0x7fffffffu); }

IGR_INLINE float sum(Floats v) {
  float total = 0;
  for (int i = 0; i < kLanes; i++) total += v[i];
  return total;
}

IGR_INLINE Floats square_root(Floats v) {
#if defined(__AVX512F__)
  return (Floats)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX__)
  return (Floats)_mm256_sqrt_ps((__m256)v);
#elif defined(__SSE2__)
  return (Floats)_mm_sqrt_ps((__m128)v);
#else
  for (int i = 0; i < kLanes; i++) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

// Lanes picked from the concatenation of a and b: lane i is number pick(i).
template <class Pick, int... I>
IGR_INLINE Floats shuffle(Floats a, Floats b, Pick, std::integer_sequence<int, I...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, Pick::at(I)...);
#else
  return __builtin_shuffle(a, b, Ints{Pick::at(I)...});
#endif
}
using Lanes = std::make_integer_sequence<int, kLanes>;

template <int Start>  // a0 b0 a1 b1 …, from lane Start of both
struct Interleave {
  static constexpr int at(int i) { return Start + i / 2 + (i % 2) * kLanes; }
};
template <int Start>  // every second lane of a and then of b, from lane Start
struct Alternate {
  static constexpr int at(int i) { return 2 * i + Start; }
};
template <int Distance>  // lanes of a exchanged with those Distance away
struct Exchange {
  static constexpr int at(int i) { return i ^ Distance; }
};
template <template <int> class Pick, int N>
IGR_INLINE Floats shuffled(Floats a, Floats b) {
  return shuffle(a, b, Pick<N>{}, Lanes{});
}

// Transposes a square of kLanes vectors: log2(kLanes) rounds of interleaving the first half with the second.
IGR_INLINE void transpose(Floats (&v)[kLanes]) {
  for (int round = 1; round < kLanes; round *= 2) {
    Floats w[kLanes];
    for (int i = 0; i < kLanes / 2; i++) {
      w[2 * i] = shuffled<Interleave, 0>(v[i], v[i + kLanes / 2]);
      w[2 * i + 1] = shuffled<Interleave, kLanes / 2>(v[i], v[i + kLanes / 2]);
    }
    for (int i = 0; i < kLanes; i++) v[i] = w[i];
  }
}

// e^(-|z|β), no less than 2^-36 (below that it does not show beside 1, and its powers would be denormal); `power`
// is β log2 e. Relative error below 1.5e-7: 2^-t by a polynomial of least maximum error on [-1/2, 1/2].
IGR_INLINE Floats exp_of_minus(Floats z, float power) {
  const Ints size = (Ints)(z * power) & 0x7fffffff, limit = (Ints)all(36.f);
  const Floats t = (Floats)(size < limit ? size : limit);  // numbers >= 0 are in the order of their bits
  const Floats shifted = 12582912.f - t;                   // 1.5 · 2^23: the low bits of the sum are -t, rounded
  const Floats r = (12582912.f - shifted) - t;
  Floats p = r * 1.327647156e-3f + 9.675541373e-3f;
  p = p * r + 5.550713275e-2f;
  p = p * r + 2.402211972e-1f;
  p = p * r + 6.931469671e-1f;
  p = p * r + 1.000000072f;
  return (Floats)((Bits)p + ((Bits)shifted << 23));  // times a power of 2, in the exponent
}

// log(1 + e^(βz))/β, softplus as torch has it, and its derivative 1/(1 + e^(-βz)).
class Softplus {
 public:
  explicit Softplus(float beta) : power_(beta * 1.44269504f), scale_(1 / beta) {}

  IGR_INLINE Floats value(Floats z) const { return value(z, exp_of_minus(z, power_)); }
  IGR_INLINE Floats value_and_slope(Floats z, Floats& slope) const {
    const Floats y = exp_of_minus(z, power_);
    slope = (z > 0.f ? all(1.f) : y) / (1.f + y);
    return value(z, y);
  }
  // The slope where the value is h: 1 - e^(-βh).
  IGR_INLINE Floats slope_at_value(Floats h) const { return 1.f - exp_of_minus(h, power_); }

 private:
  // max(z, 0) + log(1 + y)/β; log(1 + y)/y by a polynomial of least maximum error on [0, 1], 2e-7.
  IGR_INLINE Floats value(Floats z, Floats y) const {
    const Floats square = y * y;
    const Floats a = y * -4.999740540e-1f + 9.999998057e-1f, b = y * -2.449546263e-1f + 3.327547976e-1f;
    const Floats c = y * -1.076816989e-1f + 1.774524065e-1f, d = y * -8.539204873e-3f + 4.408962008e-2f;
    const Floats p = a + square * b + square * square * (c + square * d);
    return (z < 0.f ? Floats{} : z) + p * (y * scale_);  // NaN stays NaN
  }

  float power_, scale_;
};

}  // namespace igr::IGR_VARIANT
