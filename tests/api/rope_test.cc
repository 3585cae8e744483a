// tests/api/rope_test.cc - rotary positions against the formulas in long double, within a derived
// bound, and their bits.
#include "regard/rope.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/random.h"
#include "support/tensor.h"

namespace regard::test {
namespace {

using Wide = long double;

/// One element by the definition, and how far the result may be from it.
struct Expected {
  double value;
  double bound;
};

double storage_unit(DType dtype) {
  return dtype == DType::kF32 ? 0 : dtype == DType::kBf16 ? 0x1p-8 : 0x1p-11;
}
double storage_least(DType dtype) { return dtype == DType::kF16 ? 0x1p-25 : 0x1p-134; }

/// x cos t + y sin t times m, x and y exact. The angle, a product in double of a frequency that is
/// right to 2^-51, is off by 2^-50 |t|; cos and sin add 2^-52 and are rounded to float32 (u); two
/// products and a sum are rounded (2 u more for each term); then the storage type rounds.
Expected turned(float x, float y, Wide angle, double m, DType dtype) {
  const double u = 0x1p-24;
  const double cos = static_cast<double>(std::cos(angle)),
               sin = static_cast<double>(std::sin(angle));
  const double xm = static_cast<double>(x) * m, ym = static_cast<double>(y) * m;
  const double value = xm * cos + ym * sin;
  const double off = 0x1p-50 * static_cast<double>(std::abs(angle)) + 0x1p-51;
  double bound = 3.001 * u * (std::abs(xm * cos) + std::abs(ym * sin));
  bound += (1 + 4 * u) * off * (std::abs(xm) + std::abs(ym)) + 0x1p-147;
  bound += storage_unit(dtype) * (std::abs(value) + bound) + storage_least(dtype);
  return {value, bound};
}

Tensor<4> random_tensor(Rng& rng, const std::array<std::int64_t, 4>& shape, bool may_broadcast) {
  const Tensor<4> tensor(shape, random_layout<4>(rng, may_broadcast),
                         rng.pick({DType::kF32, DType::kF32, DType::kBf16, DType::kF16}));
  tensor.for_each([&](float& x) { x = rng.normal(); });
  return tensor;
}

Wide plain_frequency(std::int64_t i, std::int64_t dim, double base) {
  return std::pow(static_cast<Wide>(base), -static_cast<Wide>(2 * i) / static_cast<Wide>(dim));
}

TEST(Rope, WithinItsBound) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const std::int64_t dim = rng.integer(2, 70);
    const bool is_split = rng.chance(0.5), is_partial = dim % 2 != 0 || rng.chance(0.4);
    const std::int64_t rotary = is_partial ? 2 * rng.integer(1, dim / 2) : dim;
    const RopeOptions options{.base = rng.pick({10000.0, 500000.0}),
                              .style = is_split ? RopeStyle::kHalfSplit : RopeStyle::kInterleaved,
                              .rotary_dim = is_partial ? rotary : 0};
    const std::array<std::int64_t, 4> shape{rng.integer(0, 3), rng.integer(1, 4),
                                            rng.integer(0, 40), dim};
    const Tensor<4> x = random_tensor(rng, shape, true), out = random_tensor(rng, shape, false);
    const std::int64_t first = rng.integer(-100, 1 << rng.integer(1, 20));
    const Rope rope(dim, options);
    EXPECT_EQ(rope.head_dim(), dim);
    EXPECT_EQ(rope.attention_factor(), 1);
    rope.apply(x, out, first);
    for (std::int64_t b = 0; b < shape[0]; ++b) {
      for (std::int64_t h = 0; h < shape[1]; ++h) {
        for (std::int64_t n = 0; n < shape[2]; ++n) {
          for (std::int64_t i = 0; i < rotary / 2; ++i) {
            const std::int64_t at_a = is_split ? i : 2 * i,
                               at_b = is_split ? i + rotary / 2 : 2 * i + 1;
            const Wide angle =
                static_cast<Wide>(first + n) * plain_frequency(i, rotary, options.base);
            const float a = x.get(b, h, n, at_a), v = x.get(b, h, n, at_b);
            const Expected low = turned(a, -v, angle, 1, out.dtype()),
                           high = turned(v, a, angle, 1, out.dtype());
            ASSERT_NEAR(static_cast<double>(out.get(b, h, n, at_a)), low.value, low.bound);
            ASSERT_NEAR(static_cast<double>(out.get(b, h, n, at_b)), high.value, high.bound);
          }
          for (std::int64_t d = rotary; d < dim; ++d) {
            const float kept = x.get(b, h, n, d);
            const float want = out.dtype() == DType::kBf16  ? static_cast<float>(bf16(kept))
                               : out.dtype() == DType::kF16 ? static_cast<float>(f16(kept))
                                                            : kept;
            ASSERT_EQ(out.get(b, h, n, d), want);
          }
        }
      }
    }
    EXPECT_TRUE(out.gaps_untouched());
  }
}

