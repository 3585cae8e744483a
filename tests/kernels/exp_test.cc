// tests/kernels/exp_test.cc - the engine's exp against double, for every float of its domain, on
// every table.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "support/isa.h"

namespace regard::test {
namespace {

// What README.md beside the kernels says; the bound of docs/numerics.md allows 2.
double most_ulps(const kernels::KernelTable& table) { return has_fma(table.isa) ? 0.89 : 1.17; }

// Distance beyond |x| u / 16, in units of the float32 result's last place.
double ulps(float got, float x, double exact) {
  const int exponent = std::max(std::ilogb(exact), -126);
  const double off = std::abs(static_cast<double>(got) - exact);
  return (off - exact * std::abs(static_cast<double>(x)) * 0x1p-28) /
         std::ldexp(1.0, exponent - 23);
}

// Every `step`-th float from -0 down to -104, where even double rounds to less than a subnormal.
// REGARD_EXHAUSTIVE=1 takes all 1.12e9.
TEST(Exp, WithinItsUlpsEverywhere) {
  const bool exhaustive = std::getenv("REGARD_EXHAUSTIVE") != nullptr;
  const std::uint64_t step = exhaustive ? 1 : 211;
  const std::uint64_t first = std::bit_cast<std::uint32_t>(-0.0F);
  const std::uint64_t last = std::bit_cast<std::uint32_t>(-104.0F);
  const auto tables = kernels::supported_tables();
  std::vector<double> worst(tables.size());
  std::vector<float> x, y;
  std::vector<double> exact;
  for (std::uint64_t bits = first; bits <= last;) {
    x.clear();
    exact.clear();
    for (; bits <= last && x.size() < 4096; bits += step) {
      x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
      exact.push_back(std::exp(static_cast<double>(x.back())));
    }
    y.resize(x.size());
    for (std::size_t t = 0; t < tables.size(); ++t) {
      tables[t]->exp(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (exact[i] < 0x1p-126) {
          ASSERT_EQ(y[i], 0.0F) << tables[t]->isa << " exp(" << x[i] << ")";
        } else {
          worst[t] = std::max(worst[t], ulps(y[i], x[i], exact[i]));
        }
      }
    }
  }
  for (std::size_t t = 0; t < tables.size(); ++t) {
    EXPECT_LE(worst[t], most_ulps(*tables[t])) << tables[t]->isa;
    EXPECT_GT(worst[t], 0.49) << tables[t]->isa;  // rounding alone costs half: the test did look
    RecordProperty(std::string("ulps_") + tables[t]->isa, std::to_string(worst[t]));
  }
}

// Near the flush and near 0 every float counts, in every run.
TEST(Exp, EveryFloatWhereItIsDelicate) {
  const float log_smallest = -87.336548F;  // ln 2^-126
  for (const float centre : {log_smallest, -0.34657359F, -1.0F, -0x1p-24F, -0x1p-12F}) {
    const std::uint32_t middle = std::bit_cast<std::uint32_t>(centre);
    std::vector<float> x, y;
    for (std::uint32_t bits = middle - 50'000; bits < middle + 50'000; ++bits) {
      x.push_back(std::bit_cast<float>(bits));
    }
    y.resize(x.size());
    for (const kernels::KernelTable* table : kernels::supported_tables()) {
      table->exp(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double exact = std::exp(static_cast<double>(x[i]));
        ASSERT_LE(exact < 0x1p-126 ? static_cast<double>(y[i]) : ulps(y[i], x[i], exact),
                  exact < 0x1p-126 ? 0 : most_ulps(*table))
            << table->isa << " exp(" << x[i] << ") = " << y[i];
      }
    }
  }
}

TEST(Exp, ExactValues) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> x{0.0F, -0.0F, -1e-45F, -1e-40F, -infinity, -3.4e38F, -1000.0F, -88.0F};
  for (const kernels::KernelTable* table : kernels::supported_tables()) {
    std::vector<float> y(x.size());
    table->exp(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
    EXPECT_EQ(y, (std::vector<float>{1, 1, 1, 1, 0, 0, 0, 0})) << table->isa;
    for (std::uint32_t payload = 1; payload < 0x800000U; payload += payload < 0x10000U ? 1 : 997) {
      for (const std::uint32_t sign : {0U, 0x80000000U}) {
        const float nan = std::bit_cast<float>(sign | 0x7F800000U | payload);
        table->exp(&nan, y.data(), 1);
        ASSERT_TRUE(std::isnan(y[0])) << table->isa << " payload " << payload;
      }
    }
  }
}

// Lengths that do not fill a vector, in place or not.
TEST(Exp, AnyLength) {
  for (const kernels::KernelTable* table : kernels::supported_tables()) {
    for (std::size_t n = 0; n <= 70; ++n) {
      std::vector<float> x, y(n + 1, 7.0F);
      for (std::size_t i = 0; i < n; ++i) x.push_back(-0.1F * static_cast<float>(i));
      table->exp(x.data(), y.data(), static_cast<std::int64_t>(n));
      for (std::size_t i = 0; i < n; ++i) {
        EXPECT_LE(ulps(y[i], x[i], std::exp(static_cast<double>(x[i]))), most_ulps(*table));
      }
      EXPECT_EQ(y[n], 7.0F);
    }
  }
}

}  // namespace
}  // namespace regard::test
