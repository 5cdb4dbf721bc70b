#include "threads.h"

#include <chrono>

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace igr {
namespace {

constexpr auto kSpin = std::chrono::microseconds(50);

// Denormal numbers are read and written as zero while this lives, on this thread only.
class FlushDenormals {
 public:
#if defined(__SSE2__) || defined(_M_X64)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" ::"r"(before_ | (uint64_t(1) << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

 private:
  uint64_t before_;
#endif
};

void pause() {
#if defined(__SSE2__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `ready()` for a moment; returns whether it came true.
template <class Ready>
bool spin_until(Ready ready) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; i++) {
      if (ready()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; i++) workers_.emplace_back([this, i] { serve(i); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::run(Job job) {
  const FlushDenormals flush;
  if (job.count <= 1 || workers_.empty()) {
    for (int i = 0; i < job.count; i++) job.call(job.context, i, 0);
    return;
  }
  bool some_sleep;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    job_ = job;
    open_ = true;
    next_ = 0;
    generation_++;
    some_sleep = sleeping_ > 0;
  }
  if (some_sleep) wake_.notify_all();
  work(job, 0);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = false;
  }
  if (spin_until([this] { return active_ == 0; })) return;
  std::unique_lock<std::mutex> lock(mutex_);
  done_.wait(lock, [this] { return active_ == 0; });
}

void ThreadPool::work(const Job& job, int thread) {
  for (int i = next_++; i < job.count; i = next_++) job.call(job.context, i, thread);
}

void ThreadPool::serve(int thread) {
  const FlushDenormals flush;
  uint64_t seen = 0;
  for (;;) {
    spin_until([&] { return generation_ != seen || stop_; });
    std::unique_lock<std::mutex> lock(mutex_);
    sleeping_++;
    wake_.wait(lock, [&] { return generation_ != seen || stop_; });
    sleeping_--;
    if (stop_) return;
    seen = generation_;
    if (!open_) continue;
    const Job job = job_;
    active_++;
    lock.unlock();
    work(job, thread);
    lock.lock();
    if (--active_ == 0) done_.notify_one();
  }
}

}  // namespace igr
