// The native core where things go wrong: many threads at once, memory that runs out at every allocation in turn,
// and forked children. Prints "done"; anything else is a failure. tests/field/test_native_stress.py builds it,
// with sanitizers and without, and runs it.
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/wait.h>
#include <unistd.h>
#define HAS_FORK
#endif

#include "core.h"

namespace {

std::atomic<int64_t> allocations_left{-1};  // until one fails; negative: none does
std::atomic<bool> failed{false};            // whether one did

void* allocate(size_t size, size_t align) {
  if (allocations_left >= 0 && allocations_left-- == 0) {
    failed = true;
    throw std::bad_alloc();
  }
  void* memory = aligned_alloc(align, (size + align - 1) / align * align);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new(size_t size, std::align_val_t align) { return allocate(size, size_t(align)); }
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { free(memory); }

namespace {

using igr::Core;
using Numbers = std::vector<float>;

void expect(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "not so: %s\n", what);
  exit(1);
}

// The same numbers in [-1, 1] for the same seed.
Numbers numbers(int64_t count, uint32_t seed) {
  Numbers all;
  for (int64_t i = 0; i < count; i++) {
    seed = seed * 1664525u + 1013904223u;
    all.push_back(float(seed >> 8) / float(1 << 23) - 1);
  }
  return all;
}

std::unique_ptr<Core> make_core(int threads) {
  igr::Shape shape{3, 2, 32, threads, 50.f, 1.2f, {}};
  int64_t offset = 0;
  for (const int resolution : {4, 9, 30}) {
    const bool hashed = resolution == 30;
    const int corners = (resolution + 1) * (resolution + 1) * (resolution + 1), rows = hashed ? 1 << 12 : corners;
    shape.levels.push_back({resolution, rows, offset, hashed, 1.f});
    offset += rows;
  }
  auto core = std::make_unique<Core>(shape, "auto");
  const Numbers start = numbers(core->values.size(), 7);
  for (int64_t i = 0; i < core->values.size(); i++) core->values[i] = 0.1f * start[size_t(i)];
  return core;
}

Numbers all_of(const igr::Floats& floats) { return Numbers(floats.data(), floats.data() + floats.size()); }

// Everything that training has made of a core.
Numbers state(Core& core) {
  Numbers all = all_of(core.values);
  for (const Numbers& more : {all_of(core.moments().first), all_of(core.moments().second)})
    all.insert(all.end(), more.begin(), more.end());
  all.push_back(float(core.step_count()));
  return all;
}

// What a step works on; its calls take no memory but the core's own.
struct Step {
  explicit Step(int64_t n)
      : n(n), x(numbers(3 * n, 1)), df(numbers(n, 2)), dg(numbers(3 * n, 3)), f(n), g(3 * n) {}
  int64_t n;
  Numbers x, df, dg, f, g;

  std::vector<std::function<void(Core&)>> calls() {
    return {[this](Core& core) { core.forward(x.data(), n, f.data(), g.data()); },
            [this](Core& core) { core.backward(df.data(), n, dg.data(), n); },
            [this](Core& core) { core.gradient(); },
            [this](Core& core) { core.adam(1e-2f, 1e-2f, 0.9f, 0.99f, 1e-8f); },
            [this](Core& core) { core.evaluate(x.data(), n, f.data(), g.data()); }};
  }
};

void train(Core& core, int steps, int64_t n) {
  Step step(n);
  for (int i = 0; i < steps; i++)
    for (const auto& call : step.calls()) call(core);
}

// Trained states do not depend on how many threads compute, nor on how many others do at the same time.
void many_cores_at_once() {
  const auto alone = make_core(1);
  train(*alone, 20, 500);
  std::vector<std::unique_ptr<Core>> cores;
  std::vector<std::thread> threads;
  for (int threads_each = 1; threads_each <= 4; threads_each++) cores.push_back(make_core(threads_each));
  for (const auto& core : cores) threads.emplace_back([&core] { train(*core, 20, 500); });
  for (auto& thread : threads) thread.join();
  for (const auto& core : cores) expect(state(*core) == state(*alone), "cores at once train as one alone");
}

// One core called from many threads, as Python may, with derivatives of the wrong number, too.
void one_core_from_many_threads() {
  const auto core = make_core(3);
  std::vector<std::thread> threads;
  for (int caller = 0; caller < 4; caller++)
    threads.emplace_back([&core, caller] {
      Step step(100 + 300 * caller);
      const float weights[3] = {1.f, caller % 2 ? 1.f : 0.5f, 1.f};
      for (int i = 0; i < 30; i++) {
        for (const auto& call : step.calls()) {
          try {
            call(*core);
          } catch (const std::invalid_argument&) {  // another's forward was the last
          } catch (const std::runtime_error&) {     // or another's adam
          }
        }
        if (i % 10 == 0) core->set_level_weights(weights);
        core->level_weights();
        core->phase_seconds();
      }
    });
  for (auto& thread : threads) thread.join();
}

void what_a_task_throws_reaches_the_caller() {
  for (const int threads : {1, 4}) {
    bool thrown = false;
    try {
      igr::ThreadPool::shared().run(1000, threads, [](int index, int) {
        if (index == 37) throw std::out_of_range("task 37");
      });
    } catch (const std::out_of_range& problem) {
      thrown = strcmp(problem.what(), "task 37") == 0;
    }
    expect(thrown, "what a task throws reaches the caller");
    std::atomic<int> count{0};
    igr::ThreadPool::shared().run(1000, threads, [&](int, int) { count++; });
    expect(count == 1000, "the pool works on after that");
  }
}

// Whatever allocation fails, a call changes nothing, and works when it is made again.
void memory_runs_out() {
  Step step(300);
  const auto calls = step.calls();
  const auto whole = make_core(3);
  for (const auto& call : calls) call(*whole);
  const Numbers wanted = state(*whole);
  for (int64_t number = 0;; number++) {
    const auto core = make_core(3);
    failed = false;
    allocations_left = number;
    for (const auto& call : calls) {
      const int64_t left = allocations_left.exchange(-1);
      const Numbers before = state(*core);
      allocations_left = left;
      try {
        call(*core);
        continue;
      } catch (const std::bad_alloc&) {
        allocations_left = -1;
      }
      expect(state(*core) == before, "a call that failed has changed nothing");
      call(*core);
    }
    allocations_left = -1;
    expect(state(*core) == wanted, "a step whose memory ran out once ends as any other");
    if (!failed) {
      expect(number > 5, "a step allocates");
      break;
    }
  }
  for (int64_t number = 0;; number++) {
    failed = false;
    allocations_left = number;
    try {
      make_core(3);
    } catch (const std::bad_alloc&) {
    }
    allocations_left = -1;
    if (!failed) break;
  }
}

void forked_children_compute_and_free() {
#if defined(HAS_FORK)
  auto core = make_core(4);
  train(*core, 2, 500);
  Step step(500);
  core->evaluate(step.x.data(), step.n, step.f.data(), nullptr);
  const Numbers wanted = step.f;
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);  // a child that hangs is ended
    step.f.assign(step.f.size(), 0.f);
    core->evaluate(step.x.data(), step.n, step.f.data(), nullptr);
    const bool same = step.f == wanted;
    train(*core, 1, 500);
    core.reset();
    _exit(same ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child computes the same, and frees a core");
  core->evaluate(step.x.data(), step.n, step.f.data(), nullptr);
  expect(step.f == wanted, "and its parent goes on");
#endif
}

}  // namespace

int main() {
  memory_runs_out();
  many_cores_at_once();
  one_core_from_many_threads();
  what_a_task_throws_reaches_the_caller();
  forked_children_compute_and_free();
  puts("done");
}
