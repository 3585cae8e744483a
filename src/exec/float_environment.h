// src/exec/float_environment.h - the same rounding on every thread, whatever the caller has set.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
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
#elif defined(__aarch64__)
  // fesetenv(FE_DFL_ENV) would keep what the C standard does not know: FPCR's default NaN, its
  // other f16 (no infinities) and flushing of f16. 0 is IEEE 754. Written only where it differs,
  // which costs a wait for the pipeline; flags are kept apart, in FPSR, and restored as on x86.
  FloatEnvironment() {
    asm volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(control_), "=r"(flags_) : : "memory");
    if (control_ != 0) set_control(0);
  }
  ~FloatEnvironment() {
    if (control_ != 0) set_control(control_);
    asm volatile("msr fpsr, %0" : : "r"(flags_) : "memory");
  }

 private:
  static void set_control(std::uint64_t control) {
    asm volatile("msr fpcr, %0" : : "r"(control) : "memory");
  }
  std::uint64_t control_, flags_;
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
