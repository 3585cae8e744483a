// tests/support/hostile_executor.h - runs tasks on several threads in the worst order it can think
// of.
#pragma once

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "regard/executor.h"
#include "support/random.h"

namespace regard::test {

/// Tasks in reverse or random order, dealt to `threads` new threads one by one, with yields between
/// them. Keeps what Executor asks for: every task once, no two at a time with one worker index.
class HostileExecutor final : public Executor {
 public:
  enum class Order : std::uint8_t { kReverse, kRandom };

  HostileExecutor(int threads, Order order, std::uint64_t seed)
      : threads_(threads), order_(order), rng_(seed) {}

  int num_threads() const override { return threads_; }

  void parallel_for(std::int64_t num_tasks, const Task& task) override {
    std::vector<std::int64_t> tasks(static_cast<std::size_t>(num_tasks));
    std::iota(tasks.rbegin(), tasks.rend(), 0);
    if (order_ == Order::kRandom) {
      for (std::size_t i = tasks.size(); i > 1; --i) {
        const std::int64_t other = rng_.integer(0, static_cast<std::int64_t>(i) - 1);
        std::swap(tasks[i - 1], tasks[static_cast<std::size_t>(other)]);
      }
    }
    num_tasks_ += num_tasks;
    std::atomic<std::size_t> next{0};
    std::vector<std::thread> workers;
    for (int worker = 0; worker < threads_; ++worker) {
      workers.emplace_back([&, worker] {
        for (std::size_t n = next++; n < tasks.size(); n = next++) {
          if (n % 3 == static_cast<std::size_t>(worker % 3)) std::this_thread::yield();
          task(tasks[n], threads_ - 1 - worker);
        }
      });
    }
    for (std::thread& worker : workers) worker.join();
  }

  /// Tasks run so far: 0 says that the engine never asked.
  std::int64_t num_tasks() const { return num_tasks_; }

 private:
  int threads_;
  Order order_;
  Rng rng_;
  std::int64_t num_tasks_ = 0;
};

}  // namespace regard::test
