// tests/kernels/store_test.cc - rows on their way into a cache, and the scales of its rows, on
// every table.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/kernels.h"
#include "support/guarded_buffer.h"
#include "support/random.h"

namespace regard::test {
namespace {

using kernels::KernelTable;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::size_t count(std::int64_t n) { return static_cast<std::size_t>(n); }

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

/// A row between guard pages, and as many elements of T, of which none may be written beyond.
template <class T>
struct StoredRow {
  StoredRow(std::int64_t columns, Flush flush, std::size_t offset)
      : from(count(columns), flush, offset),
        to(count(columns), flush, offset, sizeof(T)),
        stored(static_cast<T*>(to.begin())) {}
  GuardedBuffer from, to;
  T* stored;
};

/// Any float, but mostly those that rounding cares about.
float any_float(Rng& rng) {
  const auto pattern = static_cast<std::uint32_t>(rng.integer(0, 0xFFFFFFFFLL));
  const float whole = static_cast<float>(rng.integer(-300, 300));
  return rng.pick({rng.normal(), std::bit_cast<float>(pattern), whole, whole + 0.5F,
                   std::bit_cast<float>(pattern & 0xFFFF8000U), 0.0F, -0.0F, 1e-40F, 65520.0F,
                   kInfinity, -kInfinity, std::nanf("")});
}

template <class T>
void stores_rounded(std::uint64_t seed) {
  for (const KernelTable* k : kernels::supported_tables()) {
    Rng rng(seed);
    const std::int64_t columns = rng.integer(1, 100);
    StoredRow<T> row(columns, rng.pick({Flush::kEnd, Flush::kStart}), count(rng.integer(0, 15)));
    for (std::int64_t i = 0; i < columns; ++i) row.from.data()[i] = any_float(rng);
    float scale = 7;
    k->store_row[kernels::index(dtype_of<T>)](row.from.data(), columns, row.stored, &scale);
    EXPECT_EQ(scale, 7) << "of no dtype but int8";
    for (std::int64_t i = 0; i < columns; ++i) {
      const float x = row.from.data()[i], want = static_cast<float>(T(x)),
                  got = static_cast<float>(row.stored[i]);
      if (std::isnan(x)) {
        EXPECT_TRUE(std::isnan(got)) << k->isa;
      } else {
        EXPECT_EQ(bits(got), bits(want)) << k->isa << " " << x;
      }
    }
  }
}

TEST(StoreRow, RoundsToNearestEven) {
  for (const std::uint64_t seed : trial_seeds(200)) {
    REGARD_TRIAL(seed);
    stores_rounded<float>(seed);
    stores_rounded<bf16>(seed);
    stores_rounded<f16>(seed);
  }
}

/// The same on every table, to the bit, and as kernels/README.md says it.
void expect_int8(const std::vector<float>& x, Flush flush, std::size_t offset) {
  const auto columns = std::ssize(x);
  float most = 0;
  for (const float v : x) most = std::max(most, std::abs(v));
  const bool tiny = most < 0x1p-100F;
  const float want_scale = tiny ? 0 : most / 127, factor = tiny ? 0 : 127 / most;
  for (const KernelTable* k : kernels::supported_tables()) {
    StoredRow<std::int8_t> row(columns, flush, offset);
    std::memcpy(row.from.data(), x.data(), x.size() * sizeof(float));
    float scale = -1;
    k->store_row[kernels::index(DType::kI8)](row.from.data(), columns, row.stored, &scale);
    ASSERT_EQ(bits(scale), bits(want_scale)) << k->isa;
    for (std::int64_t i = 0; i < columns; ++i) {
      const volatile float product = x[count(i)] * factor;
      ASSERT_EQ(row.stored[i], static_cast<int>(std::nearbyint(product)))
          << k->isa << " " << x[count(i)] << " of " << most;
    }
  }
}

TEST(StoreRow, Int8OfAnyFiniteNumbers) {
  for (const std::uint64_t seed : trial_seeds(300)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const float size = rng.pick({1.0F, 1e-38F, 3e38F, 0x1p-100F, 0x1p-99F, 1e-42F, 127.0F});
    std::vector<float> x(count(rng.integer(1, 100)));
    for (float& v : x)
      v = size * static_cast<float>(rng.pick({rng.uniform(-1, 1), 1.0, -1.0, 0.0, 0.5 / 127}));
    expect_int8(x, rng.pick({Flush::kEnd, Flush::kStart}), count(rng.integer(0, 15)));
  }
}

TEST(StoreRow, Int8TiesGoToEven) {
  std::vector<float> x{127};
  for (int i = -127; i < 127; ++i) x.push_back(static_cast<float>(i) + 0.5F);
  expect_int8(x, Flush::kEnd, 0);
  for (float& v : x) v *= 0x1p-90F;  // whose factor is as exact
  expect_int8(x, Flush::kStart, 3);
}

TEST(StoreRow, Int8OfTheLeastAndTheLargest) {
  const float largest = std::numeric_limits<float>::max();
  expect_int8({largest, -largest, largest / 254, 0}, Flush::kEnd, 0);
  expect_int8({0x1p-100F, -0x1p-100F, 0x1p-101F}, Flush::kEnd, 0);
  expect_int8({std::nextafter(0x1p-100F, 0.0F), 1e-45F}, Flush::kEnd, 0);
  expect_int8({0.0F, -0.0F}, Flush::kEnd, 0);
}

TEST(ScaleColumns, MultipliesEachOnceAndNoOther) {
  for (const std::uint64_t seed : trial_seeds(200)) {
    REGARD_TRIAL(seed);
    for (const KernelTable* k : kernels::supported_tables()) {
      Rng rng(seed);
      const std::int64_t columns = rng.integer(0, 100);
      const Flush flush = rng.pick({Flush::kEnd, Flush::kStart});
      const GuardedBuffer factors(count(columns), flush, count(rng.integer(0, 15))),
          scores(count(columns), flush, count(rng.integer(0, 15)));
      std::vector<float> want;
      for (std::int64_t j = 0; j < columns; ++j) {
        factors.data()[j] = any_float(rng);
        scores.data()[j] = any_float(rng);
        want.push_back(scores.data()[j] * factors.data()[j]);
      }
      k->scale_columns(factors.data(), columns, scores.data());
      for (std::int64_t j = 0; j < columns; ++j) {
        const float got = scores.data()[j], exact = want[count(j)];
        EXPECT_TRUE(bits(got) == bits(exact) || (std::isnan(got) && std::isnan(exact))) << k->isa;
      }
    }
  }
}

}  // namespace
}  // namespace regard::test
