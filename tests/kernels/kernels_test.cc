// tests/kernels/kernels_test.cc - each kernel of every table against its contract in README.md.
#include "kernels/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "support/guarded_buffer.h"
#include "support/isa.h"
#include "support/random.h"

namespace regard::test {
namespace {

using kernels::KernelTable;

constexpr float kNone = -std::numeric_limits<float>::infinity();

void fill(const GuardedBuffer& buffer, Rng& rng) {
  for (std::size_t i = 0; i < buffer.size(); ++i) buffer.data()[i] = rng.normal();
}

std::size_t count(std::int64_t n) { return static_cast<std::size_t>(n); }

/// Same bits; a NaN equals a NaN.
::testing::AssertionResult same(float got, float want) {
  if (std::memcmp(&got, &want, sizeof got) == 0 || (std::isnan(got) && std::isnan(want))) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << got << " is not " << want;
}

/// What the contract says of one element: a chain of (fused) multiply-adds, k ascending.
float chain(const KernelTable& k, const kernels::Product& p, std::int64_t r, std::int64_t j,
            float start) {
  float sum = start;
  const float* panel = p.b + j / k.panel * p.b_panel;
  for (std::int64_t i = 0; i < p.depth; ++i) {
    const float a = p.a[r * p.a_stride + i], b = panel[i * k.panel + j % k.panel];
    const volatile float product = a * b;
    sum = has_fma(k.isa) ? std::fma(a, b, sum) : sum + product;
  }
  return sum * p.scale;
}

TEST(Kernels, ProductIsOneChainPerElement) {
  for (const KernelTable* k : kernels::supported_tables()) {
    for (const std::uint64_t seed : trial_seeds(200)) {
      REGARD_TRIAL(seed);
      Rng rng(seed);
      const std::int64_t rows = rng.integer(1, 29), depth = rng.integer(0, 70),
                         panels = rng.integer(1, 3);
      const std::int64_t b_depth = depth + rng.integer(0, 3), a_stride = depth + rng.integer(0, 3);
      const std::int64_t width = panels * k->panel, c_stride = width + rng.integer(0, 5);
      const Flush flush = rng.chance(0.5) ? Flush::kEnd : Flush::kStart;
      const GuardedBuffer a(count(std::max<std::int64_t>(1, (rows - 1) * a_stride + depth)), flush);
      const GuardedBuffer b(
          count(std::max<std::int64_t>(1, ((panels - 1) * b_depth + depth) * k->panel)), flush);
      const GuardedBuffer c(count((rows - 1) * c_stride + width), flush);
      for (const GuardedBuffer* buffer : {&a, &b, &c}) fill(*buffer, rng);
      const std::vector<float> before(c.data(), c.data() + c.size());
      const int start = static_cast<int>(rng.integer(0, 2));  // from 0, going on, added
      const kernels::Product p{.a = a.data(),
                               .a_stride = a_stride,
                               .rows = rows,
                               .b = b.data(),
                               .b_panel = b_depth * k->panel,
                               .panels = panels,
                               .depth = depth,
                               .c = c.data(),
                               .c_stride = c_stride,
                               .scale = rng.pick({1.0F, 0.125F, -0.3F}),
                               .accumulate = start == 1,
                               .add = start == 2};
      k->f32->product(p);
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(c.size()); ++i) {
        const std::int64_t r = i / c_stride, j = i % c_stride;
        const float old = before[count(i)];
        float want = old;  // gaps between rows stay as they were
        if (j < width) want = chain(*k, p, r, j, start == 1 ? old : 0.0F);
        if (j < width && start == 2) want = old + want;
        ASSERT_TRUE(same(c.data()[i], want))
            << k->isa << " row " << r << " column " << j << " depth " << depth;
      }
    }
  }
}

/// A matrix with random strides, columns adjacent or not.
struct Strided {
  Strided(Rng& rng, std::int64_t rows, std::int64_t columns)
      : step(rng.chance(0.5) ? 1 : rng.integer(2, 4)),
        row(columns * step + rng.integer(0, 7)),
        buffer(count((rows - 1) * row + (columns - 1) * step + 1),
               rng.chance(0.5) ? Flush::kEnd : Flush::kStart),
        matrix{buffer.data(), rows, columns, row, step} {
    fill(buffer, rng);
  }
  float at(std::int64_t r, std::int64_t c) const {
    return r < matrix.rows && c < matrix.columns ? buffer.data()[r * row + c * step] : 0.0F;
  }
  std::int64_t step, row;
  GuardedBuffer buffer;
  kernels::Matrix matrix;
};

TEST(Kernels, PackColumnsTransposesIntoPanels) {
  for (const KernelTable* k : kernels::supported_tables()) {
    for (const std::uint64_t seed : trial_seeds(200)) {
      REGARD_TRIAL(seed);
      Rng rng(seed);
      const Strided source(rng, rng.integer(1, 70), rng.integer(1, 40));
      const std::int64_t panels = (source.matrix.rows + k->panel - 1) / k->panel,
                         depth = source.matrix.columns;
      const GuardedBuffer packed(count(panels * depth * k->panel));
      std::fill_n(packed.data(), packed.size(), 7.0F);
      k->f32->pack_columns[0](source.matrix, packed.data());
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(packed.size()); ++i) {
        const std::int64_t panel = i / (depth * k->panel), column = i / k->panel % depth;
        ASSERT_TRUE(same(packed.data()[i], source.at(panel * k->panel + i % k->panel, column)))
            << k->isa << " " << i;
      }
    }
  }
}

