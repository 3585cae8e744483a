// tests/exec/score_mods_test.cc - modifiers over strips of scores: against double with the derived
// bound, in order, the same bits however a strip is cut.
#include "exec/score_mods.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "plan/score_mods.h"
#include "reference/scores.h"
#include "support/random.h"

namespace regard::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t kStride = 272;

/// A strip of a random call: two KV heads, three query heads each.
struct Strip {
  std::int64_t group = 3, num_heads = 6, batch = 2, q_len = 40, kv_len = 700;
  std::vector<float> memory = std::vector<float>(24 * kStride);
  exec::ScoreStrip strip{};

  explicit Strip(Rng& rng) {
    for (float& s : memory) s = 4 * rng.normal();
    const std::int64_t sequence = rng.integer(0, batch - 1), first = rng.integer(0, kv_len - 256),
                       rows = 24;
    strip = {.tile = {.scores = memory.data(),
                      .stride = kStride,
                      .num_rows = rng.integer(1, rows),
                      .num_keys = rng.integer(1, 256),
                      .batch = sequence,
                      .kv_head = rng.integer(0, 1),
                      .heads_per_kv_head = group,
                      .row_begin = rng.integer(0, q_len * group - rows),
                      .q_offset = rng.integer(-300, 900),
                      .kv_begin = first + 512},
             .bias_batch = sequence,
             .bias_query = 0,
             .bias_key = first};
  }

  reference::Pair pair(std::int64_t r, std::int64_t j) const {
    const ScoreTile& t = strip.tile;
    const std::int64_t query = (t.row_begin + r) / group;
    return {
        .sequence = t.batch,
        .head = t.head(r),
        .heads_per_kv_head = group,
        .query = query,
        .q_offset = t.q_offset,
        .kv_position = t.kv_begin + j,
        .bias_index = {strip.bias_batch, t.head(r), strip.bias_query + query, strip.bias_key + j}};
  }
};

/// Numbers that a Bias points to, of any type, with broadcast extents.
template <class T>
struct BiasNumbers {
  std::vector<T> numbers;
  Bias bias;

  BiasNumbers(Rng& rng, const Strip& s) {
    std::array<std::int64_t, 4> shape{s.batch, s.num_heads, s.q_len, s.kv_len};
    for (std::int64_t& extent : shape) extent = rng.chance(0.3) ? 1 : extent;
    const bool transposed = rng.chance(0.3);
    if (transposed) std::swap(shape[2], shape[3]);
    TensorView<const T, 4> view(nullptr, shape);
    numbers.resize(static_cast<std::size_t>(view.size()));
    for (T& x : numbers) x = T(2 * rng.normal());
    view.data = numbers.data();
    if (transposed) {
      std::swap(view.shape[2], view.shape[3]);
      std::swap(view.strides[2], view.strides[3]);
    }
    bias.values = view;
  }
};

RelativeBias random_relative(Rng& rng, const Strip& s) {
  RelativeBias bias;
  bias.bidirectional = rng.chance(0.5);
  bias.num_buckets = 2 * rng.integer(2, 20);
  bias.max_distance = bias.num_buckets + rng.integer(0, 400);
  for (std::int64_t i = 0; i < s.num_heads * bias.num_buckets; ++i)
    bias.table.push_back(rng.normal());
  return bias;
}

UserMod every_third() {
  return {[](const ScoreTile& t) {
    for (std::int64_t r = 0; r < t.num_rows; ++r) {
      for (std::int64_t j = 0; j < t.num_keys; ++j) {
        if ((t.q_position(r) - t.kv_begin - j) % 3 == 0)
          t(r, j) += static_cast<float>(t.head(r) + t.batch);
      }
    }
  }};
}

/// Some modifiers in some order.
struct Mods {
  BiasNumbers<float> f32;
  BiasNumbers<bf16> b16;
  BiasNumbers<f16> h16;
  std::vector<ScoreMod> mods;

  Mods(Rng& rng, const Strip& s) : f32(rng, s), b16(rng, s), h16(rng, s) {
    Alibi alibi;
    for (std::int64_t h = 0; h < s.num_heads; ++h) alibi.slopes.push_back(rng.normal());
    const std::vector<ScoreMod> all{
        SoftCap{5.0F}, alibi, f32.bias, b16.bias, h16.bias, random_relative(rng, s), every_third()};
    for (std::int64_t n = rng.integer(1, 3); n > 0; --n) {
      mods.push_back(
          all[static_cast<std::size_t>(rng.integer(0, static_cast<std::int64_t>(all.size()) - 1))]);
    }
  }
};

