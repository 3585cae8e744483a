// tests/reference/scores_test.cc - score modifiers, sinks and storage types against results worked
// out by hand.
#include "reference/scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "regard/reference_attention.h"

namespace regard::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// One head, dimensions of 1, queries of 1, scale 1: key j's score is keys[j].
ReferenceResult attend(std::int64_t queries, std::vector<float> keys, std::vector<float> values,
                       AttentionOptions options) {
  std::vector<float> ones(static_cast<std::size_t>(queries), 1.0F);
  options.scale = 1.0F;
  if (!options.q_offset) options.q_offset = 0;
  const std::int64_t kv_len = static_cast<std::int64_t>(keys.size());
  return reference_attention({ones.data(), {1, 1, queries, 1}}, {keys.data(), {1, 1, kv_len, 1}},
                             {values.data(), {1, 1, kv_len, 1}}, options);
}

// The score of one key under the options: its log-sum-exp.
double score_of(float score, AttentionOptions options) {
  return attend(1, {score}, {0}, std::move(options)).lse[0];
}

TEST(ScoreMods, SoftCap) {
  EXPECT_NEAR(score_of(3, {.score_mods = {SoftCap{2}}}), 2 * std::tanh(1.5), 1e-15);
  EXPECT_NEAR(score_of(-500, {.score_mods = {SoftCap{30}}}), -30, 1e-12);
}

TEST(ScoreMods, AlibiIsTheDistanceEitherWay) {
  const AttentionOptions options{.q_offset = 5, .score_mods = {Alibi{{0.25F}}}};
  const ReferenceResult r = attend(1, {0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 1}, options);
  double sum = 0;
  for (int j = 0; j < 8; ++j) sum += std::exp(-0.25 * std::abs(5 - j));
  EXPECT_NEAR(r.lse[0], std::log(sum), 1e-14);
  EXPECT_NEAR(r.out[0], std::exp(-0.5) / sum, 1e-14);
}

TEST(ScoreMods, BiasIsBroadcastAndMasks) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<f16> bias{f16(0.5F), f16(-inf), f16(0.0F)};
  const InputView<4> row(bias.data(), {1, 1, 1, 3});
  const ReferenceResult r =
      attend(2, {0, 0, 0}, {1, std::nanf(""), 3}, {.score_mods = {Bias{row}}});
  const double w = std::exp(0.5);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(r.out[i], (w + 3) / (w + 1), 1e-14);
    EXPECT_TRUE(std::isfinite(r.out_bound[i]));
  }
  const std::vector<float> column{-inf, 0.0F, inf};  // one number per query
  const InputView<4> per_query(column.data(), {1, 1, 3, 1});
  const ReferenceResult c = attend(3, {0, 1}, {1, 2}, {.score_mods = {Bias{per_query}}});
  EXPECT_EQ(c.out[0], 0.0);  // sees nothing
  EXPECT_EQ(c.lse[0], -kInfinity);
  EXPECT_TRUE(std::isfinite(c.out[1]) && std::isfinite(c.out_bound[1]));
  EXPECT_TRUE(std::isnan(c.out[2]));  // +inf is no mask
}

TEST(ScoreMods, BiasOfEveryAxisIsReadWhereItLies) {
  std::vector<float> bias(2 * 2 * 2 * 3), query(2 * 2 * 2, 0.0F), key(2 * 2 * 3, 0.0F);
  for (std::size_t n = 0; n < bias.size(); ++n) bias[n] = static_cast<float>(n);
  const AttentionOptions options{.q_offset = 0, .score_mods = {Bias{{bias.data(), {2, 2, 2, 3}}}}};
  const ReferenceResult r =
      reference_attention({query.data(), {2, 2, 2, 1}}, {key.data(), {2, 2, 3, 1}},
                          {key.data(), {2, 2, 3, 1}}, options);
  const double tail = std::log(1 + std::exp(-1) + std::exp(-2));
  for (std::size_t row = 0; row < 8; ++row) {
    EXPECT_NEAR(r.lse[row], static_cast<double>(3 * row + 2) + tail, 1e-13);
  }
}

TEST(ScoreMods, UserModKnowsWhereItIs) {
  std::vector<std::array<std::int64_t, 4>> seen;
  const UserMod mod{[&](const ScoreTile& t) {
    seen.push_back({t.batch, t.head(0), t.q_position(0), t.kv_begin});
    t(0, 0) *= 2;
  }};
  std::vector<float> query(3, 1.0F), key{0.75F, -1}, value{1, 2};
  const AttentionOptions options{
      .scale = 1.0F, .q_offset = 7, .score_mods = {mod}, .kv_offset = 256};
  const ReferenceResult r =
      reference_attention({query.data(), {1, 3, 1, 1}}, {key.data(), {1, 1, 2, 1}},
                          {value.data(), {1, 1, 2, 1}}, options);
  EXPECT_NEAR(r.lse[0], std::log(std::exp(1.5) + std::exp(-2)), 1e-14);
  for (std::int64_t h = 0; h < 3; ++h) {
    for (std::int64_t j = 256; j < 258; ++j) {
      EXPECT_EQ(std::count(seen.begin(), seen.end(), std::array<std::int64_t, 4>{0, h, 7, j}), 3);
    }
  }
}

TEST(ScoreMods, OrderIsTheCallers) {
  const Alibi alibi{{1.0F}};
  const double capped_first = 2 * std::tanh(0.5) - 3, capped_last = 2 * std::tanh(-1.0);
  EXPECT_NEAR(score_of(1, {.q_offset = 3, .score_mods = {SoftCap{2}, alibi}}), capped_first, 1e-15);
  EXPECT_NEAR(score_of(1, {.q_offset = 3, .score_mods = {alibi, SoftCap{2}}}), capped_last, 1e-15);
}

