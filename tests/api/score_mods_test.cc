// tests/api/score_mods_test.cc - which score modifiers are refused, and with what words.
#include "api/score_mods.h"

#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace regard::test {
namespace {

constexpr AttentionShape kShape{.batch = 2,
                                .num_heads = 4,
                                .num_kv_heads = 2,
                                .q_len = 3,
                                .kv_len = 5,
                                .head_dim = 8,
                                .value_dim = 8};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// What check_score_mods says about a modifier behind another that is right.
std::string refusal(const ScoreMod& mod) {
  try {
    api::check_score_mods(std::vector<ScoreMod>{SoftCap{30.0F}, mod}, kShape);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(CheckScoreMods, SoftCap) {
  EXPECT_EQ(refusal(SoftCap{0x1p-126F}), "");
  EXPECT_EQ(refusal(SoftCap{0x1p126F}), "");
  const std::string name = "attention: score_mods[1].cap is ",
                    expected = ", expected 2^-126..2^126";
  EXPECT_EQ(refusal(SoftCap{0.0F}), name + "0" + expected);
  EXPECT_EQ(refusal(SoftCap{-1.0F}), name + "-1" + expected);
  EXPECT_EQ(refusal(SoftCap{kInfinity}), name + "inf" + expected);
  EXPECT_EQ(refusal(SoftCap{std::numeric_limits<float>::quiet_NaN()}), name + "nan" + expected);
  EXPECT_EQ(refusal(SoftCap{1e-40F}), name + "9.99995e-41" + expected);
  EXPECT_EQ(refusal(SoftCap{3e38F}), name + "3e+38" + expected);
}

TEST(CheckScoreMods, Alibi) {
  EXPECT_EQ(refusal(Alibi{{1, 2, 3, 4}}), "");
  EXPECT_EQ(refusal(Alibi{{1, 2, 3}}),
            "attention: score_mods[1].slopes.size() is 3, expected 4 (num_heads)");
  EXPECT_EQ(refusal(Alibi{{1, 2, -kInfinity, 4}}),
            "attention: score_mods[1].slopes[2] is -inf, expected a finite number");
}

TEST(CheckScoreMods, Bias) {
  const std::vector<float> numbers(2 * 4 * 3 * 5 + 1);
  const auto bias = [&](std::array<std::int64_t, 4> shape) {
    return Bias{InputView<4>(numbers.data(), shape)};
  };
  EXPECT_EQ(refusal(bias({2, 4, 3, 5})), "");
  EXPECT_EQ(refusal(bias({1, 1, 1, 1})), "");
  EXPECT_EQ(refusal(bias({1, 4, 3, 1})), "");
  const std::string name = "attention: score_mods[1].values.shape[";
  EXPECT_EQ(refusal(bias({3, 4, 3, 5})), name + "0] is 3, expected 1 or 2 (batch)");
  EXPECT_EQ(refusal(bias({2, 2, 3, 5})), name + "1] is 2, expected 1 or 4 (num_heads)");
  EXPECT_EQ(refusal(bias({2, 4, 2, 5})), name + "2] is 2, expected 1 or 3 (q_len)");
  EXPECT_EQ(refusal(bias({2, 4, 3, 0})), name + "3] is 0, expected 1 or 5 (kv_len)");
  EXPECT_EQ(refusal(Bias{InputView<4>(static_cast<const float*>(nullptr), {1, 1, 3, 5})}),
            "attention: score_mods[1].values.data is null, expected a pointer to its elements");
  const char* odd = reinterpret_cast<const char*>(numbers.data()) + 1;
  EXPECT_EQ(refusal(Bias{InputView<4>(odd, DType::kF16, {1, 1, 3, 5}, {0, 0, 5, 1})}),
            "attention: score_mods[1].values.data is not aligned, expected an address that is a "
            "multiple of 2");
  EXPECT_EQ(refusal(Bias{InputView<4>(numbers.data(), DType::kF32, {1, 1, 3, 5},
                                      {0, 0, std::int64_t{1} << 62, 1})}),
            "attention: score_mods[1].values.strides[2] is 4611686018427387904, expected a view "
            "that fits into memory");
}

TEST(CheckScoreMods, RelativeBias) {
  const auto relative = [](std::int64_t num_buckets, std::int64_t max_distance,
                           bool bidirectional) {
    const std::size_t size =
        num_buckets > 0 && num_buckets < 100 ? static_cast<std::size_t>(4 * num_buckets) : 0;
    return RelativeBias{std::vector<float>(size), num_buckets, max_distance, bidirectional};
  };
  EXPECT_EQ(refusal(relative(32, 128, true)), "");
  EXPECT_EQ(refusal(relative(4, 2, true)), "");
  EXPECT_EQ(refusal(relative(2, 2, false)), "");
  EXPECT_EQ(refusal(relative(7, 4, false)), "");
  const std::string name = "attention: score_mods[1].";
  EXPECT_EQ(refusal(relative(2, 128, true)), name + "num_buckets is 2, expected 4..1048576");
  EXPECT_EQ(refusal(relative(1, 128, false)), name + "num_buckets is 1, expected 2..1048576");
  EXPECT_EQ(refusal(relative(9, 128, true)),
            name + "num_buckets is 9, expected an even number (bidirectional)");
  EXPECT_EQ(refusal(relative(32, 8, true)), name + "max_distance is 8, expected 9..1048576");
  EXPECT_EQ(refusal(relative(32, 16, false)), name + "max_distance is 16, expected 17..1048576");
  RelativeBias wrong = relative(32, 128, true);
  wrong.table.pop_back();
  EXPECT_EQ(refusal(wrong), name + "table.size() is 127, expected 128 (num_heads * num_buckets)");
  wrong.table.push_back(kInfinity);
  EXPECT_EQ(refusal(wrong), name + "table[127] is inf, expected a finite number");
}

TEST(CheckScoreMods, UserMod) {
  EXPECT_EQ(refusal(UserMod{[](const ScoreTile&) {}}), "");
  EXPECT_EQ(refusal(UserMod{}), "attention: score_mods[1].apply is empty, expected a function");
}

TEST(UsesPositions, AsTheModifiersDo) {
  using Mods = std::vector<ScoreMod>;
  EXPECT_FALSE(api::uses_positions(Mods{}));
  EXPECT_FALSE(api::uses_positions(Mods{SoftCap{1.0F}, Bias{}}));
  EXPECT_TRUE(api::uses_positions(Mods{SoftCap{1.0F}, Alibi{}}));
  EXPECT_TRUE(api::uses_positions(Mods{RelativeBias{}}));
  EXPECT_TRUE(api::uses_positions(Mods{UserMod{}}));
}

}  // namespace
}  // namespace regard::test
