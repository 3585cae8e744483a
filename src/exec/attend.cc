// src/exec/attend.cc - the algorithm: one block of query rows over the keys they see.
#include "exec/attend.h"

#include "exec/pace.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace regard::exec {
namespace {

using kernels::index;
using kernels::Matrix;
using kernels::Product;
using kernels::State;

std::uint32_t bit_of(const ChunkTiles& tiles, const Tile& tile) noexcept {
  return 1U << (tile.kv_begin - tiles.chunk_begin) / kTileKeys;
}

/// The end of the tiles without a gap from `first` on.
const Tile* adjacent_end(const ChunkTiles& tiles, const Tile* first) noexcept {
  const Tile* end = first + 1;
  while (end != tiles.end() && end->kv_begin == end[-1].kv_end) ++end;
  return end;
}

/// Tiles that one product takes: neighbours that are packed already, or one that is not yet. So the
/// first strip of a block packs and uses a tile while it is in L1, and the others use whole chunks.
const Tile* run_end(const ChunkTiles& tiles, const Tile* first, std::uint32_t packed) noexcept {
  const Tile* end = first + 1;
  if (!(packed & bit_of(tiles, *first))) return end;
  while (end != tiles.end() && end->kv_begin == end[-1].kv_end && (packed & bit_of(tiles, *end)))
    ++end;
  return end;
}

/// Whether the tile must be packed; notes that it is. With one strip nobody else will use it: each
/// tile takes the place of the one before, in L1.
bool take(const Workspace& w, const Tile& tile, std::uint32_t& packed) noexcept {
  if (w.one_strip) return true;
  const bool taken = (packed & bit_of(w.tiles, tile)) == 0;
  packed |= bit_of(w.tiles, tile);
  return taken;
}

/// keys_of() for a kernel that reads in place and asks ahead, into the next task's at the end.
Matrix keys_in_place(const Setup& s, const Call& call, const KvSource& source, const Rows& strip,
                     const Tile& keys, const Workspace& w) noexcept {
  Matrix m = keys_of(s, call, source, strip, keys);
  const kernels::Pages& next = &source == &call.key ? w.next_keys : w.next_values;
  if (next.table != nullptr) {
    constexpr std::int64_t kUnit = kernels::kPageUnit;
    m.pages.next = &next;
    m.pages.until = (w.range_end + kUnit - 1) / kUnit * kUnit - keys.kv_begin;
  }
  return m;
}

/// Where the next task's first keys or values lie; no table where that is no help.
kernels::Pages first_pages(const Setup& s, const Call& call, const KvSource& source,
                           const NextTask& next) noexcept {
  if (source.tables == nullptr || next.block == nullptr) return {};
  const std::int64_t begin = next.range.begin * kChunkKeys;
  if (begin >= call.kv_len(s, next.block->sequence)) return {};
  const Tile first{s.kv_offset + begin, s.kv_offset + begin, TileKind::kFull};
  return keys_of(s, call, source, rows_of(s, call, *next.block), first).pages;
}

/// scores[r][j] = scale * query r . key j for the keys of the tiles.
void score(const Setup& s, const Call& call, const Rows& strip, const float* query,
           const Pace& pace, Workspace& w) noexcept {
  const std::int64_t depth = s.arithmetic->words(s.shape.head_dim), panel = s.kernels->panel;
  for (const Tile *tile = w.tiles.begin(), *end; tile != w.tiles.end(); tile = end) {
    end = adjacent_end(w.tiles, tile);
    const bool in_place = w.keys_in_place && end[-1].kv_end - tile->kv_begin >= panel;
    if (!in_place) end = run_end(w.tiles, tile, w.keys_packed);
    const std::int64_t offset = tile->kv_begin - w.tiles.chunk_begin,
                       keys = end[-1].kv_end - tile->kv_begin;
    float* packed = w.key + (w.one_strip ? 0 : offset * depth);
    const Product p{.a = query,
                    .a_stride = depth,
                    .rows = strip.count(),
                    .b = packed,
                    .b_panel = depth * panel,
                    .panels = s.padded(keys) / panel,
                    .depth = depth,
                    .c = w.scores + offset,
                    .c_stride = kChunkKeys,
                    .scale = s.scale,
                    .accumulate = false,
                    .meanwhile = pace.score};
    if (in_place) {
      const Tile all{tile->kv_begin, end[-1].kv_end, TileKind::kFull};
      s.arithmetic->dot_in_place[index(call.key.dtype)](
          p, keys_in_place(s, call, call.key, strip, all, w));
      continue;
    }
    if (take(w, *tile, w.keys_packed))
      s.arithmetic->pack_columns[index(call.key.dtype)](keys_of(s, call, call.key, strip, *tile),
                                                        packed);
    s.arithmetic->product(p);
  }
}

/// The caller's modifiers, run by run of adjacent tiles: what lies between them is not a score.
void modify(const Setup& s, const Rows& strip, Workspace& w) noexcept {
  const Sequence& sequence = s.sequences[static_cast<std::size_t>(strip.sequence)];
  for (const Tile *tile = w.tiles.begin(), *end; tile != w.tiles.end(); tile = end) {
    end = adjacent_end(w.tiles, tile);
    const ScoreStrip scores{.tile = {.scores = w.scores + (tile->kv_begin - w.tiles.chunk_begin),
                                     .stride = kChunkKeys,
                                     .num_rows = strip.count(),
                                     .num_keys = end[-1].kv_end - tile->kv_begin,
                                     .batch = strip.sequence,
                                     .kv_head = strip.kv_head,
                                     .heads_per_kv_head = strip.heads_per_kv_head,
                                     .row_begin = strip.begin,
                                     .q_offset = strip.q_offset,
                                     .kv_begin = tile->kv_begin},
                            .bias_batch = sequence.batch,
                            .bias_query = sequence.q_begin,
                            .bias_key = sequence.kv_begin + tile->kv_begin - s.kv_offset};
    if (apply_score_mods(s.score_mods, scores, *s.kernels)) hide_masked(scores.tile, w.tiles);
  }
}

/// -inf where the mask forbids, and where no tile is.
void mask(const Setup& s, const Rows& strip, Workspace& w) noexcept {
  std::int64_t at = w.tiles.begin()->kv_begin;
  for (const Tile& tile : w.tiles) {
    const std::int64_t gap = at - w.tiles.chunk_begin, offset = tile.kv_begin - w.tiles.chunk_begin;
    at = tile.kv_end;
    if (gap == offset && tile.kind == TileKind::kFull) continue;
    for (std::int64_t r = 0; r < strip.count(); ++r) {
      float* row = w.scores + r * kChunkKeys;
      std::fill(row + gap, row + offset, -std::numeric_limits<float>::infinity());
      if (tile.kind == TileKind::kPartial)
        s.kernels->mask(row + offset, tile.kv_end - tile.kv_begin, w.tiles.row_bits(tile, r));
    }
  }
}

/// The rows of some keys in a tensor, as memory that will be read.
kernels::Stream stream_of(const Setup& s, const Call& call, const KvSource& source,
                          const Rows& rows, const Tile& keys) noexcept {
  const auto bytes = static_cast<std::int64_t>(size_of(source.dtype));
  if (source.strides[3] != 1 || keys.kv_begin >= keys.kv_end) return {};
  // Of several pages only the first is worth it: pages are meant to be long where this matters.
  const Tile piece{keys.kv_begin, page_end(source, keys.kv_begin, keys.kv_end), keys.kind};
  const Matrix m = keys_of(s, call, source, rows, piece);
  if (m.pages.table != nullptr && m.pages.table[0] == nullptr)
    return {};  // evicted: nobody reads it
  return {m.address(0, bytes), m.rows, m.columns * bytes, m.row_stride * bytes};
}

/// True when a masked key's value may not be multiplied, even by 0: it holds NaN or Inf.
bool is_poisoned(const Setup& s, const Call& call, const Rows& strip, const Tile& tile,
                 Workspace& w) noexcept {
  if (tile.kind != TileKind::kPartial) return false;
  const std::uint32_t bit = bit_of(w.tiles, tile);
  if (!(w.values_seen & bit)) {
    w.values_seen |= bit;
    const bool finite =
        s.kernels->is_finite[index(call.value.dtype)](keys_of(s, call, call.value, strip, tile));
    w.values_finite = finite ? w.values_finite | bit : w.values_finite & ~bit;
  }
  return !(w.values_finite & bit);
}

/// The product over a poisoned tile, row by row, with zeros in the place of values that the row
/// does not see.
void accumulate_visible(const Setup& s, const Tile& tile, const ChunkTiles& tiles,
                        Product p) noexcept {
  const std::int64_t panel = s.kernels->panel, word = s.arithmetic->word;
  std::array<float, kTileKeys * kTileKeys> values;  // one panel of the tile
  const Product all = p;
  p.rows = p.panels = 1;
  p.b = values.data();
  p.b_panel = 0;
  for (std::int64_t r = 0; r < all.rows; ++r) {
    const std::uint64_t bits = tiles.row_bits(tile, r);
    for (std::int64_t i = 0; i < all.panels; ++i) {
      for (std::int64_t k = 0; k < all.depth; ++k) {
        const std::uint64_t seen = bits >> k * word;
        const std::uint32_t keep = word == 1
                                       ? (seen & 1 ? ~0U : 0U)
                                       : (seen & 1 ? 0xFFFFU : 0U) | (seen & 2 ? 0xFFFF0000U : 0U);
        for (std::int64_t j = 0; j < panel; ++j) {
          std::uint32_t value;
          std::memcpy(&value, all.b + i * all.b_panel + k * panel + j, sizeof value);
          value &= keep;
          std::memcpy(&values[static_cast<std::size_t>(k * panel + j)], &value, sizeof value);
        }
      }
      p.a = all.a + r * all.a_stride;
      p.c = all.c + r * all.c_stride + i * panel;
      s.arithmetic->product(p);
    }
  }
}

/// Tiles [begin, end) whose values one product takes.
struct ValueRun {
  const Tile* begin;
  const Tile* end;
  bool poisoned;
  bool in_place;  ///< read where they lie: worth it when they are read once
};

ValueRun value_run(const Setup& s, const Call& call, const Rows& strip, const Tile* begin,
                   Workspace& w) noexcept {
  // A word of two keys must not reach beyond the last.
  const auto readable = [&](const Tile& t) {
    return w.values_in_place && t.kv_end % s.arithmetic->word == 0;
  };
  ValueRun run{begin, begin + 1, is_poisoned(s, call, strip, *begin, w), false};
  if (run.poisoned) return run;
  run.in_place = readable(*begin);
  if (!run.in_place) run.end = run_end(w.tiles, begin, w.values_packed);
  // One or two rows take whole rows of values, and many have time for memory. Between, products
  // take two panels and return for the rest: before the next tile, so that what they ask for ahead
  // is one stream. Only float32 arithmetic on a tensor is slow enough for hardware to foresee it.
  const bool by_tile = strip.count() > 2 && strip.count() <= 6 &&
                       (call.value.tables != nullptr || s.arithmetic->word > 1);
  if (run.in_place && !by_tile) {
    run.end = adjacent_end(w.tiles, begin);
    while (run.end > begin + 1 && !readable(run.end[-1])) --run.end;
  }
  for (const Tile* t = begin + 1; t < run.end; ++t) {
    if (is_poisoned(s, call, strip, *t, w)) run.end = t;
  }
  return run;
}

/// The packed values of a run, from its first key on; packed now if they are not yet.
const float* packed_values(const Setup& s, const Call& call, const Rows& strip, const ValueRun& run,
                           Workspace& w) noexcept {
  const std::int64_t offset =
      w.one_strip ? 0 : (run.begin->kv_begin - w.tiles.chunk_begin) / s.arithmetic->word;
  float* packed = w.value + offset * s.kernels->panel;
  if (take(w, *run.begin, w.values_packed)) {
    s.arithmetic->pack_rows[index(call.value.dtype)](
        keys_of(s, call, call.value, strip, *run.begin), w.value_depth, packed);
  }
  return packed;
}

/// out[r] = sum of weights[r][j] * value[j] over the keys j of the tiles: one chain, ascending.
void accumulate(const Setup& s, const Call& call, const Rows& strip, const Pace& pace, Workspace& w,
                float* out) noexcept {
  const std::int64_t word = s.arithmetic->word, panel = s.kernels->panel, stride = s.out_stride();
  const ChunkTiles& tiles = w.tiles;
  const std::int64_t first = tiles.begin()->kv_begin;
  for (const Tile* tile = tiles.begin(); tile != tiles.end();) {
    const ValueRun run = value_run(s, call, strip, tile, w);
    // Keys before the first and after the last that any row sees have weight 0: they are left out.
    const std::int64_t skip =
        run.poisoned ? 0 : std::max<std::int64_t>(tiles.visible_begin - tile->kv_begin, 0) / word;
    const std::int64_t last = std::min(run.end[-1].kv_end, tiles.visible_end);
    Product p{.a = w.scores + first - tiles.chunk_begin + (tile->kv_begin - first) / word + skip,
              .a_stride = kChunkKeys,
              .rows = strip.count(),
              .b = nullptr,
              .panels = stride / panel,
              .depth = s.arithmetic->words(last - tile->kv_begin) - skip,
              .c = out,
              .c_stride = stride,
              .scale = 1.0f,
              .accumulate = tile != tiles.begin(),
              .meanwhile = pace.value};
    if (run.in_place) {
      // Whole words: the key after the last that is seen is there, and has weight 0.
      const std::int64_t keys_begin = tile->kv_begin + skip * word;
      const Tile all{keys_begin, keys_begin + p.depth * word, tile->kind};
      s.arithmetic->product_in_place[index(call.value.dtype)](
          p, keys_in_place(s, call, call.value, strip, all, w));
    } else {
      p.b = packed_values(s, call, strip, run, w) + skip * panel;
      p.b_panel = w.value_depth * panel;
      if (run.poisoned) accumulate_visible(s, *tile, tiles, p);
      if (!run.poisoned) s.arithmetic->product(p);
    }
    tile = run.end;
  }
}

}  // namespace

