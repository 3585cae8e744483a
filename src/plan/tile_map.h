// src/plan/tile_map.h - a mask turned into tiles, a strip of queries and a chunk of keys at a time.
#pragma once

#include "exec/tiles.h"
#include "regard/any_mask.h"

namespace regard::plan {

/// Never holds more than one chunk's tiles: nothing here grows with q_len * kv_len.
class TileMap final : public exec::TileSource {
 public:
  TileMap(AnyMask mask, std::int64_t q_offset) : mask_(std::move(mask)), q_offset_(q_offset) {}

  void tiles(const TileRange& strip, exec::ChunkTiles& out) const noexcept override;

 private:
  TileKind look(const TileRange& range, exec::Tile& tile) const noexcept;

  AnyMask mask_;
  std::int64_t q_offset_;
};

}  // namespace regard::plan
