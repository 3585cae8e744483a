// tests/kernels/score_mods_test.cc - the score modifiers against double and against IEEE
// arithmetic, on every table.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <vector>

#include "kernels/kernels.h"
#include "support/guarded_buffer.h"
#include "support/isa.h"
#include "support/random.h"

namespace regard::test {
namespace {

using kernels::KernelTable;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

// Distance in units of the float32 result's last place.
double ulps(float got, double exact) {
  const int exponent = exact == 0 ? -126 : std::max(std::ilogb(exact), -126);
  return std::abs(static_cast<double>(got) - exact) / std::ldexp(1.0, exponent - 23);
}

// tanh itself, cap 1 (the argument is then exact): every `step`-th positive float.
// REGARD_EXHAUSTIVE=1 takes all.
TEST(SoftCap, TanhWithinItsUlpsEverywhere) {
  const double most = 2.5;  // the error bound allows 4
  const std::uint32_t step = std::getenv("REGARD_EXHAUSTIVE") != nullptr ? 1 : 331;
  const auto tables = kernels::supported_tables();
  std::vector<double> worst(tables.size());
  for (std::uint32_t first = 0; first < bits(kInfinity);) {
    std::vector<float> x;
    for (; first < bits(kInfinity) && x.size() < 4096; first += step)
      x.push_back(std::bit_cast<float>(first));
    std::vector<double> exact;
    for (const float s : x) exact.push_back(std::tanh(static_cast<double>(s)));
    for (std::size_t t = 0; t < tables.size(); ++t) {
      std::vector<float> y = x;
      y.resize((x.size() + 15) / 16 * 16);
      tables[t]->soft_cap(y.data(), static_cast<std::int64_t>(x.size()), 1.0F);
      for (std::size_t i = 0; i < x.size(); ++i)
        worst[t] = std::max(worst[t], ulps(y[i], exact[i]));
    }
  }
  for (std::size_t t = 0; t < tables.size(); ++t) {
    EXPECT_LE(worst[t], most) << tables[t]->isa;
    EXPECT_GT(worst[t], 0.49) << tables[t]->isa;  // the test did look
    RecordProperty(std::string("ulps_") + tables[t]->isa, std::to_string(worst[t]));
  }
}

// Two roundings of the argument, tanh within 4 ulp, one rounding of the product.
TEST(SoftCap, WithinItsBoundForAnyCap) {
  constexpr double kUnit = 0x1p-24;
  Rng rng(1);
  for (const float cap : {0.5F, 3.3F, 30.0F, 50.0F, 1e4F, 0x1p-126F, 0x1p126F, 0x1.fffffep125F}) {
    std::vector<float> x;
    for (int i = 0; i < 20'000; ++i) {
      const float size = cap * static_cast<float>(std::exp2(rng.uniform(-30, 6)));
      if (std::isfinite(size)) x.push_back(rng.chance(0.5) ? size : -size);
    }
    x.resize(x.size() / 16 * 16);
    for (const KernelTable* table : kernels::supported_tables()) {
      std::vector<float> y = x;
      table->soft_cap(y.data(), static_cast<std::int64_t>(x.size()), cap);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double c = static_cast<double>(cap), s = static_cast<double>(x[i]) / c;
        const double exact = c * std::tanh(s);
        const double moved = c * std::abs(std::tanh(s * (1 + 2.001 * kUnit)) - std::tanh(s));
        const double bound = (1 + 10 * kUnit) * moved + 9.001 * kUnit * std::abs(exact) + 0x1p-149;
        ASSERT_NEAR(static_cast<double>(y[i]), exact, bound)
            << table->isa << " cap " << cap << " score " << x[i];
      }
    }
  }
}

TEST(SoftCap, SpecialScores) {
  for (const KernelTable* table : kernels::supported_tables()) {
    std::vector<float> s{kInfinity, -kInfinity, std::nanf(""), 0.0F, -0.0F, 3e38F, -3e38F, 1e-45F};
    s.resize(16);
    table->soft_cap(s.data(), 8, 30.0F);
    EXPECT_EQ(s[0], 30.0F) << table->isa;
    EXPECT_EQ(s[1], -30.0F) << table->isa;
    EXPECT_TRUE(std::isnan(s[2])) << table->isa;
    EXPECT_EQ(bits(s[3]), bits(0.0F)) << table->isa;
    EXPECT_EQ(bits(s[4]), bits(-0.0F)) << table->isa;
    EXPECT_EQ(s[5], 30.0F) << table->isa;
    EXPECT_EQ(s[6], -30.0F) << table->isa;
    EXPECT_LE(std::abs(s[7]), 1e-44F) << table->isa;
  }
}

// One multiply-add, as IEEE 754 has it (two roundings without FMA), for near and far distances.
TEST(Alibi, IsOneMultiplyAddOfTheRoundedDistance) {
  for (const std::uint64_t seed : trial_seeds(300)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const std::int64_t columns = rng.integer(1, 256), far = std::int64_t{1} << rng.integer(0, 41);
    const std::int64_t distance = rng.integer(-far, far);
    const float slope = rng.normal();
    std::vector<float> scores;
    for (std::int64_t j = 0; j < (columns + 15) / 16 * 16; ++j) scores.push_back(rng.normal());
    for (const KernelTable* table : kernels::supported_tables()) {
      std::vector<float> got = scores;
      table->alibi(got.data(), columns, slope, distance);
      for (std::int64_t j = 0; j < columns; ++j) {
        const float s = scores[static_cast<std::size_t>(j)];
        const float d = static_cast<float>(std::abs(distance - j));
        const float want = has_fma(table->isa) ? std::fma(-slope, d, s) : s - slope * d;
        ASSERT_EQ(bits(got[static_cast<std::size_t>(j)]), bits(want))
            << table->isa << " distance " << distance - j;
      }
    }
  }
}

// The distance is exact up to 2^24 and rounded once beyond.
TEST(Alibi, FarDistances) {
  constexpr std::int64_t kExact = std::int64_t{1} << 24, kInt32 = std::int64_t{1} << 31;
  for (const KernelTable* table : kernels::supported_tables()) {
    for (const std::int64_t distance :
         {kExact, kExact + 1, kInt32 - 1, kInt32, kInt32 + 255, -kInt32, -kInt32 + 40}) {
      std::vector<float> scores(48);
      table->alibi(scores.data(), 48, 1.0F, distance);
      for (std::int64_t j = 0; j < 48; ++j) {
        EXPECT_EQ(scores[static_cast<std::size_t>(j)], -static_cast<float>(std::abs(distance - j)))
            << table->isa;
      }
    }
  }
}

template <class T>
void adds(std::uint64_t seed) {
  Rng rng(seed);
  const std::int64_t columns = rng.integer(0, 100),
                     stride = rng.pick<std::int64_t>({0, 1, 1, 2, 5});
  const std::int64_t span = columns == 0 ? 0 : (columns - 1) * stride + 1;
  const GuardedBuffer memory(static_cast<std::size_t>(span), rng.pick({Flush::kEnd, Flush::kStart}),
                             static_cast<std::size_t>(rng.integer(0, 3)), sizeof(T));
  T* bias = static_cast<T*>(memory.begin());
  for (std::int64_t i = 0; i < span; ++i) {
    bias[i] = T(rng.chance(0.1) ? rng.pick({-kInfinity, kInfinity, std::nanf("")}) : rng.normal());
  }
  std::vector<float> scores;
  for (std::int64_t j = 0; j < columns; ++j) {
    scores.push_back(rng.chance(0.1) ? rng.pick({kInfinity, std::nanf("")}) : rng.normal());
  }
  for (const KernelTable* table : kernels::supported_tables()) {
    const GuardedBuffer row(scores.size());
    std::copy(scores.begin(), scores.end(), row.data());
    table->add_bias[kernels::index(dtype_of<T>)](bias, stride, columns, row.data());
    bool any = false;
    for (std::int64_t j = 0; j < columns; ++j) {
      const float s = scores[static_cast<std::size_t>(j)], b = static_cast<float>(bias[j * stride]);
      const float want = b == -kInfinity ? b : s + b;
      any |= b == -kInfinity;
      if (std::isnan(want)) {
        ASSERT_TRUE(std::isnan(row.data()[j])) << table->isa;
      } else {
        ASSERT_EQ(bits(row.data()[j]), bits(want)) << table->isa;
      }
    }
    ASSERT_EQ(table->has_minus_infinity(row.data(), columns), any) << table->isa;
  }
}

TEST(AddBias, IsOneAdditionAndMinusInfinityMasks) {
  for (const std::uint64_t seed : trial_seeds(200)) {
    REGARD_TRIAL(seed);
    adds<float>(seed);
    adds<bf16>(seed);
    adds<f16>(seed);
  }
}

TEST(HasMinusInfinity, FindsOneAnywhere) {
  for (const KernelTable* table : kernels::supported_tables()) {
    for (std::int64_t n = 1; n <= 40; ++n) {
      const GuardedBuffer row(static_cast<std::size_t>(n));
      for (std::int64_t at = 0; at < n; ++at) {
        std::fill_n(row.data(), n, kInfinity);
        row.data()[at] = -kInfinity;
        EXPECT_TRUE(table->has_minus_infinity(row.data(), n)) << table->isa;
        row.data()[at] = std::nanf("");
        EXPECT_FALSE(table->has_minus_infinity(row.data(), n)) << table->isa;
      }
    }
  }
}

TEST(ScoreMods, SameBitsOnEveryTableWithFma) {
  Rng rng(1);
  std::vector<float> scores;
  for (int i = 0; i < 4096; ++i) scores.push_back(40 * rng.normal());
  std::vector<float> first;
  int tables = 0;
  for (const KernelTable* table : kernels::supported_tables()) {
    if (!has_fma(table->isa)) continue;
    std::vector<float> got = scores;
    table->soft_cap(got.data(), 4096, 30.0F);
    table->alibi(got.data(), 4096, 0.3F, 1000);
    if (tables++ == 0) first = got;
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(bits(got[i]), bits(first[i])) << table->isa;
  }
}

}  // namespace
}  // namespace regard::test
