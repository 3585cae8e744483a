// src/exec/crew.cc - threads that wait, asleep, for work that all of them do at once.
#include "exec/crew.h"

#include <new>
#include <system_error>

namespace regard::exec {

Crew::Crew(int num_threads) {
  threads_.reserve(static_cast<std::size_t>(num_threads - 1));
  try {
    for (int worker = 1; worker < num_threads; ++worker)
      threads_.emplace_back([this, worker] { serve(worker); });
  } catch (const std::system_error&) {
    return;  // those that there are will do; size() says how many
  } catch (const std::bad_alloc&) {
    return;
  }
}

Crew::~Crew() {
  work_ = nullptr;
  begin_round();
  for (std::thread& thread : threads_) thread.join();
}

void Crew::run(const std::function<void(int)>& work) {
  work_ = &work;
  at_work_ = static_cast<std::uint32_t>(threads_.size());
  begin_round();
  work(0);
  for (std::uint32_t left = at_work_; left != 0; left = at_work_) at_work_.wait(left);
}

void Crew::begin_round() noexcept {
  ++round_;
  round_.notify_all();
}

// A round begins when all have finished the last one, so no thread ever misses one.
void Crew::serve(int worker) noexcept {
  for (std::uint32_t done = 0;; ++done) {
    round_.wait(done);
    if (work_ == nullptr) return;
    (*work_)(worker);
    if (--at_work_ == 0) at_work_.notify_one();
  }
}

}  // namespace regard::exec
