// src/plan/tile_map.h - a mask turned into tiles, a strip of rows and a chunk of keys at a time.
#pragma once

#include <string>
#include <vector>

#include "exec/tiles.h"
#include "regard/any_mask.h"

namespace regard::plan {

/// Never holds more than one chunk's tiles: nothing here grows with q_len * kv_len.
class TileMap final : public exec::TileSource {
 public:
  /// A mask that varies between sequences or heads is asked once for each.
  TileMap(const AnyMask& mask, std::int64_t num_sequences, std::int64_t num_heads);

  bool may_see(const exec::Rows& rows, std::int64_t kv_begin,
               std::int64_t kv_end) const noexcept override {
    return classify(rows, kv_begin, kv_end) != TileKind::kEmpty;
  }
  void tiles(const exec::Rows& strip, std::int64_t kv_begin, std::int64_t kv_end,
             exec::ChunkTiles& out) const noexcept override;

  /// Whether the mask may differ between sequences and heads.
  bool varies() const { return varies_; }
  /// The mask of the first sequence and head, as it describes itself.
  std::string describe() const { return masks_.empty() ? "none" : masks_.front().describe(); }
  /// kPartial unless it is certain what all rows see of all keys; any number of either.
  TileKind classify(const exec::Rows& rows, std::int64_t kv_begin,
                    std::int64_t kv_end) const noexcept;

 private:
  const AnyMask& mask(std::int64_t sequence, std::int64_t head) const {
    return masks_[varies_ ? static_cast<std::size_t>(sequence * num_heads_ + head) : 0];
  }
  void fill_bits(const exec::Rows& strip, std::int64_t kv_begin,
                 std::uint64_t* bits) const noexcept;

  bool varies_;
  std::int64_t num_heads_;
  std::vector<AnyMask> masks_;  // one, or (sequences, heads)
};

}  // namespace regard::plan