TEST(ScoreMods, WithinTheirBound) {
  for (const std::uint64_t seed : trial_seeds(60)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Strip original(rng);
    const Mods mods(rng, original);
    const std::vector<exec::PlannedMod> planned =
        plan::plan_score_mods(mods.mods, original.num_heads);
    for (const kernels::KernelTable* table : kernels::supported_tables()) {
      Strip s = original;
      s.strip.tile.scores = s.memory.data();
      EXPECT_FALSE(exec::apply_score_mods(planned, s.strip, *table));
      const ScoreTile& tile = s.strip.tile;
      for (std::int64_t r = 0; r < tile.num_rows; ++r) {
        for (std::int64_t j = 0; j < tile.num_keys; ++j) {
          const double before =
              static_cast<double>(original.memory[static_cast<std::size_t>(r * kStride + j)]);
          const reference::Score exact = reference::modified({before, 0}, mods.mods, s.pair(r, j));
          ASSERT_NEAR(static_cast<double>(tile(r, j)), exact.value, exact.error)
              << table->isa << " " << r << ", " << j;
        }
      }
    }
  }
}

TEST(ScoreMods, SameBitsHoweverTheStripIsCut) {
  for (const std::uint64_t seed : trial_seeds(40)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    Strip whole(rng);
    Strip cut = whole;
    const Mods mods(rng, whole);
    const std::vector<exec::PlannedMod> planned = plan::plan_score_mods(mods.mods, whole.num_heads);
    const kernels::KernelTable& table = *kernels::supported_tables().front();
    whole.strip.tile.scores = whole.memory.data();
    exec::apply_score_mods(planned, whole.strip, table);
    const ScoreTile& tile = whole.strip.tile;
    for (std::int64_t r = 0; r < tile.num_rows; ++r) {
      for (std::int64_t j = 0, keys; j < tile.num_keys; j += keys) {
        keys = std::min(rng.integer(1, 40), tile.num_keys - j);
        std::vector<float> piece(48);
        std::copy_n(&cut.memory[static_cast<std::size_t>(r * kStride + j)], keys, piece.begin());
        exec::ScoreStrip part = whole.strip;
        part.tile.scores = piece.data();
        part.tile.num_rows = 1;
        part.tile.num_keys = keys;
        part.tile.row_begin += r;
        part.tile.kv_begin += j;
        part.bias_key += j;
        exec::apply_score_mods(planned, part, table);
        for (std::int64_t i = 0; i < keys; ++i) {
          ASSERT_EQ(std::bit_cast<std::uint32_t>(piece[static_cast<std::size_t>(i)]),
                    std::bit_cast<std::uint32_t>(tile(r, j + i)));
        }
      }
    }
  }
}

TEST(ScoreMods, InTheCallersOrder) {
  const float ten = 10.0F;
  const Bias bias{InputView<4>(&ten, {1, 1, 1, 1})};
  const auto applied = [&](const std::vector<ScoreMod>& mods) {
    std::vector<float> score(16, 3.0F);
    const exec::ScoreStrip strip{{score.data(), 16, 1, 1, 0, 0, 1, 0, 0, 0}, 0, 0, 0};
    exec::apply_score_mods(plan::plan_score_mods(mods, 1), strip,
                           *kernels::supported_tables().front());
    return static_cast<double>(score[0]);
  };
  EXPECT_NEAR(applied({SoftCap{5.0F}, bias}), 5 * std::tanh(0.6) + 10, 1e-5);
  EXPECT_NEAR(applied({bias, SoftCap{5.0F}}), 5 * std::tanh(2.6), 1e-5);
  EXPECT_EQ(applied({}), 3);
}

/// The bucket of a distance kv - q, found by a table whose entries are their own numbers.
float bucket(const std::vector<exec::PlannedMod>& planned, std::int64_t distance) {
  std::vector<float> score(16);
  const exec::ScoreStrip strip{{score.data(), 16, 1, 1, 0, 0, 1, 0, 0, distance}, 0, 0, 0};
  exec::apply_score_mods(planned, strip, *kernels::supported_tables().front());
  return score[0];
}

RelativeBias numbered(std::int64_t num_buckets, std::int64_t max_distance, bool bidirectional) {
  RelativeBias bias{{}, num_buckets, max_distance, bidirectional};
  for (std::int64_t i = 0; i < num_buckets; ++i) bias.table.push_back(static_cast<float>(i));
  return bias;
}

// The first distance of each bucket, by hand: 8 * 16^(k / 8) both ways, 16 * 8^(k / 16) one way,
// rounded up.
TEST(RelativeBias, BucketsOfT5) {
  const std::vector<ScoreMod> both{numbered(32, 128, true)}, past{numbered(32, 128, false)};
  const auto planned_both = plan::plan_score_mods(both, 1),
             planned_past = plan::plan_score_mods(past, 1);
  const std::array<std::int64_t, 16> begins{0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91};
  const std::array<std::int64_t, 16> long_begins{16, 19, 21, 24, 27, 31, 35, 40,
                                                 46, 52, 59, 67, 77, 87, 99, 113};
  for (std::size_t i = 0; i < 16; ++i) {
    const float n = static_cast<float>(i);
    EXPECT_EQ(bucket(planned_both, -begins[i]), n);
    if (i > 0) {
      EXPECT_EQ(bucket(planned_both, begins[i]), 16 + n);
      EXPECT_EQ(bucket(planned_both, 1 - begins[i]), n - 1);
    }
    EXPECT_EQ(bucket(planned_past, -static_cast<std::int64_t>(i)), n);
    EXPECT_EQ(bucket(planned_past, -long_begins[i]), 16 + n);
    EXPECT_EQ(bucket(planned_past, 1 - long_begins[i]), 15 + n);
  }
  EXPECT_EQ(bucket(planned_both, 1'000'000), 31);
  EXPECT_EQ(bucket(planned_both, -1'000'000), 15);
  EXPECT_EQ(bucket(planned_past, -1'000'000), 31);
  EXPECT_EQ(bucket(planned_past, 1), 0);
  EXPECT_EQ(bucket(planned_past, 1'000'000), 0);
}

