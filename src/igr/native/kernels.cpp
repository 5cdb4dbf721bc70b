// Compiled once per instruction set, with IGR_VARIANT naming it. Everything is in that namespace and nothing of the
// standard library is instantiated, so that no function compiled for a newer processor can stand in for another's.
#include "kernels.h"

#include "features.h"
#include "mlp.h"

namespace igr::IGR_VARIANT {

// One vector of Adam; returns the new values and stores the moments.
IGR_INLINE Floats adam_vector(const AdamStep& step, Floats value, Floats gradient, Floats& first, Floats& second) {
  first = first * step.beta1 + gradient * (1 - step.beta1);
  second = second * step.beta2 + gradient * gradient * (1 - step.beta2);
  return value - first * step.rate / (square_root(second) * step.inverse_root + step.epsilon);
}

static void adam(const AdamStep& step, float* value, float* first, float* second, const float* gradient,
                 int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    Floats m = load(first + i), v = load(second + i);
    store(value + i, adam_vector(step, load(value + i), load(gradient + i), m, v));
    store(first + i, m);
    store(second + i, v);
  }
}

// Whether any number of its row of F is not 0, for every lane.
template <int F>
IGR_INLINE Ints row_touched(Floats gradient) {
  Ints touched = gradient != 0.f;
  if constexpr (F >= 2) touched |= (Ints)shuffled<Exchange, 1>((Floats)touched, (Floats)touched);
  if constexpr (F >= 4) touched |= (Ints)shuffled<Exchange, 2>((Floats)touched, (Floats)touched);
  return touched;
}

IGR_INLINE bool any(Ints mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#else
  int32_t some = 0;
  for (int i = 0; i < kLanes; i++) some |= mask[i];
  return some != 0;
#endif
}

template <int F>
IGR_INLINE void adam_touched(const AdamStep& step, float* value, float* first, float* second, float* gradient) {
  const Floats g = load(gradient);
  const Ints touched = row_touched<F>(g);
  if (!any(touched)) return;
  const Floats old_value = load(value), old_first = load(first), old_second = load(second);
  Floats m = old_first, v = old_second;
  const Floats new_value = adam_vector(step, old_value, g, m, v);
  store(value, touched ? new_value : old_value);
  store(first, touched ? m : old_first);
  store(second, touched ? v : old_second);
  store(gradient, Floats{});
}

// The same on the first n numbers of a vector only: its neighbors may belong to another thread.
template <int F>
static void adam_part(const AdamStep& step, float* value, float* first, float* second, float* gradient, int64_t n) {
  float copy[4][kLanes] = {};
  float* from[4] = {value, first, second, gradient};
  for (int k = 0; k < 4; k++) memcpy(copy[k], from[k], size_t(n) * sizeof(float));
  adam_touched<F>(step, copy[0], copy[1], copy[2], copy[3]);
  for (int k = 0; k < 4; k++) memcpy(from[k], copy[k], size_t(n) * sizeof(float));
}

template <int F>
static void adam_rows(const AdamStep& given, float* value, float* first, float* second, float* gradient,
                      int64_t count) {
  const AdamStep step = given;  // a copy that no store can change
  const int64_t into = int64_t(uintptr_t(value) / sizeof(float)) % kLanes;
  int64_t i = into ? kLanes - into : 0;
  if (i > count) i = count;
  if (i) adam_part<F>(step, value, first, second, gradient, i);
  for (; i + kLanes <= count; i += kLanes) adam_touched<F>(step, value + i, first + i, second + i, gradient + i);
  if (i < count) adam_part<F>(step, value + i, first + i, second + i, gradient + i, count - i);
}

static double spin(int64_t rounds) {
  constexpr int chains = kRegisters - 4;  // more than any processor needs to hide the latency
  Floats sums[chains], factor = all(0.5f), term = all(1.f);
  for (int c = 0; c < chains; c++) sums[c] = all(float(c));
  for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 32
    for (int c = 0; c < chains; c++) sums[c] = sums[c] * factor + term;
  }
  float total = 0;
  for (int c = 0; c < chains; c++) total += sum(sums[c]);
  return total > 0 ? 2.0 * kLanes * chains * double(rounds) : 0;  // reads the sums, so they must be computed
}

template <int D, int F>
static void fill_features(Kernels& kernels) {
  kernels.encode = encode<D, F>;
  kernels.scatter = scatter<D, F, false>;
  kernels.scatter_some = scatter<D, F, true>;
  kernels.adam_rows = adam_rows<F>;
}

template <int Width>
static void fill_mlp(Kernels& kernels) {
  kernels.scratch = Mlp<Width>::kScratch;
  kernels.max_inputs = Mlp<Width>::kMaxInputs;
  kernels.value = Mlp<Width>::value;
  kernels.forward = Mlp<Width>::forward;
  kernels.backward = Mlp<Width>::backward;
}

bool fill(Kernels& kernels, int dimension, int features, int width) {
  kernels.adam = adam;
  kernels.spin = spin;
  switch (10 * dimension + features) {
    case 21: fill_features<2, 1>(kernels); break;
    case 22: fill_features<2, 2>(kernels); break;
    case 24: fill_features<2, 4>(kernels); break;
    case 31: fill_features<3, 1>(kernels); break;
    case 32: fill_features<3, 2>(kernels); break;
    case 34: fill_features<3, 4>(kernels); break;
    default: return false;
  }
  switch (width) {
    case 32: fill_mlp<32>(kernels); break;
    case 64: fill_mlp<64>(kernels); break;
    default: return false;
  }
  return true;
}

}  // namespace igr::IGR_VARIANT
