// tests/api/linear_blocks_test.cc - linear layers whose weights stay in 16, 8 or 4 bits: the bits
// of the layer of the same weights in float32, for any number of rows.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "regard/linear.h"
#include "support/dense.h"
#include "support/isa.h"
#include "support/refusal.h"

namespace regard::test {
namespace {

/// Random weights in blocks, and what they are in float32.
struct Blocks {
  Blocks(const BlockShape& s, Rng& rng) : shape(s) {
    const std::int64_t groups = s.in_features / s.length;
    for (std::int64_t i = 0; i < s.out_features * s.in_features; ++i)
      q.push_back(
          static_cast<std::int8_t>(s.bits == 4 ? rng.integer(0, 15) : rng.integer(-128, 127)));
    for (std::int64_t i = 0; i < s.out_features * groups; ++i) {
      scale.push_back(number(rng));
      offset.push_back(s.bits == 4 ? number(rng) * 8 : 0.0F);
    }
    for (std::int64_t i = 0; i < s.out_features * s.in_features; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const auto group = at / static_cast<std::size_t>(s.length);
      const float product = scale[group] * static_cast<float>(q[at]);
      weight.push_back(product + offset[group]);
    }
  }
  float number(Rng& rng) const {
    const auto x = static_cast<float>(rng.normal());
    return shape.scale_dtype == DType::kF16 ? static_cast<float>(f16(x)) : x;
  }
  Linear linear(std::span<const float> bias) const {
    return {shape,
            [this](std::int64_t row, const BlockRow& to) {
              const auto begin = static_cast<std::size_t>(row) * to.q.size();
              const auto group = static_cast<std::size_t>(row) * to.scale.size();
              for (std::size_t i = 0; i < to.q.size(); ++i) to.q[i] = q[begin + i];
              for (std::size_t i = 0; i < to.scale.size(); ++i) to.scale[i] = scale[group + i];
              for (std::size_t i = 0; i < to.offset.size(); ++i) to.offset[i] = offset[group + i];
            },
            bias};
  }

  BlockShape shape;
  std::vector<std::int8_t> q;
  std::vector<float> scale, offset, weight;
};

const std::vector<BlockShape> kShapes{
    {.out_features = 70, .in_features = 96, .bits = 4, .length = 32, .scale_dtype = DType::kF16},
    {.out_features = 33, .in_features = 160, .bits = 4, .length = 32, .scale_dtype = DType::kF32},
    {.out_features = 129, .in_features = 288, .bits = 8, .length = 32, .scale_dtype = DType::kF16},
    {.out_features = 300, .in_features = 48, .bits = 8, .length = 16, .scale_dtype = DType::kF32}};

std::vector<float> run(const Linear& linear, const std::vector<float>& x, std::int64_t rows) {
  std::vector<float> y(static_cast<std::size_t>(rows * linear.out_features()));
  linear.run({x.data(), {rows, linear.in_features()}}, {y.data(), {rows, linear.out_features()}},
             &serial_executor());
  return y;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(LinearBlocks, GiveTheBitsOfTheirWeightsInFloat32) {
  Rng rng(1);
  for (const BlockShape& shape : kShapes) {
    const Blocks blocks(shape, rng);
    const std::int64_t most = 210;
    std::vector<float> x(static_cast<std::size_t>(most * shape.in_features)), bias;
    for (float& v : x) v = static_cast<float>(rng.normal());
    for (std::int64_t i = 0; i < shape.out_features; ++i)
      bias.push_back(static_cast<float>(rng.normal()));
    REGARD_FOR_EACH_ISA(isa) {
      const Linear linear = blocks.linear(bias);
      const Linear floats(
          TensorView<const float, 2>(blocks.weight.data(), {shape.out_features, shape.in_features}),
          bias);
      std::vector<float> row(static_cast<std::size_t>(shape.in_features));
      linear.weight_row(7, row);
      for (std::int64_t i = 0; i < shape.in_features; ++i)
        ASSERT_EQ(row[static_cast<std::size_t>(i)],
                  blocks.weight[static_cast<std::size_t>(7 * shape.in_features + i)]);
      for (const std::int64_t rows : {1, 2, 3, 4, 5, 7, 30, 210})
        ASSERT_TRUE(same_bits(run(linear, x, rows), run(floats, x, rows))) << rows << " rows";
    }
  }
}

template <class T>
void halves() {
  Rng rng(2);
  for (const auto& [out, in] :
       {std::pair<std::int64_t, std::int64_t>{5, 7}, {70, 130}, {300, 64}}) {
    std::vector<T> weight;
    std::vector<float> wide, x(static_cast<std::size_t>(20 * in));
    for (std::int64_t i = 0; i < out * in; ++i) {
      weight.push_back(T(static_cast<float>(rng.normal())));
      wide.push_back(static_cast<float>(weight.back()));
    }
    for (float& v : x) v = static_cast<float>(rng.normal());
    REGARD_FOR_EACH_ISA(isa) {
      const Linear linear(TensorView<const T, 2>(weight.data(), {out, in}), {});
      const Linear floats(TensorView<const float, 2>(wide.data(), {out, in}), {});
      std::vector<float> row(static_cast<std::size_t>(in));
      linear.weight_row(out - 1, row);
      ASSERT_TRUE(same_bits(row, {wide.end() - in, wide.end()}));
      for (const std::int64_t rows : {1, 2, 13, 20})
        ASSERT_TRUE(same_bits(run(linear, x, rows), run(floats, x, rows)));
      EXPECT_LT(linear.weight_bytes(), floats.weight_bytes());
    }
  }
}

TEST(LinearBlocks, SixteenBitsToo) {
  halves<bf16>();
  halves<f16>();
}

TEST(LinearBlocks, Refusals) {
  Rng rng(3);
  const auto said = [&](auto change) {
    BlockShape shape = kShapes[0];
    change(shape);
    return refusal([&] { Linear linear(shape, [](std::int64_t, const BlockRow&) {}, {}); });
  };
  EXPECT_EQ(said([](auto& s) { s.bits = 5; }), "Linear: bits is 5, expected 4 or 8");
  EXPECT_EQ(said([](auto& s) { s.length = 16; }),
            "Linear: length is 16, expected 32 (of these blocks)");
  EXPECT_EQ(said([](auto& s) { s.in_features = 40; }),
            "Linear: in_features is 40, expected a multiple of 32");
  EXPECT_EQ(said([](auto& s) { s.scale_dtype = DType::kBf16; }),
            "Linear: scale_dtype is bf16, expected f16 or f32");
  EXPECT_NE(said([](auto& s) { s.out_features = 0; }).find("out_features is 0"), std::string::npos);
  const auto filled = [](std::int8_t q, float scale) {
    return refusal([&] {
      Linear linear(kShapes[0],
                    [&](std::int64_t, const BlockRow& to) {
                      to.q[3] = q;
                      to.scale[1] = scale;
                    },
                    {});
    });
  };
  EXPECT_EQ(filled(16, 1), "Linear: q[0, 3] is 16, expected 0..15");
  EXPECT_EQ(filled(1, 1e6F),
            "Linear: scale[0, 1] is 1000000.000000, expected a number that f16 holds");
  EXPECT_NE(filled(1, std::nanf("")).find("expected a finite number"), std::string::npos);
  const Linear good = Blocks(kShapes[0], rng).linear({});
  std::vector<float> row(3);
  EXPECT_THROW(good.weight_row(0, row), std::invalid_argument);
  EXPECT_THROW(good.weight_row(70, row), std::invalid_argument);
}

}  // namespace
}  // namespace regard::test
