// src/exec/thread_pool.cc - the executors that regard brings: the caller's thread, and a pool.
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include "exec/crew.h"
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

/// fork()s between the first process and this one. A thread lives only where it was started.
std::atomic<unsigned> forks{0};

void count_forks() {
  static const int error = pthread_atfork(nullptr, nullptr, [] { ++forks; });
  if (error != 0) throw std::bad_alloc();
}

/// A crew that one caller borrows at a time, made when first needed and again after a fork().
class ThreadPool final : public Executor {
 public:
  explicit ThreadPool(int num_threads) : num_threads_(num_threads) { count_forks(); }
  ~ThreadPool() override { delete of_this_process(idle_); }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const override { return num_threads_; }

  void parallel_for(std::int64_t num_tasks, const Task& task) override {
    const Loan loan(*this, num_tasks > 1 && num_threads_ > 1);
    if (loan.threads == nullptr) return serial_executor().parallel_for(num_tasks, task);
    // Whoever is free takes the next task, so that the longest, which come first, start first.
    std::atomic<std::int64_t> next{0};
    const auto work = [&](int worker) {
      for (std::int64_t i = next++; i < num_tasks; i = next++) task(i, worker);
    };
    loan.threads->crew.run(std::cref(work));  // by reference: nothing is allocated
  }

  /// How many threads there really are when nobody runs anything.
  int start() {
    const Loan loan(*this, num_threads_ > 1);
    return loan.threads == nullptr ? 1 : loan.threads->crew.size();
  }

 private:
  struct Threads {
    unsigned made_after;  // forks
    exec::Crew crew;
  };

  /// Null: busy with another caller's work, or not wanted.
  struct Loan {
    Loan(ThreadPool& from, bool wanted) : pool(from), threads(wanted ? pool.take() : nullptr) {}
    ~Loan() {
      if (threads != nullptr) pool.idle_ = threads;
    }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    ThreadPool& pool;
    Threads* threads;
  };

  /// Null for a parent's, which are forgotten: threads that do not exist cannot be joined.
  static Threads* of_this_process(Threads* threads) {
    return threads != nullptr && threads->made_after == forks ? threads : nullptr;
  }

  Threads* take() {
    const unsigned now = forks;
    int before = made_after_;
    // Here for the first time in this process; should a parent have lent its threads when it
    // forked, nobody gives them back.
    if (before != static_cast<int>(now) &&
        made_after_.compare_exchange_strong(before, static_cast<int>(now)))
      return make(now);
    return of_this_process(idle_.exchange(nullptr));
  }

  Threads* make(unsigned now) {
    try {
      return new Threads{now, exec::Crew(num_threads_)};
    } catch (const std::bad_alloc&) {
      return nullptr;  // alone then
    }
  }

  const int num_threads_;
  std::atomic<Threads*> idle_{nullptr};  // null: lent, or not made
  std::atomic<int> made_after_{-1};      // forks before the latest crew; -1: none yet
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
  auto pool = std::make_unique<ThreadPool>(num_threads);
  const int started = pool->start();
  if (started == num_threads) return pool;
  throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again),
                          "make_thread_pool: num_threads is " + std::to_string(num_threads) +
                              ", the system gives " + std::to_string(started));
}

Executor& default_executor() {
  static ThreadPool pool(default_num_threads());
  return pool;
}

int default_num_threads() {
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0) return std::max(1, CPU_COUNT(&cpus));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace regard
