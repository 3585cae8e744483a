// src/exec/tiles.h - which keys a strip of rows must be computed with: what the plan tells exec,
// a chunk at a time.
#pragma once

#include <array>
#include <cstdint>

#include "regard/mask.h"

namespace regard::exec {

/// Keys are taken in chunks at absolute positions [c * kChunkKeys, (c + 1) * kChunkKeys). Part of
/// the determinism contract: changing it changes bits.
inline constexpr std::int64_t kChunkKeys = 256;
/// Keys of a tile, the unit of skipping: a whole number of panels of every kernel table. Tuning:
/// cannot change bits.
inline constexpr std::int64_t kTileKeys = 32;
inline constexpr std::int64_t kChunkTiles = kChunkKeys / kTileKeys;
/// Rows handled together: the register tile of the largest vectors. Their scores against a chunk
/// (12 KiB) stay in L1 from the product to the values. Tuning: cannot change bits.
inline constexpr std::int64_t kStripRows = 12;
/// As many rows make one strip when there are no more: keys and values are then read once (decode).
inline constexpr std::int64_t kMostStripRows = 2 * kStripRows;

/// Rows [begin, end) of a KV head of a sequence, numbered query * heads_per_kv_head + head in
/// group.
struct Rows {
  std::int64_t sequence;
  std::int64_t kv_head;
  std::int64_t heads_per_kv_head;
  std::int64_t begin;
  std::int64_t end;
  std::int64_t q_offset;  ///< absolute position of query 0

  std::int64_t count() const { return end - begin; }
  std::int64_t head(std::int64_t row) const {
    return kv_head * heads_per_kv_head + row % heads_per_kv_head;
  }
  std::int64_t query(std::int64_t row) const { return row / heads_per_kv_head; }
  std::int64_t q_position(std::int64_t row) const { return q_offset + query(row); }
};

/// Keys [kv_begin, kv_end) of a strip of rows, at most kTileKeys of them; not kEmpty.
struct Tile {
  std::int64_t kv_begin;
  std::int64_t kv_end;
  TileKind kind;
};

/// The tiles of one strip in one chunk, ascending, each beginning at a multiple of kTileKeys.
struct ChunkTiles {
  std::int64_t chunk_begin = 0;
  std::array<Tile, kChunkTiles> tile;
  std::int64_t size = 0;
  /// The first key that some row sees, and the one after the last.
  std::int64_t visible_begin = 0, visible_end = 0;
  /// Bit j of bits[w][r]: row r of the strip sees key chunk_begin + 64 w + j. Filled in where a
  /// tile is partial.
  std::array<std::array<std::uint64_t, kMostStripRows>, kChunkKeys / 64> bits;

  const Tile* begin() const { return tile.data(); }
  const Tile* end() const { return tile.data() + size; }
  /// The bits of a partial tile's keys, from bit 0 on.
  std::uint64_t row_bits(const Tile& t, std::int64_t row) const {
    const std::int64_t offset = t.kv_begin - chunk_begin;
    return bits[static_cast<std::size_t>(offset / 64)][static_cast<std::size_t>(row)] >>
           offset % 64;
  }
};

/// Answers for a strip of at most kMostStripRows rows and keys [kv_begin, kv_end) of one chunk,
/// exactly: a tile is listed if and only if some row sees some key of it, and as kFull if and only
/// if all see all. Key positions are absolute.
class TileSource {
 public:
  virtual ~TileSource() = default;
  /// False only when no row sees any of the keys; asked for many rows at once.
  virtual bool may_see(const Rows& rows, std::int64_t kv_begin,
                       std::int64_t kv_end) const noexcept = 0;
  virtual void tiles(const Rows& strip, std::int64_t kv_begin, std::int64_t kv_end,
                     ChunkTiles& out) const noexcept = 0;
};

}  // namespace regard::exec
