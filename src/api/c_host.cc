// src/api/c_host.cc - C: the version, executors, cancellation.
#include <limits>

#include "api/c_support.h"
#include "regard/version.h"

namespace regard::api {
namespace {

/// A host's threads, through its function.
class HostExecutor final : public Executor {
 public:
  explicit HostExecutor(const regard_host_executor& host) : host_(host) {
    if (host_.parallel_for == nullptr)
      refuse("regard_executor_create_host: parallel_for", "null", "a function");
    check_range("regard_executor_create_host: num_threads", host_.num_threads, 1, 1 << 16);
  }

  int num_threads() const override { return static_cast<int>(host_.num_threads); }

  void parallel_for(std::int64_t num_tasks, const Task& task) override {
    const regard_task call = [](void* data, std::int64_t index, std::int32_t worker) {
      (*static_cast<const Task*>(data))(index, worker);
    };
    host_.parallel_for(host_.user, num_tasks, call, const_cast<Task*>(&task));
  }

 private:
  regard_host_executor host_;
};

std::unique_ptr<regard_executor> handle_of(std::unique_ptr<Executor> executor) {
  return std::make_unique<regard_executor>(regard_executor{std::move(executor)});
}

}  // namespace
}  // namespace regard::api

using namespace regard;  // the C functions are outside of it
using namespace regard::api;

const char* regard_version(void) { return REGARD_VERSION; }

regard_status regard_executor_create(int32_t num_threads, regard_executor** executor) {
  return create("regard_executor_create: executor", executor,
                [&] { return handle_of(make_thread_pool(num_threads)); });
}

regard_status regard_executor_create_host(const regard_host_executor* host,
                                          regard_executor** executor) {
  return create("regard_executor_create_host: executor", executor, [&] {
    constexpr const char* kWhat = "regard_executor_create_host: host";
    return handle_of(std::make_unique<HostExecutor>(versioned(kWhat, &required(kWhat, host))));
  });
}

void regard_executor_free(regard_executor* executor) { delete executor; }

int32_t regard_default_num_threads(void) { return default_num_threads(); }

static_assert(std::atomic<bool>::is_always_lock_free);  // raised in signal handlers

regard_status regard_cancel_create(regard_cancel** cancel) {
  return create("regard_cancel_create: cancel", cancel,
                [] { return std::make_unique<regard_cancel>(); });
}

void regard_cancel_raise(regard_cancel* cancel) {
  if (cancel != nullptr) cancel->raised = true;
}

void regard_cancel_lower(regard_cancel* cancel) {
  if (cancel != nullptr) cancel->raised = false;
}

void regard_cancel_free(regard_cancel* cancel) { delete cancel; }
