// cli/mask_drawing.cc - a mask as characters: asked tile by tile, pair by pair where it must be.
#include "cli/mask_drawing.h"

#include <algorithm>
#include <bit>

namespace regard::cli {
namespace {

constexpr std::int64_t kWordKeys = 64;

std::int64_t pairs_of(const TileRange& t) {
  return (t.q_end - t.q_begin) * (t.kv_end - t.kv_begin);
}

/// Pairs of the tile that are allowed: halves of it until the mask is certain, or its bits say it.
std::int64_t count_allowed(const AnyMask& mask, const TileRange& t) {
  const TileKind kind = mask.classify(t);
  if (kind != TileKind::kPartial) return kind == TileKind::kFull ? pairs_of(t) : 0;
  const std::int64_t queries = t.q_end - t.q_begin, keys = t.kv_end - t.kv_begin;
  if (std::max(queries, keys) > kWordKeys) {
    TileRange first = t, second = t;
    if (queries > keys) {
      first.q_end = second.q_begin = t.q_begin + queries / 2;
    } else {
      first.kv_end = second.kv_begin = t.kv_begin + keys / 2;
    }
    return count_allowed(mask, first) + count_allowed(mask, second);
  }
  std::int64_t allowed = 0;
  for (std::int64_t q = t.q_begin; q < t.q_end; ++q)
    allowed += std::popcount(mask.row_bits(q, t.kv_begin) & low_bits(keys));
  return allowed;
}

TileCounts engine_tiles(const AnyMask& mask, const MaskExtent& e) {
  AttentionOptions options;
  options.mask = mask;
  options.q_offset = e.q_offset;
  return Plan({.q_len = e.num_queries, .kv_len = e.num_keys, .head_dim = 1, .value_dim = 1},
              options)
      .count_tiles();
}

}  // namespace

std::int64_t fitting_tile(const MaskExtent& extent, std::int64_t rows, std::int64_t columns) {
  std::int64_t tile = 1;
  while (tile * rows < extent.num_queries || tile * columns < extent.num_keys) tile *= 2;
  return tile;
}

MaskDrawing draw(const AnyMask& mask, const MaskExtent& extent, std::int64_t tile) {
  MaskDrawing drawing{mask.describe(), extent, tile, {}, 0, engine_tiles(mask, extent)};
  for (std::int64_t q = 0; q < extent.num_queries; q += tile) {
    std::string& row = drawing.rows.emplace_back();
    for (std::int64_t kv = 0; kv < extent.num_keys; kv += tile) {
      const TileRange range{extent.q_offset + q,
                            extent.q_offset + std::min(q + tile, extent.num_queries), kv,
                            std::min(kv + tile, extent.num_keys)};
      const std::int64_t allowed = count_allowed(mask, range);
      drawing.allowed += allowed;
      row += allowed == 0                 ? MaskDrawing::kEmpty
             : allowed == pairs_of(range) ? MaskDrawing::kFull
                                          : MaskDrawing::kPartial;
    }
  }
  return drawing;
}

}  // namespace regard::cli
