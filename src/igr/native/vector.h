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

// 1/v to the last bit or two, for v of moderate size.
IGR_INLINE Floats reciprocal(Floats v) {
#if defined(__AVX512F__)
  const Floats guess = (Floats)_mm512_rcp14_ps((__m512)v);  // and one step of Newton's, quicker than a division
  return guess * (2.f - v * guess);
#else
  return 1.f / v;
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

// 2^v for -126 < v <= 0, relative error below 1.5e-7 (a least-maximum-error polynomial on [-1/2, 1/2]).
IGR_INLINE Floats exp2_of_negative(Floats v) {
  const Floats shifted = v + 12582912.f;  // 1.5 · 2^23: the low bits of the sum are v rounded to an integer
  const Floats r = v - (shifted - 12582912.f);
  Floats p = r * 1.327647156e-3f + 9.675541373e-3f;
  p = p * r + 5.550713275e-2f;
  p = p * r + 2.402211972e-1f;
  p = p * r + 6.931469671e-1f;
  p = p * r + 1.000000072f;
  return (Floats)((Bits)p + ((Bits)shifted << 23));  // times 2^rounded, in the exponent
}

// log(1 + e^(βz))/β, softplus as torch has it, and its derivative 1/(1 + e^(-βz)), by one power and one division.
struct Softplus {
  Floats value, slope;
};
IGR_INLINE Softplus softplus(Floats z, float beta, float inverse_beta) {
  // y = e^(-β|z|); below 2^-36 it no longer shows beside 1, and much lower would run into denormals
  const Floats y = exp2_of_negative(maximum(absolute(z) * (-1.44269504f * beta), all(-36.f)));
  const Floats q = reciprocal((y + 1.f) * (y + 2.f));
  const Floats right = q * (y + 2.f);     // 1/(1+y)
  const Floats t = y * q * (y + 1.f);     // y/(2+y); log(1+y) = 2 atanh(t), an odd series in t <= 1/3
  const Floats u = t * t;
  Floats p = u * 0.3422604972f + 0.3958946151f;
  p = p * u + 0.6667600286f;
  p = p * u + 1.999999671f;
  return {maximum(z, Floats{}) + p * t * inverse_beta, z > 0.f ? right : y * right};
}

// The slope of softplus where its value is h: 1 - e^(-βh).
IGR_INLINE Floats softplus_slope(Floats h, float beta) {
  return 1.f - exp2_of_negative(maximum(h * (-1.44269504f * beta), all(-36.f)));
}

}  // namespace igr::IGR_VARIANT
