// tests/api/float_mode_test.cc - the caller's rounding mode and flush-to-zero neither change bits
// nor get lost.
#include <gtest/gtest.h>

#include <cfenv>
#include <memory>

#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

#include "regard/attention.h"
#include "support/isa.h"
#include "support/problem.h"

namespace regard::test {
namespace {

#if defined(__SSE__) || defined(_M_X64)

constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040, kRoundUp = 0x4000,
                   kRoundToZero = 0x6000;

// MXCSR for the life of the object.
class FloatMode {
 public:
  explicit FloatMode(unsigned bits) : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | bits); }
  ~FloatMode() { _mm_setcsr(saved_); }
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

 private:
  unsigned saved_;
};

constexpr unsigned kControlBits = 0xFFC0;  // the low six are sticky exception flags

// Numbers around 1e-40, so that flushing shows, and sums that round.
Problem subnormal_problem() {
  Rng rng(1);
  Problem p = make_problem(rng, {1, 4, 2, 50, 600, 16, 16});
  p.value.for_each([](float& x) { x *= 1e-40F; });
  return p;
}

TEST(FloatMode, OfTheCallerChangesNoBitAndIsRestored) {
  const Problem p = subnormal_problem();
  REGARD_FOR_EACH_ISA(isa) {
    const Result expected = run_attention(p);
    int subnormal = 0;
    expected.out.for_each([&](float x) { subnormal += x != 0; });
    ASSERT_GT(subnormal, 0);
    for (const unsigned mode : {kFlushToZero | kDenormalsAreZero, kRoundUp, kRoundToZero}) {
      for (int threads = 1; threads <= 2; ++threads) {
        const Tensor<4> out({1, 4, 50, 16});
        const Tensor<3> lse({1, 4, 50});
        {
          const FloatMode caller(mode);
          const std::unique_ptr<Executor> pool = make_thread_pool(threads);  // inherits the mode
          AttentionOptions options = p.options();
          options.executor = pool.get();
          const unsigned before = _mm_getcsr() & kControlBits;
          attention(p.query, p.key, p.value, out, options, {.lse = lse.view()});
          EXPECT_EQ(_mm_getcsr() & kControlBits, before);
        }
        EXPECT_TRUE(same_bits(out.values(), expected.out.values())) << "MXCSR bits " << mode;
        EXPECT_TRUE(same_bits(lse.values(), expected.lse.values())) << "MXCSR bits " << mode;
      }
    }
  }
}

// A float trap that the caller has switched on is neither sprung nor switched off.
TEST(FloatMode, TrapsOfTheCallerStayQuiet) {
  const Problem p = subnormal_problem();
  const Result expected = run_attention(p);
  const Tensor<4> out({1, 4, 50, 16});
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(saved & ~0x0200U & ~0x3FU);  // trap division by zero
  const unsigned before = _mm_getcsr() & kControlBits;
  AttentionOptions options = p.options();
  options.executor = &serial_executor();
  attention(p.query, p.key, p.value, out, options);
  const unsigned after = _mm_getcsr() & kControlBits;
  _mm_setcsr(saved);
  EXPECT_EQ(after, before);
  EXPECT_TRUE(same_bits(out.values(), expected.out.values()));
}

#endif

}  // namespace
}  // namespace regard::test
