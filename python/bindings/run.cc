// python/bindings/run.cc - work without Python's lock, which Ctrl-C ends.
#include "run.h"

#include <nanobind/nanobind.h>

#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <system_error>

namespace regard::python {
namespace {

namespace nb = nanobind;

constexpr double kLongFlops = 1e9;  // 10 ms on a fast core
constexpr std::chrono::milliseconds kLook{50};

bool is_main_thread() {
  const nb::object threading = nb::module_::import_("threading");
  return threading.attr("current_thread")().is(threading.attr("main_thread")());
}

/// On a thread of its own; nothing where there is none to be had.
std::future<void> start(const std::function<void()>& work) {
  try {
    return std::async(std::launch::async, work);
  } catch (const std::system_error&) {
    return {};
  }
}

}  // namespace

void run_interruptibly(double flops, const std::function<void(const std::atomic<bool>*)>& work) {
  std::atomic<bool> cancel{false};
  std::future<void> done;
  if (flops > kLongFlops && is_main_thread()) done = start([&] { work(&cancel); });
  if (!done.valid()) {
    const nb::gil_scoped_release unlocked;
    return work(nullptr);
  }
  for (bool ready = false; !ready;) {
    {
      const nb::gil_scoped_release unlocked;
      ready = done.wait_for(kLook) == std::future_status::ready;
    }
    if (ready || PyErr_CheckSignals() == 0) continue;
    const nb::python_error interrupt;  // takes the handler's exception
    cancel = true;
    {
      const nb::gil_scoped_release unlocked;
      done.wait();
    }
    throw nb::python_error(interrupt);
  }
  done.get();
}

}  // namespace regard::python
