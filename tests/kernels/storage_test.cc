// tests/kernels/storage_test.cc - packing, loading and finishing of 16-bit storage, and the bf16
// arithmetic, on every table.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/kernels.h"
#include "support/random.h"

namespace regard::test {
namespace {

using kernels::KernelTable;

std::size_t count(std::int64_t n) { return static_cast<std::size_t>(n); }

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

/// A matrix of T with random strides and any finite pattern, subnormals included.
template <class T>
struct Stored {
  Stored(Rng& rng, std::int64_t rows, std::int64_t columns)
      : step(rng.chance(0.6) ? 1 : rng.integer(2, 3)),
        stride(columns * step + rng.integer(0, 5)),
        memory(count((rows - 1) * stride + (columns - 1) * step + 1)),
        matrix{memory.data(), rows, columns, stride, step} {
    for (T& x : memory) x = T(rng.normal() * rng.pick({1.0F, 1e-6F, 100.0F}));
  }
  T at(std::int64_t r, std::int64_t c) const {
    return r < matrix.rows && c < matrix.columns ? memory[count(r * stride + c * step)] : T(0.0F);
  }
  std::int64_t step, stride;
  std::vector<T> memory;
  kernels::Matrix matrix;
};

template <class T>
void widens(std::uint64_t seed) {
  Rng rng(seed);
  const Stored<T> source(rng, rng.integer(1, 70), rng.integer(1, 70));
  const std::int64_t rows = source.matrix.rows, columns = source.matrix.columns;
  const std::size_t dtype = kernels::index(dtype_of<T>);
  for (const KernelTable* k : kernels::supported_tables()) {
    const std::int64_t panel = k->panel, stride = columns + 3;
    std::vector<float> loaded(count(rows * stride)), keys(count((rows + panel) * columns));
    std::vector<float> values(count((columns + panel) * rows));
    k->f32->load_rows[dtype](source.matrix, loaded.data(), stride);
    k->f32->pack_columns[dtype](source.matrix, keys.data());
    k->f32->pack_rows[dtype](source.matrix, rows, values.data());
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) {
        const auto want = bits(static_cast<float>(source.at(r, c)));
        ASSERT_EQ(bits(loaded[count(r * stride + c)]), want) << k->isa;
        ASSERT_EQ(bits(keys[count((r / panel * columns + c) * panel + r % panel)]), want) << k->isa;
        ASSERT_EQ(bits(values[count((c / panel * rows + r) * panel + c % panel)]), want) << k->isa;
      }
    }
  }
}

TEST(Storage, SixteenBitsAreWidenedExactly) {
  for (const std::uint64_t seed : trial_seeds(60)) {
    REGARD_TRIAL(seed);
    widens<bf16>(seed);
    widens<f16>(seed);
  }
}

// Adjacent elements go through vectors, distant ones one by one: both round as dtype.h does, for
// every float16 and its neighbourhood.
template <class T>
void finishes_alike() {
  std::vector<float> x;
  for (std::uint32_t pattern = 0; pattern < 0x10000U; ++pattern) {
    T exact;
    exact.bits = static_cast<std::uint16_t>(pattern);
    const float value = static_cast<float>(exact);
    x.push_back(value);
    x.push_back(std::nextafter(value, 1e30F));
    x.push_back(value * 1.0004F);
  }
  for (const KernelTable* k : kernels::supported_tables()) {
    std::vector<T> adjacent(x.size()), distant(2 * x.size());
    const auto n = static_cast<std::int64_t>(x.size());
    k->finish[kernels::index(dtype_of<T>)](x.data(), 1.0F, n, adjacent.data(), 1);
    k->finish[kernels::index(dtype_of<T>)](x.data(), 1.0F, n, distant.data(), 2);
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(distant[2 * i].bits, T(x[i] + 0.0F).bits) << k->isa << " " << x[i];
      if (std::isnan(x[i])) {
        ASSERT_TRUE(std::isnan(static_cast<float>(adjacent[i]))) << k->isa;
      } else {
        ASSERT_EQ(adjacent[i].bits, distant[2 * i].bits) << k->isa << " " << x[i];
      }
    }
  }
}
TEST(Storage, ResultsAreRoundedToNearestEven) {
  finishes_alike<bf16>();
  finishes_alike<f16>();
}

