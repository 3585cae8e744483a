// include/regard/executor.h - where the engine's work runs: its own thread pool, or the host's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace regard {

/// Runs independent tasks. The engine's bits do not depend on the executor, its number of threads
/// or its schedule. To lend the engine a host's own threads, derive from this class and pass it in
/// AttentionOptions::executor.
class Executor {
 public:
  /// task index in [0, num_tasks), worker index in [0, num_threads()); must not throw.
  using Task = std::function<void(std::int64_t task, int worker)>;

  virtual ~Executor() = default;

  /// Upper bound of the worker index; at least 1. Constant over the executor's life.
  virtual int num_threads() const = 0;

  /// Calls task(i, worker) once for every i in [0, num_tasks) and returns when all have returned.
  /// Two tasks that run at the same time must have different worker indices. Tasks are best started
  /// in ascending order (longest first).
  virtual void parallel_for(std::int64_t num_tasks, const Task& task) = 0;
};

/// The calling thread alone. Stateless; safe to share between threads.
Executor& serial_executor();

/// A pool with `num_threads` threads, the caller included. Throws std::invalid_argument beyond
/// 1..1024, std::system_error where the system gives fewer threads. They sleep when there is no
/// work. A pool serves one caller at a time: a second caller that finds it busy runs its own tasks
/// serially, with the same result. After fork() the child's first call starts threads of its own,
/// as many as the system gives; the parent's are neither waited for nor joined there. (A task must
/// not fork() and return in the child.)
std::unique_ptr<Executor> make_thread_pool(int num_threads);

/// The process-wide pool with default_num_threads() threads, or as many as the system gives,
/// started at first use, anew in a child of fork().
Executor& default_executor();

/// Number of CPUs this process may run on (its affinity mask, not the machine's).
int default_num_threads();

}  // namespace regard
