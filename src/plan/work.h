// src/plan/work.h - what a run will do, counted by asking the mask and nothing else.
#pragma once

#include <cstdint>

#include "exec/attend.h"
#include "plan/tile_map.h"

namespace regard::plan {

/// Over all sequences and heads. Doubles: exact up to 2^53, and nothing overflows.
struct Work {
  double full_tiles = 0, partial_tiles = 0, empty_tiles = 0;
  double pairs = 0, allowed_pairs = 0;
  double full_pairs = 0, partial_pairs = 0;  ///< in tiles of the kind
  double product_pairs = 0;  ///< computed pairs as the product pays for them: see cost.h
  double strip_chunks = 0;   ///< strips of rows times chunks of keys in which they see something
  double packed_keys = 0;    ///< of tiles that some row of a block sees, for each block
  double read_keys = 0;      ///< of chunks that some row of a block sees, for each block
  bool is_exact = true;
};

inline constexpr std::int64_t kAllParts = std::int64_t{1} << 62;

/// Large rectangles of (query, key) are classified whole and cut where the mask says "partial",
/// down to a block of rows and a chunk of keys, whose tiles are asked for one by one. So a mask
/// costs what its edges cost. Where more than `most_parts` rectangles of a size are partial, evenly
/// chosen ones stand for the others.
Work count_work(const exec::Setup& setup, const TileMap& masks, std::int64_t most_parts);

}  // namespace regard::plan
