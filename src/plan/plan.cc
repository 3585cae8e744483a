// src/plan/plan.cc - a checked problem turned into what exec needs.
#include "plan/plan.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "exec/run.h"
#include "plan/isa.h"

namespace regard {
namespace {

std::vector<std::int64_t> lengths(const AttentionShape& shape, const AttentionOptions& options) {
  if (options.kv_lens.empty())
    return std::vector(static_cast<std::size_t>(shape.batch), shape.kv_len);
  return {options.kv_lens.begin(), options.kv_lens.end()};
}

}  // namespace

Plan::Impl::Impl(const AttentionShape& shape, const AttentionOptions& options)
    : masks(options.mask, options.q_offset.value_or(0)),
      setup{.shape = shape,
            .scale = options.scale.value_or(
                static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim)))),
            .kv_lens = lengths(shape, options),
            .masks = &masks,
            .kernels = &plan::active_table()},
      executor(options.executor) {}

TileCounts Plan::Impl::count_tiles() const {
  TileCounts counts;
  const std::int64_t group = setup.heads_per_kv_head(), rows = setup.rows_per_kv_head();
  exec::ChunkTiles found;
  for (const std::int64_t kv_len : setup.kv_lens) {
    for (std::int64_t row = 0; row < rows; row += exec::kStripRows) {
      const std::int64_t row_end = std::min(row + exec::kStripRows, rows);
      for (std::int64_t begin = 0; begin < kv_len; begin += exec::kChunkKeys) {
        const std::int64_t end = std::min(begin + exec::kChunkKeys, kv_len);
        masks.tiles({row / group, (row_end - 1) / group + 1, begin, end}, found);
        counts.empty += (end - begin + exec::kTileKeys - 1) / exec::kTileKeys;
        for (const exec::Tile& tile : found) {
          const std::int64_t tiles =
              (tile.kv_end - tile.kv_begin + exec::kTileKeys - 1) / exec::kTileKeys;
          (tile.kind == TileKind::kFull ? counts.full : counts.partial) += tiles;
          counts.empty -= tiles;
        }
      }
    }
  }
  counts.full *= setup.shape.num_kv_heads;
  counts.partial *= setup.shape.num_kv_heads;
  counts.empty *= setup.shape.num_kv_heads;
  return counts;
}

std::string Plan::Impl::explain() const {
  const AttentionShape& s = setup.shape;
  const TileCounts tiles = count_tiles();
  const std::int64_t all = tiles.full + tiles.partial + tiles.empty;
  std::ostringstream text;
  text << "attention: batch " << s.batch << ", " << s.num_heads << " heads over " << s.num_kv_heads
       << ", " << s.q_len << " queries x " << s.kv_len << " keys, head_dim " << s.head_dim
       << ", value_dim " << s.value_dim << ", float32\n"
       << "kernels:   " << setup.kernels->isa << ", strips of " << exec::kStripRows
       << " rows, tiles of " << exec::kTileKeys << " keys, chunks of " << exec::kChunkKeys << "\n"
       << "tiles:     " << tiles.full << " full, " << tiles.partial << " partial, " << tiles.empty
       << " skipped of " << all << "\n"
       << "cost:      at most "
       << 2.0 *
              static_cast<double>((tiles.full + tiles.partial) * exec::kStripRows *
                                  exec::kTileKeys * (s.head_dim + s.value_dim)) /
              1e9
       << " GFLOP\n";
  return text.str();
}

}  // namespace regard
