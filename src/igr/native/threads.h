// A small pool of threads that share out numbered tasks.
//
// Workers spin briefly for the next job and then sleep, so a fit neither waits long for them nor burns a processor
// that others need. A job never waits for a worker that has not begun: whoever is there takes the tasks. Every
// task is computed by one thread, so results do not depend on how many there are. Not usable in a forked child.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace igr {

class ThreadPool {
 public:
  // `threads` counts the calling thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return int(workers_.size()) + 1; }

  // Calls task(index, thread) once for every index in [0, count), thread in [0, threads()); denormals are flushed
  // to zero meanwhile. Tasks must not throw. One caller at a time.
  template <class Task>
  void run(int count, const Task& task) {
    run({[](const void* context, int index, int thread) { (*static_cast<const Task*>(context))(index, thread); },
         &task, count});
  }

 private:
  struct Job {
    void (*call)(const void* context, int index, int thread);
    const void* context;
    int count;
  };
  void run(Job job);
  void work(const Job& job, int thread);
  void serve(int thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;  // guards what follows, up to the atomics
  std::condition_variable wake_, done_;
  Job job_{};
  bool open_ = false;  // whether workers may still join the job
  int sleeping_ = 0;
  alignas(64) std::atomic<uint64_t> generation_{0};  // counts jobs; workers watch it
  alignas(64) std::atomic<int> next_{0};             // first task that nobody has taken
  alignas(64) std::atomic<int> active_{0};           // workers inside the job
  std::atomic<bool> stop_{false};
};

}  // namespace igr