TEST(Kernels, PackRowsCopiesIntoPanelsAndIsFiniteNotices) {
  for (const KernelTable* k : kernels::supported_tables()) {
    for (const std::uint64_t seed : trial_seeds(200)) {
      REGARD_TRIAL(seed);
      Rng rng(seed);
      Strided source(rng, rng.integer(1, 20), rng.integer(1, 70));
      const bool poison = rng.chance(0.5);
      if (poison) {
        const std::int64_t r = rng.integer(0, source.matrix.rows - 1),
                           c = rng.integer(0, source.matrix.columns - 1);
        source.buffer.data()[r * source.row + c * source.step] =
            rng.pick({std::nanf(""), kNone, -kNone});
      }
      const std::int64_t panels = (source.matrix.columns + k->panel - 1) / k->panel;
      const std::int64_t depth = source.matrix.rows + rng.integer(0, 3);
      const GuardedBuffer packed(count(((panels - 1) * depth + source.matrix.rows) * k->panel));
      EXPECT_EQ(k->is_finite[0](source.matrix), !poison) << k->isa;
      k->f32->pack_rows[0](source.matrix, depth, packed.data());
      for (std::int64_t panel = 0; panel < panels; ++panel) {
        for (std::int64_t i = 0; i < source.matrix.rows * k->panel; ++i) {
          const float want = source.at(i / k->panel, panel * k->panel + i % k->panel);
          ASSERT_TRUE(same(packed.data()[panel * depth * k->panel + i], want))
              << k->isa << " " << i;
        }
      }
    }
  }
}

TEST(Kernels, MaskWritesMinusInfinityWhereTheBitIsZero) {
  for (const KernelTable* k : kernels::supported_tables()) {
    Rng rng(1);
    for (std::int64_t columns = 0; columns <= 64; ++columns) {
      const GuardedBuffer scores(count(std::max<std::int64_t>(columns, 1)));
      fill(scores, rng);
      const std::vector<float> before(scores.data(), scores.data() + columns);
      const auto bits =
          static_cast<std::uint64_t>(rng.integer(0, std::numeric_limits<std::int64_t>::max() - 1)) *
          3;
      k->mask(scores.data(), columns, bits);
      for (std::int64_t j = 0; j < columns; ++j) {
        ASSERT_TRUE(same(scores.data()[j], bits >> j & 1 ? before[count(j)] : kNone))
            << k->isa << " " << j;
      }
    }
  }
}