std::vector<float> rotated(const Rope& rope, const Tensor<4>& x,
                           std::span<const std::int64_t> positions, Executor* executor = nullptr) {
  const Tensor<4> out(x.shape());
  rope.apply(x, out, positions, executor);
  return out.values();
}

std::vector<std::int64_t> positions_of(Rng& rng, std::int64_t count) {
  std::vector<std::int64_t> positions;
  for (std::int64_t i = 0; i < count; ++i) positions.push_back(rng.integer(-50, 100'000));
  return positions;
}

TEST(Rope, ATokenDependsOnItselfAndItsPosition) {
  Rng rng(3);
  const std::int64_t batch = 2, heads = 3, tokens = 50, dim = 20;
  const Tensor<4> x({batch, heads, tokens, dim});
  x.for_each([&](float& v) { v = rng.normal(); });
  const std::vector<std::int64_t> positions = positions_of(rng, batch * tokens);
  for (const RopeStyle style : {RopeStyle::kHalfSplit, RopeStyle::kInterleaved}) {
    const Rope rope(dim, {.style = style, .rotary_dim = 12});
    const std::vector<float> all = rotated(rope, x, positions, &serial_executor());
    for (int threads = 2; threads <= 4; ++threads) {
      const std::unique_ptr<Executor> pool = make_thread_pool(threads);
      EXPECT_TRUE(same_bits(rotated(rope, x, positions, pool.get()), all));
    }
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t h = 0; h < heads; ++h) {
        for (const std::int64_t n : {0, 15, 16, 49}) {
          std::vector<float> alone(static_cast<std::size_t>(dim));
          rope.apply(TensorView<const float, 4>(&x.view()(b, h, n, 0), {1, 1, 1, dim}),
                     TensorView<float, 4>(alone.data(), {1, 1, 1, dim}),
                     positions[static_cast<std::size_t>(b * tokens + n)]);
          const auto at = all.begin() + ((b * heads + h) * tokens + n) * dim;
          EXPECT_TRUE(same_bits(alone, {at, at + dim}));
        }
      }
    }
  }
}

TEST(Rope, PositionsInAnyForm) {
  Rng rng(4);
  const Tensor<4> x({3, 2, 20, 8});
  x.for_each([&](float& v) { v = rng.normal(); });
  std::vector<std::int64_t> shared, each;
  for (std::int64_t b = 0; b < 3; ++b) {
    for (std::int64_t n = 0; n < 20; ++n) each.push_back(7 + n);
  }
  shared.assign(each.begin(), each.begin() + 20);
  const Rope rope(8);
  const Tensor<4> out(x.shape());
  rope.apply(x, out, 7);
  EXPECT_TRUE(same_bits(rotated(rope, x, shared), out.values()));
  EXPECT_TRUE(same_bits(rotated(rope, x, each), out.values()));
}

