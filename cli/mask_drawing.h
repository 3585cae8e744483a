// cli/mask_drawing.h - a mask as characters: one for a pair of query and key, or for a tile of
// them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "regard/any_mask.h"
#include "regard/plan.h"

namespace regard::cli {

/// Queries at positions [q_offset, q_offset + num_queries), keys at [0, num_keys); both at least 1.
struct MaskExtent {
  std::int64_t num_queries, num_keys, q_offset;
};

/// The least power of two for which tiles of so many queries and keys fit so many rows and columns
/// of characters.
std::int64_t fitting_tile(const MaskExtent& extent, std::int64_t rows, std::int64_t columns);

struct MaskDrawing {
  static constexpr char kFull = '#', kPartial = '+', kEmpty = '.';

  std::string mask;  ///< as it describes itself
  MaskExtent extent;
  std::int64_t tile;              ///< a character stands for tile x tile pairs
  std::vector<std::string> rows;  ///< queries from the first on, in each keys from the first on
  std::int64_t allowed;           ///< pairs
  TileCounts counts;              ///< of the engine's own tiles, for one head

  std::int64_t pairs() const { return extent.num_queries * extent.num_keys; }
};

MaskDrawing draw(const AnyMask& mask, const MaskExtent& extent, std::int64_t tile);

}  // namespace regard::cli
