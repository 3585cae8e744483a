// src/exec/float_environment.h - the same rounding on every thread, whatever the caller has set.
#pragma once

#include <cfenv>

namespace regard::exec {

/// Round to nearest, subnormals kept, no traps, for the life of the object; then the thread's own
/// settings again. Without it a host that flushes subnormals on its own thread only would get other
/// bits there than on the pool's threads.
class FloatEnvironment {
 public:
  FloatEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~FloatEnvironment() { std::fesetenv(&saved_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
  std::fenv_t saved_;
};

}  // namespace regard::exec