// Where each bucket of Hugging Face's T5Attention._relative_position_bucket (transformers) ends:
// the largest distance before the query in buckets 0, 1, ...
struct Buckets {
  bool bidirectional;
  std::int64_t num_buckets, max_distance;
  std::vector<std::int64_t> last;
};

TEST(RelativeBias, BucketsAreT5s) {
  const std::vector<Buckets> cases{
      {true, 32, 128, {0, 1, 2, 3, 4, 5, 6, 7, 11, 15, 22, 31, 45, 63, 90}},
      {false, 32, 128, {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                        18, 20, 23, 26, 30, 34, 39, 45, 51, 58, 66, 76, 86, 98, 112}},
      {true, 12, 40, {0, 1, 2, 7, 16}},
      {false, 10, 100, {0, 1, 2, 3, 4, 9, 16, 30, 54}}};
  for (const Buckets& c : cases) {
    const RelativeBias bias{{}, c.num_buckets, c.max_distance, c.bidirectional};
    for (std::int64_t distance = 0; distance <= 1000; ++distance) {
      const std::int64_t bucket =
          std::lower_bound(c.last.begin(), c.last.end(), distance) - c.last.begin();
      EXPECT_EQ(reference::relative_bucket(bias, -distance), bucket) << distance;
      const std::int64_t after = distance == 0     ? bucket
                                 : c.bidirectional ? bucket + c.num_buckets / 2
                                                   : 0;
      EXPECT_EQ(reference::relative_bucket(bias, distance), after) << distance;
    }
  }
}

TEST(RelativeBias, ReadsItsHeadsRow) {
  const RelativeBias bias{{0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17}, 8, 16, true};
  std::vector<float> query(2, 0.0F), key(1, 0.0F);
  const AttentionOptions options{.q_offset = 1, .score_mods = {bias}};
  const ReferenceResult r =
      reference_attention({query.data(), {1, 2, 1, 1}}, {key.data(), {1, 1, 1, 1}},
                          {key.data(), {1, 1, 1, 1}}, options);
  EXPECT_EQ(r.lse[0], 1.0);
  EXPECT_EQ(r.lse[1], 11.0);
}

TEST(Sinks, TakeTheirShareOnce) {
  const std::vector<float> sinks{2.0F};
  const ReferenceResult r = attend(1, {1, 0}, {5, 3}, {.sinks = sinks});
  const double sum = std::exp(1) + 1 + std::exp(2);
  EXPECT_NEAR(r.lse[0], std::log(sum), 1e-15);
  EXPECT_NEAR(r.out[0], (5 * std::exp(1) + 3) / sum, 1e-15);
}

TEST(Sinks, AloneTheyAreTheLse) {
  const std::vector<float> sinks{-0.3F};
  const ReferenceResult r = attend(1, {1}, {5}, {.mask = !FullMask{}, .sinks = sinks});
  EXPECT_EQ(r.out[0], 0.0);
  EXPECT_EQ(r.out_bound[0], 0.0);
  EXPECT_EQ(r.lse[0], static_cast<double>(-0.3F));
  EXPECT_EQ(r.lse_bound[0], 0.0);
}

TEST(Storage, IsReadExactlyAndRoundedOnce) {
  const std::vector<bf16> key{bf16(0.3F), bf16(-1.7F)};
  const std::vector<f16> query{f16(0.1F)}, value{f16(0.7F), f16(-0.2F)};
  const auto wide = [](const auto& numbers) {
    std::vector<float> floats;
    for (const auto x : numbers) floats.push_back(static_cast<float>(x));
    return floats;
  };
  const std::vector<float> q = wide(query), k = wide(key), v = wide(value);
  const std::array<std::int64_t, 4> one{1, 1, 1, 1}, two{1, 1, 2, 1};
  const ReferenceResult exact =
      reference_attention({q.data(), one}, {k.data(), two}, {v.data(), two});
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF16}) {
    const ReferenceResult r = reference_attention({query.data(), one}, {key.data(), two},
                                                  {value.data(), two}, {}, {.out_dtype = dtype});
    EXPECT_EQ(r.out, exact.out);
    EXPECT_EQ(r.lse, exact.lse);
    const float out = static_cast<float>(r.out[0]);
    const double stored =
        static_cast<double>(dtype == DType::kF32    ? out
                            : dtype == DType::kBf16 ? static_cast<float>(bf16(out))
                                                    : static_cast<float>(f16(out)));
    EXPECT_LE(std::abs(stored - r.out[0]), r.out_bound[0]);
    const double unit = dtype == DType::kF32 ? 0x1p-24 : dtype == DType::kBf16 ? 0x1p-8 : 0x1p-11;
    EXPECT_LE(r.out_bound[0], unit * std::abs(r.out[0]) + 1.01 * exact.out_bound[0]);
  }
}

TEST(Storage, AnOutThatItsTypeCannotHoldIsNotPromised) {
  std::vector<float> one{1.0F}, large{70000.0F};
  const std::array<std::int64_t, 4> shape{1, 1, 1, 1};
  const ReferenceResult r =
      reference_attention({one.data(), shape}, {one.data(), shape}, {large.data(), shape}, {},
                          {.out_dtype = DType::kF16});
  EXPECT_EQ(r.out[0], 70000.0);
  EXPECT_EQ(r.out_bound[0], kInfinity);
}

}  // namespace
}  // namespace regard::test