TEST(Rope, InPlace) {
  for (const std::uint64_t seed : trial_seeds(40)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Tensor<4> x = random_tensor(rng, {2, 3, rng.integer(1, 30), 10}, false);
    const RopeStyle style = rng.pick({RopeStyle::kHalfSplit, RopeStyle::kInterleaved});
    const Rope rope(10, {.style = style, .rotary_dim = rng.pick<std::int64_t>({0, 6})});
    const Tensor<4> apart(x.shape(), {}, x.dtype());
    rope.apply(x, apart, 5);
    rope.apply(x, x, 5);
    EXPECT_TRUE(same_bits(x.values(), apart.values()));
    EXPECT_TRUE(x.gaps_untouched());
  }
}

// What rotary positions are for: the score depends on the distance alone.
TEST(Rope, ScoresDependOnTheDistance) {
  Rng rng(5);
  const Tensor<4> q({1, 1, 1, 64}), k({1, 1, 1, 64});
  q.for_each([&](float& v) { v = rng.normal(); });
  k.for_each([&](float& v) { v = rng.normal(); });
  const Rope rope(64, {.style = RopeStyle::kInterleaved});
  const auto score = [&](std::int64_t q_position, std::int64_t k_position) {
    const std::vector<float> a = rotated(rope, q, std::vector{q_position}),
                             b = rotated(rope, k, std::vector{k_position});
    double sum = 0;
    for (std::size_t i = 0; i < 64; ++i)
      sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return sum;
  };
  EXPECT_NEAR(score(1000, 990), score(10, 0), 1e-4);
  EXPECT_GT(std::abs(score(1000, 990) - score(1000, 980)), 1e-2);
}

TEST(Rope, WhateverTheRoundingMode) {
  Rng rng(6);
  const Tensor<4> x({1, 2, 40, 16});
  x.for_each([&](float& v) { v = rng.normal(); });
  const std::vector<std::int64_t> positions = positions_of(rng, 40);
  const std::vector<float> calm = rotated(Rope(16), x, positions, &serial_executor());
  std::fesetround(FE_UPWARD);
  const std::vector<float> rough = rotated(Rope(16), x, positions, &serial_executor());
  EXPECT_EQ(std::fegetround(), FE_UPWARD);
  std::fesetround(FE_TONEAREST);
  EXPECT_TRUE(same_bits(rough, calm));
}

void expect_frequency(const Rope& rope, std::size_t i, double want) {
  EXPECT_NEAR(rope.frequencies()[i], want, 1e-14 * want) << i;
}

// Numbers by transformers' formulas (modeling_rope_utils.py) in double.
TEST(RopeScaling, Linear) {
  const Rope rope(64, {.scaling = RopeLinear{4}});
  ASSERT_EQ(rope.frequencies().size(), 32U);
  for (std::size_t i = 0; i < 32; ++i)
    expect_frequency(rope, i, std::pow(10000.0, -static_cast<double>(i) / 32) / 4);
}

TEST(RopeScaling, Ntk) {
  const Rope rope(64, {.scaling = RopeNtk{4}});
  expect_frequency(rope, 0, 1);
  expect_frequency(rope, 1, 0.7170983281048126);
  expect_frequency(rope, 16, 0.004889442681677163);
  expect_frequency(rope, 31, 3.3338035804083106e-05);
}

TEST(RopeScaling, DynamicNtk) {
  const Rope rope(
      64, {.scaling = RopeDynamicNtk{.factor = 2, .original_max_len = 2048, .seq_len = 8192}});
  expect_frequency(rope, 1, 0.7042693252165533);
  expect_frequency(rope, 16, 0.003662860395123454);
  expect_frequency(rope, 31, 1.905030617376177e-05);
  const Rope within(
      64, {.scaling = RopeDynamicNtk{.factor = 2, .original_max_len = 2048, .seq_len = 100}});
  for (std::size_t i = 0; i < 32; ++i)
    EXPECT_EQ(within.frequencies()[i], Rope(64).frequencies()[i]);
}

