// src/exec/thread_pool.cc - the executors that regard brings: the caller's thread, and Highway's
// pool.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include <hwy/contrib/thread_pool/thread_pool.h>

#include "regard/executor.h"

namespace regard {
namespace {

class SerialExecutor final : public Executor {
 public:
  int num_threads() const override { return 1; }
  void parallel_for(std::int64_t num_tasks, const Task& task) override {
    for (std::int64_t i = 0; i < num_tasks; ++i) task(i, 0);
  }
};

class ThreadPool final : public Executor {
 public:
  explicit ThreadPool(int num_threads)
      : num_threads_(num_threads), pool_(static_cast<std::size_t>(num_threads)) {}

  int num_threads() const override { return num_threads_; }

  void parallel_for(std::int64_t num_tasks, const Task& task) override {
    const std::unique_lock<std::mutex> lock(busy_, std::try_to_lock);
    if (!lock.owns_lock() || num_tasks <= 1 || num_threads_ == 1) {
      return serial_executor().parallel_for(num_tasks, task);
    }
    // Whoever is free takes the next task, so that the longest, which come first, start first.
    std::atomic<std::int64_t> next{0};
    pool_.Run(0, static_cast<std::uint64_t>(num_threads_), [&](std::uint64_t, std::size_t worker) {
      for (std::int64_t i = next++; i < num_tasks; i = next++) task(i, static_cast<int>(worker));
    });
  }

 private:
  const int num_threads_;
  std::mutex busy_;
  hwy::ThreadPool pool_;
};

}  // namespace

Executor& serial_executor() {
  static SerialExecutor executor;
  return executor;
}

std::unique_ptr<Executor> make_thread_pool(int num_threads) {
  constexpr int kMost = 1024;
  if (num_threads < 1 || num_threads > kMost) {
    throw std::invalid_argument("make_thread_pool: num_threads is " + std::to_string(num_threads) +
                                ", expected 1.." + std::to_string(kMost));
  }
  return std::make_unique<ThreadPool>(num_threads);
}

Executor& default_executor() {
  static const std::unique_ptr<Executor> pool = make_thread_pool(default_num_threads());
  return *pool;
}

int default_num_threads() {
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0) return std::max(1, CPU_COUNT(&cpus));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace regard