/// The sum of weights as the contract orders it: 16 virtual lanes, then i with i + 8, + 4, + 2,
/// + 1.
float lane_sum(const float* weights, std::int64_t columns) {
  std::vector<float> lane(16, 0.0F);
  for (std::int64_t j = 0; j < columns; ++j) lane[count(j % 16)] += weights[j];
  for (std::size_t half = 8; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}

TEST(Kernels, SoftmaxTakesTheMaximumFirstAndSumsInSixteenLanes) {
  for (const KernelTable* k : kernels::supported_tables()) {
    for (std::int64_t columns = 1; columns <= 256; columns += columns < 70 ? 1 : 31) {
      Rng rng(static_cast<std::uint64_t>(columns));
      const std::int64_t padded = (columns + 15) / 16 * 16, rows = 3;
      const GuardedBuffer scores(count(rows * padded)), max(3), sum(3);
      fill(scores, rng);
      std::fill_n(scores.data() + padded, padded, kNone);  // a row that sees nothing
      scores.data()[2 * padded] = std::nanf("");
      std::vector<float> weights(scores.data(), scores.data() + columns);
      const float peak = *std::max_element(weights.begin(), weights.end());
      float nothing = -69.0F;
      k->exp(&nothing, &nothing, 1);
      for (float& w : weights) w = std::max(w - peak, -69.0F);
      k->exp(weights.data(), weights.data(), columns);
      for (float& w : weights) w -= nothing;

      k->f32->softmax({.scores = scores.data(),
                       .stride = padded,
                       .rows = rows,
                       .columns = columns,
                       .max = max.data(),
                       .sum = sum.data()});
      EXPECT_TRUE(same(max.data()[0], peak)) << k->isa;
      for (std::int64_t j = 0; j < columns; ++j)
        ASSERT_TRUE(same(scores.data()[j], weights[count(j)])) << k->isa;
      EXPECT_TRUE(same(sum.data()[0], lane_sum(weights.data(), columns)))
          << k->isa << " " << columns;
      EXPECT_TRUE(same(max.data()[1], kNone) && same(sum.data()[1], 0.0F)) << k->isa;
      for (std::int64_t j = 0; j < columns; ++j)
        ASSERT_TRUE(same(scores.data()[padded + j], 0.0F)) << k->isa;
      EXPECT_TRUE(std::isnan(sum.data()[2])) << k->isa;
    }
  }
}

/// States of `rows` rows in guarded memory, room for 16 at a time as the contract asks.
struct States {
  States(std::int64_t rows, std::int64_t stride, Rng& rng)
      : max(count((rows + 15) / 16 * 16)), sum(max.size()), out(count(rows * stride)) {
    for (const GuardedBuffer* buffer : {&max, &sum, &out}) fill(*buffer, rng);
    for (std::size_t i = 0; i < sum.size(); ++i) sum.data()[i] = 1.0F + std::abs(sum.data()[i]);
  }
  void make_empty(std::int64_t row, std::int64_t stride) {
    max.data()[row] = kNone;
    sum.data()[row] = 0.0F;
    std::fill_n(out.data() + row * stride, stride, 0.0F);
  }
  kernels::State state() const { return {max.data(), sum.data(), out.data()}; }
  GuardedBuffer max, sum, out;
};

TEST(Kernels, MergeWeighsBothSidesAndLeavesAnEmptyOneOut) {
  for (const KernelTable* k : kernels::supported_tables()) {
    for (const std::uint64_t seed : trial_seeds(60)) {
      REGARD_TRIAL(seed);
      Rng rng(seed);
      const std::int64_t rows = rng.integer(3, 48), stride = rng.integer(1, 3) * k->panel;
      States left(rows, stride, rng), right(rows, stride, rng);
      left.make_empty(0, stride);
      right.make_empty(1, stride);
      left.make_empty(2, stride);
      right.make_empty(2, stride);
      const std::vector<float> old(right.out.data(), right.out.data() + right.out.size());
      const std::vector<float> old_max(right.max.data(), right.max.data() + rows);
      const std::vector<float> old_sum(right.sum.data(), right.sum.data() + rows);
      k->merge(left.state(), right.state(), rows, stride);

      for (std::int64_t r = 0; r < rows; ++r) {
        const float max = std::max(left.max.data()[r], old_max[count(r)]),
                    shift = max == kNone ? 0.0F : max;
        float factors[2] = {left.max.data()[r] - shift, old_max[count(r)] - shift};
        k->exp(factors, factors, 2);
        const auto merged = [&](float a, float b) {
          const float scaled = a * factors[0];
          return has_fma(k->isa) ? std::fma(b, factors[1], scaled) : b * factors[1] + scaled;
        };
        EXPECT_TRUE(same(right.max.data()[r], max)) << k->isa;
        EXPECT_TRUE(same(right.sum.data()[r], merged(left.sum.data()[r], old_sum[count(r)])))
            << k->isa;
        for (std::int64_t i = r * stride; i < (r + 1) * stride; ++i) {
          ASSERT_TRUE(same(right.out.data()[i], merged(left.out.data()[i], old[count(i)])))
              << k->isa << " row " << r;
        }
      }
      EXPECT_TRUE(same(right.sum.data()[1], left.sum.data()[1])) << k->isa;
      EXPECT_TRUE(same(right.sum.data()[0], old_sum[0])) << k->isa;
    }
  }
}

TEST(Kernels, FinishDividesAndDropsTheSignOfZero) {
  for (const KernelTable* k : kernels::supported_tables()) {
    Rng rng(3);
    const std::int64_t rows = 5, stride = 2 * k->panel;
    States states(rows, stride, rng);
    states.out.data()[0] = -0.0F;
    const std::vector<float> before(states.out.data(), states.out.data() + states.out.size());
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t columns = stride - r, step = r % 2 + 1;
      const float sum = states.sum.data()[r];
      const GuardedBuffer to(count((columns - 1) * step + 1));
      k->finish[0](states.out.data() + r * stride, sum, columns, to.data(), step);
      for (std::int64_t i = 0; i < columns; ++i) {
        const float out = before[count(r * stride + i)], want = out == 0.0F ? 0.0F : out / sum;
        ASSERT_TRUE(same(to.data()[i * step], want)) << k->isa << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace regard::test
