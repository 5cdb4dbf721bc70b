#include "variants.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "threads.h"

namespace igr {

// As in CMakeLists.txt, which compiles them.
#if defined(__x86_64__) || defined(_M_X64)
#define IGR_VARIANTS(X) X(baseline) X(avx2) X(avx512)
#elif defined(__aarch64__)
#define IGR_VARIANTS(X) X(neon)
#else
#define IGR_VARIANTS(X) X(baseline)
#endif

#define IGR_DECLARE(variant)                                           \
  namespace variant {                                                  \
  bool fill(Kernels& kernels, int dimension, int features, int width); \
  }
IGR_VARIANTS(IGR_DECLARE)

namespace {

struct Variant {
  const char* name;
  FillKernels fill;
};
#define IGR_LIST(variant) {#variant, variant::fill},
constexpr Variant kVariants[] = {IGR_VARIANTS(IGR_LIST)};

bool processor_has(const std::string& name) {
#if defined(__x86_64__) || defined(_M_X64)
  if (name == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (name == "avx512")
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
  return name == "baseline" || name == "neon";
}

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Variant& variant : kVariants)
    if (processor_has(variant.name)) names.push_back(variant.name);
  return names;
}

FillKernels find_kernels(const std::string& instruction_set) {
  for (const Variant& variant : kVariants)
    if (variant.name == instruction_set && processor_has(instruction_set)) return variant.fill;
  throw std::invalid_argument("instruction set '" + instruction_set + "' is not available on this machine");
}

double peak_rate(const std::string& instruction_set, int threads) {
  Kernels kernels{};
  find_kernels(instruction_set)(kernels, 3, 2, 64);
  std::vector<double> rates(size_t(threads) * 32);
  double best = 0;
  for (int attempt = 0; attempt < 8; attempt++) {
    ThreadPool::shared().run(int(rates.size()), threads, [&](int i, int) {
      const auto start = std::chrono::steady_clock::now();
      const double operations = kernels.spin(20000);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      rates[size_t(i)] = operations / seconds.count() * 1e-9;
    });
    std::nth_element(rates.begin(), rates.begin() + rates.size() / 2, rates.end());
    best = std::max(best, rates[rates.size() / 2] * threads);
  }
  return best;
}

}  // namespace igr