TEST(RopeScaling, Yarn) {
  const Rope rope(128, {.scaling = RopeYarn{.factor = 16, .original_max_len = 4096}});
  const std::vector<std::pair<std::size_t, double>> wanted{{0, 1},
                                                           {20, 0.056234132519034905},
                                                           {21, 0.046940859997959404},
                                                           {30, 0.00852684377296741},
                                                           {45, 0.00015177160473182487},
                                                           {46, 8.334508951020775e-05},
                                                           {63, 7.217387404309114e-06}};
  for (const auto& [i, frequency] : wanted) expect_frequency(rope, i, frequency);
  EXPECT_NEAR(rope.attention_factor(), 1.2772588722239782, 1e-15);
}

TEST(RopeScaling, YarnNotTruncated) {
  const Rope rope(64,
                  {.base = 150000,
                   .scaling = RopeYarn{.factor = 32, .original_max_len = 4096, .truncate = false}});
  const std::vector<std::pair<std::size_t, double>> wanted{
      {8, 0.050813274815461475},    {9, 0.03170569618466377},     {12, 0.006794959489732219},
      {17, 0.00012931870124506317}, {18, 3.8308812373753384e-05}, {31, 3.0235114281192144e-07}};
  for (const auto& [i, frequency] : wanted) expect_frequency(rope, i, frequency);
}

TEST(RopeScaling, YarnAttentionFactor) {
  const auto factor = [](const RopeYarn& yarn) {
    return Rope(64, {.scaling = yarn}).attention_factor();
  };
  EXPECT_EQ(factor({.factor = 40, .original_max_len = 4096, .attention_factor = 0.5}), 0.5);
  EXPECT_NEAR(
      factor({.factor = 40, .original_max_len = 4096, .mscale = 1, .mscale_all_dim = 0.707}),
      1.0857263992561355, 1e-15);
  EXPECT_NEAR(factor({.factor = 40, .original_max_len = 4096, .mscale = 0.5}),
              0.1 * std::log(40.0) + 1, 1e-15);
  EXPECT_EQ(factor({.factor = 1, .original_max_len = 4096}), 1);
  // A ramp of no length: base so large that both ends are pair 0.
  const Rope steep(4, {.base = 1e30, .scaling = RopeYarn{.factor = 2, .original_max_len = 4}});
  EXPECT_EQ(steep.frequencies()[0], 1);
  EXPECT_NEAR(steep.frequencies()[1], 0.5e-15, 1e-28);
}

// cos and sin carry the factor.
TEST(RopeScaling, AttentionFactorMultiplies) {
  const std::vector<float> x{3, 4};
  std::vector<float> out(2);
  const Rope rope(2,
                  {.scaling = RopeYarn{.factor = 1, .original_max_len = 8, .attention_factor = 2}});
  rope.apply({x.data(), {1, 1, 1, 2}}, {out.data(), {1, 1, 1, 2}}, 0);
  EXPECT_EQ(out, (std::vector<float>{6, 8}));
}

TEST(RopeScaling, Llama3) {
  const Rope rope(128, {.base = 500000, .scaling = RopeLlama3{}});
  const std::vector<std::pair<std::size_t, double>> wanted{{0, 1},
                                                           {10, 0.12868737343265052},
                                                           {28, 0.0032114459947525913},
                                                           {30, 0.0013718935677611381},
                                                           {32, 0.0005248461609929547},
                                                           {34, 0.00017850781276799638},
                                                           {40, 3.428102195952591e-05},
                                                           {63, 3.068925988914511e-07}};
  for (const auto& [i, frequency] : wanted) expect_frequency(rope, i, frequency);
  EXPECT_EQ(rope.attention_factor(), 1);
}

TEST(RopeScaling, Factors) {
  const Rope rope(8, {.base = 500000, .rotary_dim = 6, .scaling = RopeFactors{{1, 2.5, 32}}});
  const Rope plain(8, {.base = 500000, .rotary_dim = 6});
  ASSERT_EQ(rope.frequencies().size(), 3U);
  EXPECT_EQ(rope.frequencies()[0], plain.frequencies()[0]);
  EXPECT_EQ(rope.frequencies()[1], plain.frequencies()[1] / 2.5);
  EXPECT_EQ(rope.frequencies()[2], plain.frequencies()[2] / 32);
  EXPECT_EQ(rope.attention_factor(), 1);
}

