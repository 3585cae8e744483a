// tests/api/linear_test.cc - the linear layer against double, within the bound of a dot product,
// and its bits.
#include "regard/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "support/isa.h"
#include "support/random.h"
#include "support/tensor.h"

namespace regard::test {
namespace {

Tensor<2> random_matrix(Rng& rng, std::int64_t rows, std::int64_t columns) {
  Layout<2> layout;
  layout.flush = rng.pick({Flush::kEnd, Flush::kStart});
  if (rng.chance(0.3)) std::swap(layout.order[0], layout.order[1]);
  layout.gap = {rng.integer(0, 3), rng.integer(0, 1)};
  layout.reversed = {rng.chance(0.2), rng.chance(0.2)};
  const Tensor<2> matrix({rows, columns}, layout);
  matrix.for_each([&](float& x) { x = rng.normal(); });
  return matrix;
}

// y = fl(chain of K products + bias): K + 1 roundings at most, whether the chain starts at 0 or at
// the bias.
void expect_within_bound(const Tensor<2>& x, const Tensor<2>& w, std::span<const float> bias,
                         const Tensor<2>& y) {
  const double nu = static_cast<double>(w.view().shape[1] + 1) * 0x1p-24;
  for (std::int64_t i = 0; i < x.view().shape[0]; ++i) {
    for (std::int64_t o = 0; o < w.view().shape[0]; ++o) {
      double exact = bias.empty() ? 0 : static_cast<double>(bias[static_cast<std::size_t>(o)]);
      double magnitude = std::abs(exact);
      for (std::int64_t k = 0; k < w.view().shape[1]; ++k) {
        const double product =
            static_cast<double>(x.view()(i, k)) * static_cast<double>(w.view()(o, k));
        exact += product;
        magnitude += std::abs(product);
      }
      ASSERT_NEAR(static_cast<double>(y.view()(i, o)), exact, nu / (1 - nu) * magnitude);
    }
  }
}

TEST(Linear, WithinTheBoundOfADotProduct) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const std::int64_t rows = rng.integer(0, 130), in = rng.integer(1, 300),
                       out = rng.integer(1, 150);
    const Tensor<2> x = random_matrix(rng, rows, in), w = random_matrix(rng, out, in);
    std::vector<float> bias;
    if (rng.chance(0.5)) {
      for (std::int64_t o = 0; o < out; ++o) bias.push_back(rng.normal());
    }
    REGARD_FOR_EACH_ISA(isa) {
      const Linear linear(w, bias);
      EXPECT_EQ(linear.in_features(), in);
      EXPECT_EQ(linear.out_features(), out);
      const Tensor<2> y = random_matrix(rng, rows, out);
      linear.run(x, y);
      EXPECT_TRUE(y.gaps_untouched());
      expect_within_bound(x, w, bias, y);
    }
  }
}

TEST(Linear, RowsDoNotDependOnOtherRowsThreadsOrStrides) {
  Rng rng(1);
  const std::int64_t rows = 150, in = 700, out = 90;
  const Tensor<2> x = random_matrix(rng, rows, in), w = random_matrix(rng, out, in);
  REGARD_FOR_EACH_ISA(isa) {
    const Linear linear(w, {});
    const Tensor<2> first({rows, out});
    linear.run(x, first, &serial_executor());
    for (int threads = 1; threads <= 4; ++threads) {
      const std::unique_ptr<Executor> pool = make_thread_pool(threads);
      const Tensor<2> y = random_matrix(rng, rows, out);
      linear.run(x, y, pool.get());
      EXPECT_TRUE(same_bits(y.values(), first.values()));
    }
    for (const std::int64_t i : {0, 47, 48, 149}) {
      const Tensor<2> y({1, out});
      linear.run({&x.view()(i, 0), {1, in}, x.view().strides}, y);
      for (std::int64_t o = 0; o < out; ++o) EXPECT_EQ(y.view()(0, o), first.view()(i, o));
    }
  }
}

}  // namespace
}  // namespace regard::test
