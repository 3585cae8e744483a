// tests/api/float_mode_test.cc - the caller's rounding mode and flush-to-zero neither change bits
// nor get lost.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "regard/attention.h"
#include "support/compare.h"
#include "support/isa.h"
#include "support/problem.h"

namespace regard::test {
namespace {

#if defined(__SSE__) || defined(__aarch64__)

#if defined(__SSE__)
// MXCSR without its low six bits, which are sticky exception flags.
std::uint64_t control() { return _mm_getcsr() & 0xFFC0U; }
void set_control(std::uint64_t bits) { _mm_setcsr(static_cast<unsigned>(bits)); }
constexpr std::uint64_t kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040, kRoundUp = 0x4000,
                        kRoundToZero = 0x6000, kQuietDivision = 0x0200;
constexpr std::initializer_list<std::uint64_t> kModes{kFlushToZero | kDenormalsAreZero, kRoundUp,
                                                      kRoundToZero};
std::uint64_t with_division_trap(std::uint64_t bits) { return bits & ~kQuietDivision; }
#else
// FPCR. Few CPUs have its traps: elsewhere the bit stays 0.
std::uint64_t control() {
  std::uint64_t bits;
  asm volatile("mrs %0, fpcr" : "=r"(bits));
  return bits;
}
void set_control(std::uint64_t bits) { asm volatile("msr fpcr, %0" : : "r"(bits)); }
constexpr std::uint64_t kFlushToZero = 1U << 24, kFlushF16ToZero = 1U << 19, kDefaultNan = 1U << 25,
                        kF16WithoutInfinity = 1U << 26, kRoundUp = 1U << 22,
                        kRoundToZero = 3U << 22, kDivisionTrap = 1U << 9;
constexpr std::initializer_list<std::uint64_t> kModes{kFlushToZero | kFlushF16ToZero, kDefaultNan,
                                                      kF16WithoutInfinity, kRoundUp, kRoundToZero};
std::uint64_t with_division_trap(std::uint64_t bits) { return bits | kDivisionTrap; }
#endif

// More control bits for the life of the object.
class FloatMode {
 public:
  explicit FloatMode(std::uint64_t bits) : saved_(control()) { set_control(saved_ | bits); }
  ~FloatMode() { set_control(saved_); }
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

 private:
  std::uint64_t saved_;
};

// Numbers around 1e-40, so that flushing shows, and sums that round.
Problem subnormal_problem() {
  Rng rng(1);
  Problem p = make_problem(rng, {1, 4, 2, 50, 600, 16, 16});
  p.value.for_each([](float& x) { x *= 1e-40F; });
  return p;
}

// An infinity and a NaN in f16, which some modes read as numbers or as another NaN.
Problem f16_problem() {
  Rng rng(2);
  Problem p = make_problem(
      rng, {1, 4, 2, 50, 600, 16, 16, DType::kF16, DType::kF16, DType::kF16, DType::kF16});
  p.value.set(std::numeric_limits<float>::infinity(), 0, 1, 300, 5);
  p.value.set(std::numeric_limits<float>::quiet_NaN(), 0, 0, 100, 3);
  return p;
}

void expect_same_under_every_mode(const Problem& p) {
  const Result expected = run_attention(p);
  for (const std::uint64_t mode : kModes) {
    for (int threads = 1; threads <= 2; ++threads) {
      const Result got = make_result(p);
      {
        const FloatMode caller(mode);
        const std::unique_ptr<Executor> pool = make_thread_pool(threads);  // inherits the mode
        AttentionOptions options = p.options();
        options.executor = pool.get();
        const std::uint64_t before = control();
        attention(p.query, p.key, p.value, got.out, options, {.lse = got.lse.view()});
        EXPECT_EQ(control(), before);
      }
      EXPECT_TRUE(equal_bits(got, expected)) << "control bits " << mode;
    }
  }
}

TEST(FloatMode, OfTheCallerChangesNoBitAndIsRestored) {
  const Problem p = subnormal_problem();
  REGARD_FOR_EACH_ISA(isa) {
    int subnormal = 0;
    run_attention(p).out.for_each([&](float x) { subnormal += x != 0; });
    ASSERT_GT(subnormal, 0);
    expect_same_under_every_mode(p);
  }
}

TEST(FloatMode, OfTheCallerChangesNoBitOfF16) {
  const Problem p = f16_problem();
  REGARD_FOR_EACH_ISA(isa) {
    int infinite = 0, nan = 0;
    run_attention(p).out.for_each([&](float x) {
      infinite += std::isinf(x);
      nan += std::isnan(x);
    });
    ASSERT_EQ(infinite, 100);  // one element of every row of two heads each
    ASSERT_EQ(nan, 100);
    expect_same_under_every_mode(p);
  }
}

// A float trap that the caller has switched on is neither sprung nor switched off.
TEST(FloatMode, TrapsOfTheCallerStayQuiet) {
  const Problem p = subnormal_problem();
  const Result expected = run_attention(p);
  const Tensor<4> out({1, 4, 50, 16});
  const std::uint64_t saved = control();
  set_control(with_division_trap(saved));
  const std::uint64_t before = control();
  AttentionOptions options = p.options();
  options.executor = &serial_executor();
  attention(p.query, p.key, p.value, out, options);
  const std::uint64_t after = control();
  set_control(saved);
  EXPECT_EQ(after, before);
  EXPECT_TRUE(same_bits(out.values(), expected.out.values()));
}

#endif

}  // namespace
}  // namespace regard::test
