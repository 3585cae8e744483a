// src/plan/tile_map.cc - a mask turned into tiles, a strip of rows and a chunk of keys at a time.
#include "plan/tile_map.h"

#include <algorithm>
#include <bit>

namespace regard::plan {
namespace {

constexpr std::int64_t kWordKeys = 64;

/// What the rows of a strip see of 64 keys, all together.
struct Seen {
  std::uint64_t any = 0, every = ~std::uint64_t{0};
};

void add_tile(exec::ChunkTiles& out, std::int64_t begin, std::int64_t end, TileKind kind) noexcept {
  out.tile[static_cast<std::size_t>(out.size++)] = {begin, end, kind};
}

/// The tiles of a word of keys, their kinds read off the bits; a mask may have said kPartial for
/// want of knowing better.
void add_tiles(exec::ChunkTiles& out, std::int64_t begin, std::int64_t end, Seen seen) noexcept {
  for (std::int64_t at = begin; at < end; at += exec::kTileKeys) {
    const std::int64_t tile_end = std::min(at + exec::kTileKeys, end);
    const std::uint64_t all = low_bits(tile_end - at);
    const std::uint64_t any = seen.any >> (at - begin) & all,
                        every = seen.every >> (at - begin) & all;
    if (any == 0) continue;
    add_tile(out, at, tile_end, every == all ? TileKind::kFull : TileKind::kPartial);
    if (out.size == 1) out.visible_begin = at + std::countr_zero(any);
    out.visible_end = at + 64 - std::countl_zero(any);
  }
}

}  // namespace

TileMap::TileMap(const AnyMask& mask, std::int64_t num_sequences, std::int64_t num_heads)
    : varies_(mask.varies()), num_heads_(num_heads) {
  for (std::int64_t i = 0; i < (varies_ ? num_sequences * num_heads : 1); ++i)
    masks_.push_back(mask.at(i / num_heads, i % num_heads));
}

TileKind TileMap::classify(const exec::Rows& rows, std::int64_t kv_begin,
                           std::int64_t kv_end) const noexcept {
  const TileRange range{rows.q_position(rows.begin), rows.q_position(rows.end - 1) + 1, kv_begin,
                        kv_end};
  const std::int64_t heads = varies_ ? std::min(rows.heads_per_kv_head, rows.count()) : 1;
  const TileKind kind = mask(rows.sequence, rows.head(rows.begin)).classify(range);
  for (std::int64_t i = 1; i < heads; ++i) {
    if (mask(rows.sequence, rows.head(rows.begin + i)).classify(range) != kind)
      return TileKind::kPartial;
  }
  return kind;
}

void TileMap::fill_bits(const exec::Rows& strip, std::int64_t kv_begin,
                        std::uint64_t* bits) const noexcept {
  for (std::int64_t row = strip.begin; row < strip.end; ++row) {
    std::uint64_t& word = bits[row - strip.begin];
    const bool same_query = row > strip.begin && strip.query(row) == strip.query(row - 1);
    word = same_query && !varies_
               ? bits[row - strip.begin - 1]
               : mask(strip.sequence, strip.head(row)).row_bits(strip.q_position(row), kv_begin);
  }
}

void TileMap::tiles(const exec::Rows& strip, std::int64_t kv_begin, std::int64_t kv_end,
                    exec::ChunkTiles& out) const noexcept {
  out.size = 0;
  out.chunk_begin = kv_begin;
  const TileKind chunk = classify(strip, kv_begin, kv_end);
  if (chunk == TileKind::kEmpty) return;
  for (std::int64_t begin = kv_begin; begin < kv_end; begin += kWordKeys) {
    const std::int64_t end = std::min(begin + kWordKeys, kv_end);
    const TileKind kind = chunk == TileKind::kFull ? chunk : classify(strip, begin, end);
    if (kind == TileKind::kEmpty) continue;
    Seen seen{.any = ~std::uint64_t{0}};
    if (kind == TileKind::kPartial) {
      auto& bits = out.bits[static_cast<std::size_t>((begin - kv_begin) / kWordKeys)];
      fill_bits(strip, begin, bits.data());
      seen.any = 0;
      for (std::int64_t r = 0; r < strip.count(); ++r) {
        seen.any |= bits[static_cast<std::size_t>(r)];
        seen.every &= bits[static_cast<std::size_t>(r)];
      }
    }
    add_tiles(out, begin, end, seen);
  }
}

}  // namespace regard::plan
