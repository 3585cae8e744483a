// src/exec/tiles.h - which keys a strip of queries must be computed with: what the plan tells exec,
// a chunk at a time.
#pragma once

#include <array>
#include <cstdint>

#include "regard/mask.h"

namespace regard::exec {

/// Keys are taken in chunks at absolute positions [c * kChunkKeys, (c + 1) * kChunkKeys). Part of
/// the determinism contract: changing it changes bits.
inline constexpr std::int64_t kChunkKeys = 256;
/// Keys of a tile, the unit of skipping and of a mask word. Tuning: cannot change bits.
inline constexpr std::int64_t kTileKeys = 64;
inline constexpr std::int64_t kChunkTiles = kChunkKeys / kTileKeys;
/// Query rows handled together: a strip of scores is 48 KiB. Tuning: cannot change bits.
inline constexpr std::int64_t kStripRows = 48;

/// Keys [kv_begin, kv_end) for a strip of queries; not kEmpty. In a partial tile bit j of bits[i]
/// says whether query q_begin + i of the strip sees key kv_begin + j.
struct Tile {
  std::int64_t kv_begin;
  std::int64_t kv_end;
  TileKind kind;
  std::array<std::uint64_t, kStripRows> bits;
};

/// The tiles of one strip in one chunk, ascending.
struct ChunkTiles {
  std::array<Tile, kChunkTiles> tile;
  std::int64_t size = 0;

  const Tile* begin() const { return tile.data(); }
  const Tile* end() const { return tile.data() + size; }
};

/// Answers for a strip of at most kStripRows queries and at most one chunk of keys, exactly: a tile
/// is listed if and only if some query of the strip sees some key of it, and as kFull if and only
/// if all see all. Positions within the call (query i, key j).
class TileSource {
 public:
  virtual ~TileSource() = default;
  virtual void tiles(const TileRange& strip, ChunkTiles& out) const noexcept = 0;
};

}  // namespace regard::exec
