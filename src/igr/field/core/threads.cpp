#include "threads.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace igr {
namespace {

constexpr auto kSpin = std::chrono::microseconds(50);

// Changes in a forked child, which has none of its parent's threads.
int64_t this_process() {
#if defined(_WIN32)
  return 0;
#else
  return getpid();
#endif
}

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

ThreadPool::ThreadPool() : process_(this_process()) {}

ThreadPool& ThreadPool::shared() {
  static std::atomic<ThreadPool*> current{nullptr};
  ThreadPool* found = current;
  while (found == nullptr || found->process_ != this_process()) {
    auto* const made =
        new ThreadPool;  // a parent's is left as it is: its locks may be held by threads that are gone
    if (current.compare_exchange_strong(found, made)) return *made;
    delete made;
  }
  return *found;
}

// They are never joined: they hold nothing but the pool, which is never destroyed.
void ThreadPool::start_workers(int wanted) {
  try {
    for (; workers_ < wanted; workers_++) std::thread([this, thread = workers_ + 1] { serve(thread); }).detach();
  } catch (const std::system_error&) {  // there are enough threads, says the system
  } catch (const std::bad_alloc&) {
  }
}

void ThreadPool::run(Job job) {
  const FlushDenormals flush;
  job.threads = std::min(job.threads, job.count);
  std::unique_lock<std::mutex> turn(one_job_, std::defer_lock);
  if (job.threads > 1 && turn.try_lock()) start_workers(job.threads - 1);
  if (!turn.owns_lock() || workers_ == 0) {
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
  if (!spin_until([this] { return active_ == 0; })) {
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return active_ == 0; });
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (problem_) std::rethrow_exception(std::exchange(problem_, nullptr));
}

void ThreadPool::work(const Job& job, int thread) {
  try {
    for (int i = next_++; i < job.count; i = next_++) job.call(job.context, i, thread);
  } catch (...) {
    next_ = job.count;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!problem_) problem_ = std::current_exception();
  }
}

void ThreadPool::serve(int thread) {
  const FlushDenormals flush;
  uint64_t seen = 0;
  for (;;) {
    spin_until([&] { return generation_ != seen; });
    std::unique_lock<std::mutex> lock(mutex_);
    sleeping_++;
    wake_.wait(lock, [&] { return generation_ != seen; });
    sleeping_--;
    seen = generation_;
    if (!open_ || thread >= job_.threads) continue;
    const Job job = job_;
    active_++;
    lock.unlock();
    work(job, thread);
    lock.lock();
    if (--active_ == 0) done_.notify_one();
  }
}

}  // namespace igr