TEST(Storage, IsFiniteKnowsEveryPattern) {
  for (const KernelTable* k : kernels::supported_tables()) {
    for (std::uint32_t pattern = 0; pattern < 0x10000U; ++pattern) {
      std::vector<bf16> b(17);
      std::vector<f16> h(17);
      b[pattern % 17].bits = h[pattern % 17].bits = static_cast<std::uint16_t>(pattern);
      const auto finite = [](auto x) { return std::isfinite(static_cast<float>(x)); };
      ASSERT_EQ(k->is_finite[1]({b.data(), 1, 17, 17, 1}), finite(b[pattern % 17]))
          << k->isa << " " << pattern;
      ASSERT_EQ(k->is_finite[2]({h.data(), 1, 17, 17, 1}), finite(h[pattern % 17]))
          << k->isa << " " << pattern;
    }
  }
}

/// A pair of bf16 out of a word.
float half_of(float word, int i) {
  return std::bit_cast<float>(i == 1 ? bits(word) & 0xFFFF0000U : bits(word) << 16);
}

// Packing by pairs and multiplying them, against the instruction's definition: the odd element
// first, each step rounded.
TEST(Storage, PairsOfBf16) {
  for (const KernelTable* k : kernels::supported_tables()) {
    if (k->bf16 == nullptr) continue;
    for (const std::uint64_t seed : trial_seeds(60)) {
      REGARD_TRIAL(seed);
      Rng rng(seed);
      const std::int64_t keys = rng.integer(1, 40), depth = rng.integer(1, 40),
                         rows = rng.integer(1, 13);
      const Stored<bf16> query(rng, rows, depth), key(rng, keys, depth), value(rng, depth, keys);
      const std::int64_t words = k->bf16->words(depth), panels = (keys + k->panel - 1) / k->panel;
      const std::int64_t width = panels * k->panel;
      std::vector<float> a(count(rows * words)), by_column(count(words * width)),
          by_row(count(words * width));
      std::vector<float> c(count(rows * width)), d(c.size());
      k->bf16->load_rows[1](query.matrix, a.data(), words);
      k->bf16->pack_columns[1](key.matrix, by_column.data());
      k->bf16->pack_rows[1](value.matrix, words, by_row.data());
      kernels::Product p{.a = a.data(),
                         .a_stride = words,
                         .rows = rows,
                         .b = by_column.data(),
                         .b_panel = words * k->panel,
                         .panels = panels,
                         .depth = words,
                         .c = c.data(),
                         .c_stride = width,
                         .scale = 0.5F,
                         .accumulate = false};
      k->bf16->product(p);
      p.b = by_row.data();
      p.c = d.data();
      k->bf16->product(p);
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t j = 0; j < keys; ++j) {
          float score = 0, out = 0;
          for (std::int64_t i = 0; i < words; ++i) {
            for (const int half : {1, 0}) {
              const auto x = static_cast<float>(query.at(r, 2 * i + half));
              score = std::fma(x, static_cast<float>(key.at(j, 2 * i + half)), score);
              out = std::fma(x, static_cast<float>(value.at(2 * i + half, j)), out);
            }
            ASSERT_EQ(bits(half_of(a[count(r * words + i)], 0)),
                      bits(static_cast<float>(query.at(r, 2 * i))));
          }
          ASSERT_EQ(bits(c[count(r * width + j)]), bits(score * 0.5F))
              << k->isa << " depth " << depth;
          ASSERT_EQ(bits(d[count(r * width + j)]), bits(out * 0.5F))
              << k->isa << " depth " << depth;
        }
      }
    }
  }
}

// The weights of pairs are those of floats, rounded; the sum is that of the unrounded ones.
TEST(Storage, WeightsOfPairsAreRoundedAfterTheSum) {
  for (const KernelTable* k : kernels::supported_tables()) {
    if (k->bf16 == nullptr) continue;
    for (std::int64_t columns = 1; columns <= 256; columns += columns < 70 ? 1 : 31) {
      Rng rng(static_cast<std::uint64_t>(columns));
      std::vector<float> scores(256), words(256);
      for (float& s : scores) s = rng.normal() * 3;
      words = scores;
      float max[2], sum[2];
      k->f32->softmax({scores.data(), 256, 1, columns, max, sum});
      k->bf16->softmax({words.data(), 256, 1, columns, max + 1, sum + 1});
      EXPECT_EQ(bits(max[0]), bits(max[1]));
      EXPECT_EQ(bits(sum[0]), bits(sum[1]));
      for (std::int64_t j = 0; j < (columns + 1) / 2 * 2; ++j) {
        const float want = j < columns ? static_cast<float>(bf16(scores[count(j)])) : 0.0F;
        ASSERT_EQ(bits(half_of(words[count(j / 2)], static_cast<int>(j % 2))), bits(want))
            << columns << " " << j;
      }
    }
  }
}

}  // namespace
}  // namespace regard::test