template <class Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

std::string option_refusal(std::int64_t head_dim, const RopeOptions& options) {
  return refusal([&] { (void)Rope(head_dim, options); });
}
std::string scaling_refusal(const RopeScaling& scaling) {
  return option_refusal(64, {.scaling = scaling});
}

TEST(RopeErrors, Options) {
  EXPECT_EQ(option_refusal(0, {}), "Rope: head_dim is 0, expected 1..1024");
  EXPECT_EQ(option_refusal(1025, {}), "Rope: head_dim is 1025, expected 1..1024");
  EXPECT_EQ(option_refusal(7, {}), "Rope: rotary_dim is 7, expected an even number, 2..7");
  EXPECT_EQ(option_refusal(8, {.rotary_dim = 10}),
            "Rope: rotary_dim is 10, expected an even number, 2..8");
  EXPECT_EQ(option_refusal(8, {.rotary_dim = -2}),
            "Rope: rotary_dim is -2, expected an even number, 2..8");
  EXPECT_EQ(option_refusal(8, {.base = 1}), "Rope: base is 1, expected a finite number above 1");
  EXPECT_EQ(option_refusal(8, {.base = std::numeric_limits<double>::infinity()}),
            "Rope: base is inf, expected a finite number above 1");
}

TEST(RopeErrors, Scaling) {
  const std::string name = "Rope: scaling.";
  EXPECT_EQ(scaling_refusal(RopeLinear{0}), name + "factor is 0, expected a finite number above 0");
  EXPECT_EQ(scaling_refusal(RopeNtk{std::nan("")}),
            name + "factor is nan, expected a finite number above 0");
  EXPECT_EQ(option_refusal(2, {.scaling = RopeNtk{2}}),
            "Rope: rotary_dim is 2, expected 4 or more (NTK scaling)");
  EXPECT_EQ(scaling_refusal(RopeDynamicNtk{0.5, 8, 8}),
            name + "factor is 0.5, expected a finite number of at least 1");
  EXPECT_EQ(scaling_refusal(RopeDynamicNtk{2, 0, 8}),
            name + "original_max_len is 0, expected 1..1099511627776");
  EXPECT_EQ(scaling_refusal(RopeDynamicNtk{2, 8, -1}),
            name + "seq_len is -1, expected 0..1099511627776");
  EXPECT_EQ(option_refusal(2, {.scaling = RopeDynamicNtk{2, 8, 8}}),
            "Rope: rotary_dim is 2, expected 4 or more (NTK scaling)");
  EXPECT_EQ(scaling_refusal(RopeYarn{.factor = 0.5}),
            name + "factor is 0.5, expected a finite number of at least 1");
  EXPECT_EQ(scaling_refusal(RopeYarn{.factor = 2}),
            name + "original_max_len is 0, expected 1..1099511627776");
  const RopeYarn yarn{.factor = 2, .original_max_len = 4096};
  RopeYarn wrong = yarn;
  wrong.beta_slow = 0;
  EXPECT_EQ(scaling_refusal(wrong), name + "beta_slow is 0, expected a finite number above 0");
  wrong = yarn;
  wrong.beta_fast = 0.5;
  EXPECT_EQ(scaling_refusal(wrong),
            name + "beta_fast is 0.5, expected a finite number of at least 1");
  wrong = yarn;
  wrong.attention_factor = 0;
  EXPECT_EQ(scaling_refusal(wrong),
            name + "attention_factor is 0, expected a finite number above 0");
  wrong = yarn;
  wrong.mscale = -1;
  EXPECT_EQ(scaling_refusal(wrong), name + "mscale is -1, expected a finite number of at least 0");
  wrong = yarn;
  wrong.mscale_all_dim = -1;
  EXPECT_EQ(scaling_refusal(wrong),
            name + "mscale_all_dim is -1, expected a finite number of at least 0");
  EXPECT_EQ(scaling_refusal(RopeFactors{{1, 2}}),
            name + "factors.size() is 2, expected rotary_dim / 2 (32)");
  EXPECT_EQ(option_refusal(4, {.scaling = RopeFactors{{1, 0}}}),
            name + "factors[] is 0, expected a finite number above 0");
  EXPECT_EQ(option_refusal(4, {.scaling = RopeFactors{{std::nan(""), 1}}}),
            name + "factors[] is nan, expected a finite number above 0");
  EXPECT_EQ(scaling_refusal(RopeLlama3{.factor = 0}),
            name + "factor is 0, expected a finite number above 0");
  EXPECT_EQ(scaling_refusal(RopeLlama3{.low_freq_factor = 0}),
            name + "low_freq_factor is 0, expected a finite number above 0");
  EXPECT_EQ(scaling_refusal(RopeLlama3{.high_freq_factor = 1}),
            name + "high_freq_factor is 1, expected a finite number above 1");
  EXPECT_EQ(scaling_refusal(RopeLlama3{.original_max_len = 0}),
            name + "original_max_len is 0, expected 1..1099511627776");
}

