// tests/api/dtype_test.cc - conversions of bf16 and f16 against arithmetic on their definitions.
#include "regard/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/random.h"

namespace regard::test {
namespace {

// A storage format by its numbers alone.
struct Format {
  int significand;  // stored bits
  int exponent;     // stored bits
  int bias() const { return (1 << (exponent - 1)) - 1; }
  int sign_bit() const { return significand + exponent; }

  // What a pattern means (IEEE 754, section 3.4).
  double value(std::uint32_t bits) const {
    const double sign = bits >> sign_bit() & 1 ? -1 : 1;
    const int e = static_cast<int>(bits >> significand) & ((1 << exponent) - 1);
    const double fraction = static_cast<double>(bits & ((1U << significand) - 1U));
    if (e == (1 << exponent) - 1) {
      return fraction != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
    }
    if (e == 0) return sign * std::ldexp(fraction, 1 - bias() - significand);
    return sign * std::ldexp(fraction + std::ldexp(1.0, significand), e - bias() - significand);
  }
};
constexpr Format kBf16{7, 8}, kF16{10, 5};

bool same(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

template <class T>
double widened(std::uint32_t bits) {
  return static_cast<double>(
      static_cast<float>(std::bit_cast<T>(static_cast<std::uint16_t>(bits))));
}

// Rounding a float between two neighbours of the format, `low` and the next larger one: the nearer,
// the even one at equal distance. Works on magnitudes; beyond the largest number the next one is
// what the pattern of infinity would be, were it a number.
template <class T>
void expect_rounds_between(const Format& format, std::uint32_t low) {
  const double below = format.value(low);
  const std::uint32_t largest = (((1U << format.exponent) - 1U) << format.significand) - 1U;
  const double above =
      low < largest ? format.value(low + 1) : below + (below - format.value(low - 1));
  const double tie = below + (above - below) / 2;
  const float middle = static_cast<float>(tie);
  ASSERT_EQ(static_cast<double>(middle), tie);
  const float infinity = std::numeric_limits<float>::infinity();
  const auto rounded = [](float x) { return static_cast<std::uint32_t>(T(x).bits); };
  const std::uint32_t even = low % 2 == 0 ? low : low + 1, sign = 1U << format.sign_bit();
  EXPECT_EQ(rounded(static_cast<float>(below)), low);
  EXPECT_EQ(rounded(middle), even) << tie;
  EXPECT_EQ(rounded(std::nextafter(middle, 0.0F)), low) << tie;
  EXPECT_EQ(rounded(std::nextafter(middle, infinity)), low + 1) << tie;
  EXPECT_EQ(rounded(-middle), even | sign);
}

template <class T>
void expect_every_pattern(const Format& format) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    EXPECT_TRUE(same(widened<T>(bits), format.value(bits))) << bits;
    if (!std::isnan(format.value(bits))) {  // and back again
      EXPECT_EQ(T(static_cast<float>(widened<T>(bits))).bits, bits);
    }
  }
}

template <class T>
void expect_every_tie(const Format& format) {
  const std::uint32_t infinity = ((1U << format.exponent) - 1U) << format.significand;
  for (std::uint32_t low = 0; low < infinity; ++low) expect_rounds_between<T>(format, low);
}

// The nearest of the format's numbers found by search, for floats of any exponent.
template <class T>
void expect_random_floats(const Format& format) {
  std::vector<double> numbers;
  const std::uint32_t infinity = ((1U << format.exponent) - 1U) << format.significand;
  for (std::uint32_t bits = 0; bits < infinity; ++bits) numbers.push_back(format.value(bits));
  Rng rng(1);
  for (int n = 0; n < 200'000; ++n) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(rng.integer(0, 0x7F7FFFFF)));
    const double size = static_cast<double>(x);
    const auto above = std::lower_bound(numbers.begin(), numbers.end(), size);
    if (above == numbers.end() || above == numbers.begin()) continue;  // ties: the other test
    const double got = static_cast<double>(static_cast<float>(T(x)));
    EXPECT_EQ(std::abs(got - size), std::min(*above - size, size - *(above - 1))) << x;
    EXPECT_TRUE(same(static_cast<double>(static_cast<float>(T(-x))), -got));
  }
}

template <class T>
void expect_special_numbers(std::uint16_t infinity, std::uint16_t quiet) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(T(inf).bits, infinity);
  EXPECT_EQ(T(-inf).bits, infinity | 0x8000);
  EXPECT_EQ(T(std::numeric_limits<float>::max()).bits, infinity);
  EXPECT_EQ(T(0.0F).bits, 0);
  EXPECT_EQ(T(-0.0F).bits, 0x8000);
  for (const std::uint32_t bits : {0x7F800001U, 0x7FC00000U, 0x7FFFFFFFU, 0xFF800001U}) {
    const T nan(std::bit_cast<float>(bits));
    EXPECT_EQ(nan.bits & (infinity | quiet), infinity | quiet) << bits;
    EXPECT_EQ(nan.bits >> 15, bits >> 31);
  }
}

TEST(DType, EveryBf16Widens) { expect_every_pattern<bf16>(kBf16); }
TEST(DType, EveryF16Widens) { expect_every_pattern<f16>(kF16); }
TEST(DType, EveryBf16RoundsAtItsTies) { expect_every_tie<bf16>(kBf16); }
TEST(DType, EveryF16RoundsAtItsTies) { expect_every_tie<f16>(kF16); }
TEST(DType, FloatsRoundToTheNearestBf16) { expect_random_floats<bf16>(kBf16); }
TEST(DType, FloatsRoundToTheNearestF16) { expect_random_floats<f16>(kF16); }
TEST(DType, InfinityZeroAndNotANumberInBf16) { expect_special_numbers<bf16>(0x7F80, 0x0040); }
TEST(DType, InfinityZeroAndNotANumberInF16) { expect_special_numbers<f16>(0x7C00, 0x0200); }

TEST(DType, NamesAndSizes) {
  EXPECT_STREQ(name_of(DType::kF32), "f32");
  EXPECT_STREQ(name_of(DType::kBf16), "bf16");
  EXPECT_STREQ(name_of(DType::kF16), "f16");
  EXPECT_EQ(size_of(DType::kF32), sizeof(float));
  EXPECT_EQ(size_of(DType::kBf16), sizeof(bf16));
  EXPECT_EQ(size_of(DType::kF16), sizeof(f16));
  EXPECT_EQ(dtype_of<const bf16>, DType::kBf16);
}

}  // namespace
}  // namespace regard::test
