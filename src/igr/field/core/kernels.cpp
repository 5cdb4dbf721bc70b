// Compiled once per instruction set, with IGR_VARIANT naming it. Everything is in that namespace and nothing of
// the standard library is instantiated, so that no function compiled for a newer processor can stand in for
// another's.
#include "kernels.h"

#include "encoding.h"
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

// One block of rows; those whose gradient is 0 keep everything.
template <int F>
IGR_INLINE void adam_block(const AdamStep& step, float* value, float* first, float* second, float* gradient) {
  for (int i = 0; i < kBlock; i += kLanes) {
    const Floats g = load(gradient + i), old_value = load(value + i);
    const Floats old_first = load(first + i), old_second = load(second + i);
    const Ints touched = row_touched<F>(g);
    Floats m = old_first, v = old_second;
    const Floats new_value = adam_vector(step, old_value, g, m, v);
    store(value + i, touched ? new_value : old_value);
    store(first + i, touched ? m : old_first);
    store(second + i, touched ? v : old_second);
    store(gradient + i, Floats{});
  }
}

// The same on numbers [begin, end) of a block only: the others may belong to another thread.
template <int F>
static void adam_part(const AdamStep& step, float* value, float* first, float* second, float* gradient, int begin,
                      int end) {
  float copy[4][kBlock] = {};
  float* from[4] = {value, first, second, gradient};
  const size_t bytes = size_t(end - begin) * sizeof(float);
  for (int k = 0; k < 4; k++) memcpy(copy[k] + begin, from[k] + begin, bytes);
  adam_block<F>(step, copy[0], copy[1], copy[2], copy[3]);
  for (int k = 0; k < 4; k++) memcpy(from[k] + begin, copy[k] + begin, bytes);
}

template <int F>
static void adam_rows(const AdamStep& given, float* value, float* first, float* second, const RowSums& sums) {
  constexpr int kWindow = 512, kAhead = 12;  // blocks looked at together; blocks fetched ahead of use
  const AdamStep step = given;               // a copy that no store can change
  const int64_t begin = int64_t(sums.offset) * F, end = begin + int64_t(sums.rows) * F;
  const int64_t blocks = (end + kBlock - 1) / kBlock;
  for (int64_t start = 0; start < blocks; start += kWindow) {
    int64_t due[kWindow + kAhead];
    int count = 0;
    for (int64_t b = start; b < blocks && b < start + kWindow; b++) {
      due[count] = b * kBlock;
      count += sums.marks[b];
      sums.marks[b] = 0;
    }
    for (int k = 0; k < kAhead; k++) due[count + k] = start * kBlock;
    for (int k = 0; k < count; k++) {
      const int64_t at = due[k], next = due[k + kAhead];
      fetch(value + next);
      fetch(first + next);
      fetch(second + next);
      if (at >= begin && at + kBlock <= end) {
        adam_block<F>(step, value + at, first + at, second + at, sums.values + at);
      } else {
        const int from = at < begin ? int(begin - at) : 0, to = at + kBlock > end ? int(end - at) : kBlock;
        adam_part<F>(step, value + at, first + at, second + at, sums.values + at, from, to);
      }
    }
  }
  for (int f = 0; f < F; f++) sums.values[end + f] = 0;
  sums.marks[end / kBlock] = 0;
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
  kernels.scatter = scatter<D, F>;
  kernels.adam_rows = adam_rows<F>;
}

template <int Width>
static void fill_mlp(Kernels& kernels) {
  kernels.scratch = sizeof(typename Mlp<Width>::Scratch) / sizeof(float);
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