void attend(const Setup& s, const Call& call, const RowBlock& block, const ChunkRange& range,
            const NextTask& next_task, Workspace& w) noexcept {
  const kernels::KernelTable& k = *s.kernels;
  const std::int64_t kv_len = call.kv_len(s, block.sequence);
  const std::int64_t query_words = s.strip_rows * s.arithmetic->words(s.shape.head_dim);
  const Rows rows = rows_of(s, call, block);
  kernels::Prefetch prefetch;
  w.one_strip = num_strips(s, block) == 1;
  w.keys_in_place = w.one_strip && call.key.strides[3] == 1;
  w.values_in_place =
      w.one_strip && call.value.strides[3] == 1 && s.shape.value_dim == s.out_stride();
  w.value_depth = (w.one_strip ? kTileKeys : kChunkKeys) / s.arithmetic->word;
  w.next_keys = first_pages(s, call, call.key, next_task);
  w.next_values = first_pages(s, call, call.value, next_task);
  w.range_end = s.kv_offset + std::min(range.end * kChunkKeys, kv_len);
  const Pace pace(s, call, block, prefetch);
  load_queries(s, call, rows, w.query);
  for (std::int64_t chunk = range.begin; chunk < range.end && chunk * kChunkKeys < kv_len;
       ++chunk) {
    if (call.cancelled()) return;
    const std::int64_t begin = s.kv_offset + chunk * kChunkKeys;
    const std::int64_t end = std::min(begin + kChunkKeys, s.kv_offset + kv_len);
    if (!s.masks->may_see(rows, begin, end)) continue;
    w.keys_packed = w.values_packed = w.values_seen = 0;
    const Tile next{end, std::min(end + kChunkKeys, s.kv_offset + kv_len), TileKind::kFull};
    prefetch = {stream_of(s, call, call.key, rows, next),
                stream_of(s, call, call.value, rows, next)};
    for (std::int64_t i = 0; i < num_strips(s, block); ++i) {
      if (call.cancelled()) return;  // a whole block's chunk may be half a GFLOP
      const Rows strip = strip_of(s, rows, i);
      s.masks->tiles(strip, begin, end, w.tiles);
      if (w.tiles.size == 0) continue;  // no row of the strip sees a key of the chunk
      MergeTree& tree = w.trees[static_cast<std::size_t>(i)];
      const State state = tree.fresh();
      const std::int64_t first = w.tiles.begin()->kv_begin;
      score(s, call, strip, w.query + i * query_words, pace, w);
      if (call.key.dtype == DType::kI8) scale_columns(s, call.key, strip, w);
      if (!s.score_mods.empty()) modify(s, strip, w);
      mask(s, strip, w);
      s.arithmetic->softmax({.scores = w.scores + (first - begin),
                             .stride = kChunkKeys,
                             .rows = strip.count(),
                             .columns = w.tiles.visible_end - first,
                             .max = state.max,
                             .sum = state.sum});
      if (call.probe != nullptr) report_tile(s, call, strip, state, w);
      if (call.value.dtype == DType::kI8) scale_columns(s, call.value, strip, w);
      accumulate(s, call, strip, pace, w, state.out);
      tree.push(k, begin / kChunkKeys, strip.count());
    }
  }
}

}  // namespace regard::exec
