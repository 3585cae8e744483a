// tests/plan/tile_map_test.cc - the plan computes exactly the tiles that some query sees, and masks
// only where it must.
#include "plan/tile_map.h"

#include <gtest/gtest.h>

#include <vector>

#include "regard/isa.h"
#include "regard/plan.h"
#include "support/masks.h"
#include "support/problem.h"

namespace regard::test {
namespace {

// Counts by asking allows() for every pair: a strip is kStripRows rows, or all when they are few
// (query * heads of the group + head), a tile kTileKeys keys.
TileCounts brute_force(const Problem& p) {
  TileCounts counts;
  const auto& s = p.shape;
  const std::int64_t group = s.num_heads / s.num_kv_heads, rows = s.q_len * group;
  const std::int64_t strip = rows <= exec::kMostStripRows ? exec::kMostStripRows : exec::kStripRows;
  for (std::int64_t b = 0; b < s.batch; ++b) {
    const std::int64_t kv_len =
        p.kv_lens.empty() ? s.kv_len : p.kv_lens[static_cast<std::size_t>(b)];
    for (std::int64_t kv_head = 0; kv_head < s.num_kv_heads; ++kv_head) {
      std::vector<AnyMask> masks;
      for (std::int64_t h = 0; h < group; ++h)
        masks.push_back(p.mask.mask.at(b, kv_head * group + h));
      for (std::int64_t row = 0; row < rows; row += strip) {
        for (std::int64_t kv = 0; kv < kv_len; kv += exec::kTileKeys) {
          bool any = false, every = true;
          for (std::int64_t r = row; r < std::min(row + strip, rows); ++r) {
            const AnyMask& mask = masks[static_cast<std::size_t>(r % group)];
            for (std::int64_t j = kv; j < std::min(kv + exec::kTileKeys, kv_len); ++j) {
              const bool allowed = mask.allows(p.q_offset.value_or(0) + r / group, j);
              any |= allowed;
              every &= allowed;
            }
          }
          ++(every ? counts.full : any ? counts.partial : counts.empty);
        }
      }
    }
  }
  return counts;
}

TEST(TileMap, CountsAreTheLeastPossible) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = random_problem(rng, 1'000'000, {.varying_masks = seed % 2 == 0});
    const TileCounts expected = brute_force(p), got = Plan(p.shape, p.options()).count_tiles();
    EXPECT_EQ(got.full, expected.full) << p.describe();
    EXPECT_EQ(got.partial, expected.partial) << p.describe();
    EXPECT_EQ(got.empty, expected.empty) << p.describe();
  }
}

// Half of a long causal problem is skipped, and only the diagonal is masked.
TEST(TileMap, CausalSkipsHalf) {
  AttentionOptions options;
  options.mask = CausalMask{};
  const TileCounts tiles = Plan({1, 1, 1, 4096, 4096, 64, 64}, options).count_tiles();
  const double all = static_cast<double>(tiles.full + tiles.partial + tiles.empty);
  EXPECT_NEAR(static_cast<double>(tiles.empty) / all, 0.5, 0.02);
  EXPECT_LT(static_cast<double>(tiles.partial) / all, 0.03);
}

TEST(TileMap, BitsAreTheMask) {
  for (const std::uint64_t seed : trial_seeds(200)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const std::int64_t group = rng.integer(1, 6), row = rng.integer(0, 300);
    const NamedMask mask =
        rng.chance(0.5) ? random_mask(rng, 600, 2) : random_varying_mask(rng, 600, 2, 3 * group);
    const std::int64_t offset = rng.integer(-50, 300);
    const plan::TileMap map(mask.mask, 2, 3 * group);
    const exec::Rows strip{.sequence = rng.integer(0, 1),
                           .kv_head = rng.integer(0, 2),
                           .heads_per_kv_head = group,
                           .begin = row,
                           .end = row + rng.integer(1, exec::kMostStripRows),
                           .q_offset = offset};
    const std::int64_t kv = rng.integer(0, 2) * exec::kChunkKeys;
    const std::int64_t kv_end = kv + rng.integer(1, exec::kChunkKeys);
    std::vector<AnyMask> masks;
    for (std::int64_t h = 0; h < group; ++h)
      masks.push_back(mask.mask.at(strip.sequence, strip.kv_head * group + h));
    exec::ChunkTiles tiles;
    map.tiles(strip, kv, kv_end, tiles);
    std::int64_t at = kv;
    for (const exec::Tile& tile : tiles) {
      ASSERT_GE(tile.kv_begin, at);
      at = tile.kv_end;
      for (std::int64_t r = 0; r < strip.count(); ++r) {
        for (std::int64_t j = tile.kv_begin; j < tile.kv_end; ++j) {
          const bool bit =
              tile.kind == TileKind::kFull || (tiles.row_bits(tile, r) >> (j - tile.kv_begin) & 1);
          const AnyMask& one = masks[static_cast<std::size_t>((row + r) % group)];
          ASSERT_EQ(bit, one.allows((row + r) / group + offset, j)) << mask.name;
          if (bit) {
            ASSERT_GE(j, tiles.visible_begin);
            ASSERT_LT(j, tiles.visible_end);
          }
        }
      }
    }
    ASSERT_LE(at, kv_end);
  }
}

TEST(Plan, ExplainsItself) {
  AttentionOptions options;
  options.mask = CausalMask{};
  const Plan plan({1, 12, 4, 100, 100, 64, 32}, options);
  const std::string text = plan.explain();
  for (const char* word : {"12 heads", "100 queries x 100 keys", "head_dim 64", "value_dim 32"}) {
    EXPECT_NE(text.find(word), std::string::npos) << text;
  }
  EXPECT_NE(text.find(plan.isa()), std::string::npos) << text;
}

TEST(Plan, KeepsItsCopyOfKeyLengthsAndItsTable) {
  Rng rng(1);
  Problem p = make_problem(rng, {2, 2, 2, 5, 90, 8, 8});
  std::vector<std::int64_t> kv_lens{90, 40};
  AttentionOptions options;
  options.kv_lens = kv_lens;
  const std::vector<float> expected = run_attention(p, options).out.values();
  const Plan plan(p.shape, options);
  kv_lens = {0, 0};
  const std::string isa = plan.isa();
  force_isa(supported_isas().back());
  EXPECT_EQ(plan.isa(), isa);
  const Tensor<4> out({2, 2, 5, 8});
  const Plan copy = plan;
  copy.run(p.query, p.key, p.value, out);
  force_isa("");
  EXPECT_TRUE(same_bits(out.values(), expected));
}

}  // namespace
}  // namespace regard::test
