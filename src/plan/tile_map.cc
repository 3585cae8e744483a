// src/plan/tile_map.cc - a mask turned into tiles, a strip of queries and a chunk of keys at a
// time.
#include "plan/tile_map.h"

#include <algorithm>

namespace regard::plan {

/// The exact kind of a tile (at most kTileKeys keys), its bits filled in when it is partial. A mask
/// may answer kPartial for want of knowing better; here the bits decide.
TileKind TileMap::look(const TileRange& range, exec::Tile& tile) const noexcept {
  const TileKind guess = mask_.classify(range);
  if (guess != TileKind::kPartial) return guess;
  const std::uint64_t all_keys = low_bits(range.kv_end - range.kv_begin);
  std::uint64_t any = 0, every = all_keys;
  for (std::int64_t q = range.q_begin; q < range.q_end; ++q) {
    const std::uint64_t bits = mask_.row_bits(q, range.kv_begin) & all_keys;
    tile.bits[static_cast<std::size_t>(q - range.q_begin)] = bits;
    any |= bits;
    every &= bits;
  }
  if (any == 0) return TileKind::kEmpty;
  return every == all_keys ? TileKind::kFull : TileKind::kPartial;
}

void TileMap::tiles(const TileRange& strip, exec::ChunkTiles& out) const noexcept {
  out.size = 0;
  TileRange range{strip.q_begin + q_offset_, strip.q_end + q_offset_, strip.kv_begin, strip.kv_end};
  const TileKind chunk = mask_.classify(range);
  if (chunk == TileKind::kEmpty) return;
  if (chunk == TileKind::kFull) {
    out.tile[0].kv_begin = strip.kv_begin;
    out.tile[0].kv_end = strip.kv_end;
    out.tile[0].kind = TileKind::kFull;
    out.size = 1;
    return;
  }
  for (std::int64_t begin = strip.kv_begin; begin < strip.kv_end; begin += exec::kTileKeys) {
    exec::Tile& tile = out.tile[static_cast<std::size_t>(out.size)];
    range.kv_begin = tile.kv_begin = begin;
    range.kv_end = tile.kv_end = std::min(begin + exec::kTileKeys, strip.kv_end);
    tile.kind = look(range, tile);
    if (tile.kind != TileKind::kEmpty) ++out.size;
  }
}

}  // namespace regard::plan
