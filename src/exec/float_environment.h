// src/exec/float_environment.h - the same rounding on every thread, whatever the caller has set.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <cfenv>
#endif

namespace regard::exec {

/// Round to nearest, subnormals kept, no traps, for the life of the object; then the thread's own
/// settings again. Without it a host that flushes subnormals on its own thread only would get other
/// bits there than on the pool's threads.
class FloatEnvironment {
 public:
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

#if defined(__x86_64__)
  // MXCSR alone: no kernel uses the x87 unit, whose environment takes a hundred times longer to
  // save.
  FloatEnvironment() : saved_(_mm_getcsr()) { _mm_setcsr(kDefault); }
  ~FloatEnvironment() { _mm_setcsr(saved_); }

 private:
  static constexpr unsigned kDefault = 0x1F80;
  unsigned saved_;
#else
  FloatEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~FloatEnvironment() { std::fesetenv(&saved_); }

 private:
  std::fenv_t saved_;
#endif
};

}  // namespace regard::exec
