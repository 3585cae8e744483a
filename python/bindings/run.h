// python/bindings/run.h - work without Python's lock, which Ctrl-C ends.
#pragma once

#include <atomic>
#include <functional>

namespace regard::python {

/// Does the work, which stops soon once the flag (null: never) is raised. Where it is long and this
/// is Python's main thread, another thread does it, and this one looks for signals: a handler that
/// raises (KeyboardInterrupt) cancels the work, and its exception is thrown.
void run_interruptibly(double flops, const std::function<void(const std::atomic<bool>*)>& work);

}  // namespace regard::python