TEST(RopeErrors, ViewsAndPositions) {
  const Rope rope(4);
  std::vector<float> memory(48);
  const auto view = [&](std::array<std::int64_t, 4> shape) {
    return TensorView<float, 4>(memory.data(), shape);
  };
  const auto first = [&](InputView<4> x, OutputView<4> out, std::int64_t position) {
    return refusal([&] { rope.apply(x, out, position); });
  };
  const auto each = [&](const std::vector<std::int64_t>& positions) {
    return refusal([&] { rope.apply(view({2, 2, 3, 4}), view({2, 2, 3, 4}), positions); });
  };
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  EXPECT_EQ(first(view({2, 2, 3, 4}), view({2, 2, 3, 4}), 0), "");
  EXPECT_EQ(first(view({2, 2, 3, 2}), view({2, 2, 3, 4}), 0),
            "Rope: x.shape[3] is 2, expected 4 (head_dim)");
  EXPECT_EQ(first(view({2, -2, 3, 4}), view({2, 2, 3, 4}), 0),
            "Rope: x.shape[1] is -2, expected 0..1099511627776");
  EXPECT_EQ(first(view({2, 2, 3, 4}), view({2, 2, 2, 4}), 0),
            "Rope: out.shape[2] is 2, expected 3 (as x)");
  EXPECT_EQ(first({static_cast<const float*>(nullptr), {1, 1, 1, 4}}, view({1, 1, 1, 4}), 0),
            "Rope: x.data is null, expected a pointer to its elements");
  EXPECT_EQ(first(view({1, 1, 1, 4}), view({1, 1, 1, 4}), kMost + 1),
            "Rope: first_position is 1099511627777, expected -1099511627776..1099511627776");
  EXPECT_EQ(first(view({1, 1, 1, 4}), view({1, 1, 1, 4}), kMost),
            "Rope: first_position + N is 1099511627777, expected -1099511627776..1099511627776");
  EXPECT_EQ(each({0, 1, 2}), "");
  EXPECT_EQ(each({0, 1, 2, 0, 1, 2}), "");
  EXPECT_EQ(each({0, 1}), "Rope: positions.size() is 2, expected N (3) or B * N (B = 2)");
  EXPECT_EQ(each({0, 1, 2, 3, 4, 5, 6, 7, 8}),
            "Rope: positions.size() is 9, expected N (3) or B * N (B = 2)");
  EXPECT_EQ(each({0, 1, -kMost - 1}),
            "Rope: positions[2] is -1099511627777, expected -1099511627776..1099511627776");
  EXPECT_EQ(refusal([&] {
              rope.apply(view({0, 2, 0, 4}), view({0, 2, 0, 4}), std::vector<std::int64_t>{});
            }),
            "");
}

}  // namespace
}  // namespace regard::test
