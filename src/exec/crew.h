// src/exec/crew.h - threads that wait, asleep, for work that all of them do at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace regard::exec {

/// The caller and up to num_threads - 1 threads of their own: fewer where the system gives no more.
class Crew {
 public:
  explicit Crew(int num_threads);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  /// The caller included.
  int size() const { return static_cast<int>(threads_.size()) + 1; }

  /// Calls work(worker) once for every worker in [0, size()), at the same time, 0 on the calling
  /// thread; returns when all have. One caller at a time. Allocates nothing.
  void run(const std::function<void(int worker)>& work);

 private:
  void begin_round() noexcept;
  void serve(int worker) noexcept;

  const std::function<void(int)>* work_ = nullptr;  // null: the threads shall end
  std::atomic<std::uint32_t> round_{0};
  std::atomic<std::uint32_t> at_work_{0};  // threads that have not finished the round
  std::vector<std::thread> threads_;
};

}  // namespace regard::exec