TEST(RelativeBias, SmallAndOddTables) {
  for (const bool bidirectional : {false, true}) {
    for (std::int64_t buckets = bidirectional ? 4 : 2; buckets <= 24;
         buckets += bidirectional ? 2 : 1) {
      const std::int64_t exact = bidirectional ? buckets / 4 : buckets / 2;
      for (const std::int64_t most : {exact + 1, exact + 2, 3 * buckets}) {
        const RelativeBias bias = numbered(buckets, most, bidirectional);
        const auto planned = plan::plan_score_mods(std::vector<ScoreMod>{bias}, 1);
        for (std::int64_t distance = -4 * buckets; distance <= 4 * buckets; ++distance) {
          ASSERT_EQ(bucket(planned, distance),
                    static_cast<float>(reference::relative_bucket(bias, distance)))
              << buckets << " buckets, max_distance " << most << ", distance " << distance;
        }
      }
    }
  }
}

TEST(ScoreMods, SayWhenAScoreMayBeMasked) {
  const kernels::KernelTable& table = *kernels::supported_tables().front();
  const float none = -kInfinity;
  const UserMod user{[](const ScoreTile& t) { t(0, 1) = -kInfinity; }};
  const Bias bias{InputView<4>(&none, {1, 1, 1, 1})};
  const auto says = [&](const std::vector<ScoreMod>& mods, float score) {
    std::vector<float> scores(16, score);
    const exec::ScoreStrip strip{{scores.data(), 16, 1, 2, 0, 0, 1, 0, 0, 0}, 0, 0, 0};
    return exec::apply_score_mods(plan::plan_score_mods(mods, 1), strip, table);
  };
  EXPECT_TRUE(says({bias}, 1));
  EXPECT_TRUE(says({bias}, std::nanf("")));  // a masked key is skipped, whatever it holds
  EXPECT_TRUE(says({user}, 1));
  EXPECT_FALSE(says({bias, SoftCap{5.0F}}, 1));  // -5 then, a number
  EXPECT_FALSE(says({SoftCap{5.0F}}, -kInfinity));
  EXPECT_FALSE(says({Alibi{{1.0F}}}, -kInfinity));  // a weight of 0, not a mask
}

// Random tiles, full and partial: exactly the bits of scores that are -inf go.
TEST(HideMasked, ClearsThePairsBits) {
  for (const std::uint64_t seed : trial_seeds(100)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const std::int64_t rows = rng.integer(1, 24), keys = rng.integer(1, 256);
    std::vector<float> memory(static_cast<std::size_t>(rows * kStride));
    const double masked = rng.pick({0.0, 0.01, 0.5});
    for (float& s : memory) s = rng.chance(masked) ? -kInfinity : rng.normal();
    exec::ChunkTiles tiles;
    tiles.chunk_begin = 1024;
    for (auto& word : tiles.bits) {
      for (std::uint64_t& bits : word)
        bits = static_cast<std::uint64_t>(rng.integer(0, std::numeric_limits<std::int64_t>::max()));
    }
    for (std::int64_t begin = 0; begin < keys; begin += exec::kTileKeys) {
      if (rng.chance(0.2)) continue;  // a tile that nobody sees
      const TileKind kind = rng.pick({TileKind::kFull, TileKind::kPartial});
      tiles.tile[static_cast<std::size_t>(tiles.size++)] = {
          1024 + begin, 1024 + std::min(begin + exec::kTileKeys, keys), kind};
    }
    const exec::ChunkTiles before = tiles;
    const ScoreTile scores{memory.data(), kStride, rows, keys, 0, 0, 1, 0, 0, 1024};
    exec::hide_masked(scores, tiles);
    for (std::int64_t i = 0; i < tiles.size; ++i) {
      const exec::Tile &tile = tiles.tile[static_cast<std::size_t>(i)],
                       &old = before.tile[static_cast<std::size_t>(i)];
      bool any = false;
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t j = 0; j < tile.kv_end - tile.kv_begin; ++j) {
          const bool is_masked = scores(r, tile.kv_begin - 1024 + j) == -kInfinity;
          any |= is_masked;
          const bool seen = old.kind == TileKind::kFull || (before.row_bits(old, r) >> j & 1);
          const bool sees = tile.kind == TileKind::kFull || (tiles.row_bits(tile, r) >> j & 1);
          ASSERT_EQ(sees, seen && !is_masked);
        }
      }
      EXPECT_EQ(tile.kind, any ? TileKind::kPartial : old.kind);
    }
  }
}

}  // namespace
}  // namespace regard::test
