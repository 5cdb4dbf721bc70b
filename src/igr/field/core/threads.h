// The threads of this process, which every core shares: numbered tasks are shared out among them.
//
// Workers are started when a job first asks for so many, spin briefly for the next job and then sleep, so a fit
// neither waits long for them nor burns a processor that others need. A job never waits for a worker that has not
// begun: whoever is there takes the tasks. Nor does it wait for another job: a second caller does its tasks alone.
// Every task is computed by one thread, so results do not depend on how many there are, and where the system
// refuses a thread, those that there are do the work. A forked child has a pool of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>

namespace igr {

class ThreadPool {
 public:
  // This process's; it lives as long as the process, as its workers do.
  static ThreadPool& shared();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls task(index, thread) once for every index in [0, count), thread in [0, threads), the caller being thread
  // 0; denormals are flushed to zero meanwhile. What a task throws is thrown here when no task runs any more, and
  // tasks that had not begun are left out.
  template <class Task>
  void run(int count, int threads, const Task& task) {
    run({[](const void* context, int index, int thread) { (*static_cast<const Task*>(context))(index, thread); },
         &task, count, threads});
  }

 private:
  struct Job {
    void (*call)(const void* context, int index, int thread);
    const void* context;
    int count, threads;
  };
  ThreadPool();
  void run(Job job);
  void start_workers(int wanted);
  void work(const Job& job, int thread);
  void serve(int thread);

  const int64_t process_;  // whose threads these are
  std::mutex one_job_;     // held by the caller whose job the workers share
  int workers_ = 0;        // guarded by it
  std::mutex mutex_;       // guards what follows, up to the atomics
  std::condition_variable wake_, done_;
  Job job_{};
  bool open_ = false;  // whether workers may still join the job
  int sleeping_ = 0;
  std::exception_ptr problem_;                       // what the first task that failed threw
  alignas(64) std::atomic<uint64_t> generation_{0};  // counts jobs; workers watch it
  alignas(64) std::atomic<int> next_{0};             // first task that nobody has taken
  alignas(64) std::atomic<int> active_{0};           // workers inside the job
};

}  // namespace igr
