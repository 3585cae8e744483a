// src/exec/attend.cc - the algorithm: one block of query rows over all keys they see.
#include "exec/attend.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace regard::exec {
namespace {

using kernels::KernelTable;
using kernels::Matrix;
using kernels::State;

/// Up to kStripRows rows of a block that go through scores, softmax and values together.
struct Strip {
  const RowBlock& block;
  std::int64_t row_begin;
  std::int64_t rows;
  const float* query;  ///< (rows, head_dim)

  std::int64_t q_begin(std::int64_t group) const { return row_begin / group; }
  std::int64_t q_end(std::int64_t group) const { return (row_begin + rows - 1) / group + 1; }
};

void load_queries(const Setup& s, const Tensors& t, const RowBlock& block, float* to) noexcept {
  const std::int64_t group = s.heads_per_kv_head();
  for (std::int64_t row = block.row_begin; row < block.row_end; ++row) {
    const std::int64_t head = block.kv_head * group + row % group;
    for (std::int64_t d = 0; d < s.shape.head_dim; ++d)
      *to++ = t.query(block.batch, head, row / group, d);
  }
}

Matrix rows_of(const TensorView<const float, 4>& tensor, const RowBlock& block, std::int64_t begin,
               std::int64_t end) noexcept {
  return {&tensor(block.batch, block.kv_head, begin, 0), end - begin, tensor.shape[3],
          tensor.strides[2], tensor.strides[3]};
}

/// Packs a chunk's keys and values, and notes which tiles of values are finite.
void pack(const Setup& s, const Tensors& t, const RowBlock& block, std::int64_t chunk_begin,
          std::int64_t chunk_end, Workspace& w) noexcept {
  s.kernels->pack_columns(rows_of(t.key, block, chunk_begin, chunk_end), w.key);
  for (std::int64_t begin = chunk_begin; begin < chunk_end; begin += kTileKeys) {
    const std::int64_t end = std::min(begin + kTileKeys, chunk_end);
    w.value_is_finite[static_cast<std::size_t>((begin - chunk_begin) / kTileKeys)] =
        s.kernels->pack_rows(rows_of(t.value, block, begin, end), kChunkKeys,
                             w.value + (begin - chunk_begin) * s.kernels->panel);
  }
}

/// scores[r][j] = scale * query r . key j for the keys of the tiles; -inf where no tile is or the
/// mask forbids.
void score(const Setup& s, const Strip& strip, std::int64_t chunk_begin, Workspace& w) noexcept {
  const KernelTable& k = *s.kernels;
  const std::int64_t depth = s.shape.head_dim, group = s.heads_per_kv_head();
  std::int64_t at = w.tiles.begin()->kv_begin;
  for (const Tile& tile : w.tiles) {
    const std::int64_t offset = tile.kv_begin - chunk_begin, keys = tile.kv_end - tile.kv_begin;
    k.product({.a = strip.query,
               .a_stride = depth,
               .rows = strip.rows,
               .b = w.key + offset * depth,
               .b_depth = depth,
               .panels = s.padded(keys) / k.panel,
               .depth = depth,
               .c = w.scores + offset,
               .c_stride = kChunkKeys,
               .scale = s.scale,
               .accumulate = false});
    for (std::int64_t r = 0; r < strip.rows; ++r) {
      float* row = w.scores + r * kChunkKeys;
      std::fill(row + (at - chunk_begin), row + offset, -std::numeric_limits<float>::infinity());
      if (tile.kind == TileKind::kPartial) {
        const std::int64_t q = (strip.row_begin + r) / group - strip.q_begin(group);
        k.mask(row + offset, keys, tile.bits[static_cast<std::size_t>(q)]);
      }
    }
    at = tile.kv_end;
  }
}

/// The poisoned tile: 0 * NaN is NaN, so a masked key is skipped instead of multiplied. One product
/// per visible key.
void accumulate_visible(const Setup& s, const Strip& strip, const Tile& tile,
                        kernels::Product p) noexcept {
  const std::int64_t group = s.heads_per_kv_head(), keys = tile.kv_end - tile.kv_begin;
  const kernels::Product all = p;
  if (!all.accumulate) std::fill(all.c, all.c + strip.rows * all.c_stride, 0.0f);
  p.rows = p.depth = 1;
  p.accumulate = true;
  for (std::int64_t r = 0; r < strip.rows; ++r) {
    const std::int64_t q = (strip.row_begin + r) / group - strip.q_begin(group);
    for (std::int64_t j = 0; j < keys; ++j) {
      if (!(tile.bits[static_cast<std::size_t>(q)] >> j & 1)) continue;
      p.a = all.a + r * all.a_stride + j;
      p.b = all.b + j * s.kernels->panel;
      p.c = all.c + r * all.c_stride;
      s.kernels->product(p);
    }
  }
}

/// out[r] = sum of weights[r][j] * value[j] over the keys j of the tiles: one chain, ascending.
void accumulate(const Setup& s, const Strip& strip, std::int64_t chunk_begin, const Workspace& w,
                float* out) noexcept {
  const std::int64_t stride = s.padded(s.shape.value_dim), panel = s.kernels->panel;
  const auto poisoned = [&](const Tile& tile) {
    return tile.kind == TileKind::kPartial &&
           !w.value_is_finite[static_cast<std::size_t>((tile.kv_begin - chunk_begin) / kTileKeys)];
  };
  for (const Tile* tile = w.tiles.begin(); tile != w.tiles.end();) {
    const Tile* last = tile;  // neighbours go through one product
    while (!poisoned(*last) && last + 1 != w.tiles.end() && last[1].kv_begin == last->kv_end &&
           !poisoned(last[1])) {
      ++last;
    }
    const std::int64_t offset = tile->kv_begin - chunk_begin;
    const kernels::Product p{.a = w.scores + offset,
                             .a_stride = kChunkKeys,
                             .rows = strip.rows,
                             .b = w.value + offset * panel,
                             .b_depth = kChunkKeys,
                             .panels = stride / panel,
                             .depth = last->kv_end - tile->kv_begin,
                             .c = out,
                             .c_stride = stride,
                             .scale = 1.0f,
                             .accumulate = tile != w.tiles.begin()};
    if (poisoned(*tile)) {
      accumulate_visible(s, strip, *tile, p);
    } else {
      s.kernels->product(p);
    }
    tile = last + 1;
  }
}

/// The rows' results leave the workspace.
void store(const Setup& s, const Tensors& t, const Strip& strip, State* state) noexcept {
  const std::int64_t group = s.heads_per_kv_head(), stride = s.padded(s.shape.value_dim);
  if (state != nullptr) s.kernels->finish(*state, strip.rows, stride);
  for (std::int64_t r = 0; r < strip.rows; ++r) {
    const std::int64_t row = strip.row_begin + r, query = row / group;
    const std::int64_t head = strip.block.kv_head * group + row % group;
    for (std::int64_t e = 0; e < s.shape.value_dim; ++e) {
      t.out(strip.block.batch, head, query, e) =
          state == nullptr ? 0.0f : state->out[r * stride + e];
    }
    if (t.lse) {
      // Once per row, so the correctly rounded logarithm is affordable.
      (*t.lse)(strip.block.batch, head, query) =
          state == nullptr ? -std::numeric_limits<float>::infinity()
                           : static_cast<float>(static_cast<double>(state->max[r]) +
                                                std::log(static_cast<double>(state->sum[r])));
    }
  }
}

void report_tile(const Setup& s, const Strip& strip, Probe& probe, std::int64_t chunk_begin,
                 const Workspace& w, const State& state) noexcept {
  const std::int64_t begin = w.tiles.begin()->kv_begin, end = (w.tiles.end() - 1)->kv_end;
  probe.tile({.batch = strip.block.batch,
              .kv_head = strip.block.kv_head,
              .heads_per_kv_head = s.heads_per_kv_head(),
              .row_begin = strip.row_begin,
              .num_rows = strip.rows,
              .kv_begin = begin,
              .num_keys = end - begin,
              .weights = w.scores + (begin - chunk_begin),
              .stride = kChunkKeys,
              .row_max = state.max});
}

void report_finished(const Setup& s, const Strip& strip, Probe& probe,
                     const State* state) noexcept {
  static constexpr auto kNone = [] {
    std::array<float, kStripRows> a{};
    a.fill(-std::numeric_limits<float>::infinity());
    return a;
  }();
  static constexpr std::array<float, kStripRows> kZero{};
  probe.finished({.batch = strip.block.batch,
                  .kv_head = strip.block.kv_head,
                  .heads_per_kv_head = s.heads_per_kv_head(),
                  .row_begin = strip.row_begin,
                  .num_rows = strip.rows,
                  .max = state == nullptr ? kNone.data() : state->max,
                  .sum = state == nullptr ? kZero.data() : state->sum});
}

}  // namespace

void attend(const Setup& s, const Tensors& t, const RowBlock& block, Workspace& w) noexcept {
  const KernelTable& k = *s.kernels;
  const std::int64_t kv_len = s.kv_lens[static_cast<std::size_t>(block.batch)],
                     group = s.heads_per_kv_head();
  const std::int64_t num_strips = (block.row_end - block.row_begin + kStripRows - 1) / kStripRows;
  const auto strip_at = [&](std::int64_t i) {
    const std::int64_t begin = block.row_begin + i * kStripRows;
    return Strip{block, begin, std::min(kStripRows, block.row_end - begin),
                 w.query + i * kStripRows * s.shape.head_dim};
  };

  load_queries(s, t, block, w.query);
  for (std::int64_t begin = 0; begin < kv_len; begin += kChunkKeys) {
    const std::int64_t end = std::min(begin + kChunkKeys, kv_len);
    bool packed = false;
    for (std::int64_t i = 0; i < num_strips; ++i) {
      const Strip strip = strip_at(i);
      s.masks->tiles({strip.q_begin(group), strip.q_end(group), begin, end}, w.tiles);
      if (w.tiles.size == 0) continue;  // no query of the strip sees a key of the chunk
      if (!packed) pack(s, t, block, begin, end, w);
      packed = true;

      MergeTree& tree = w.trees[static_cast<std::size_t>(i)];
      State& state = tree.fresh();
      const std::int64_t first = w.tiles.begin()->kv_begin, last = (w.tiles.end() - 1)->kv_end;
      score(s, strip, begin, w);
      k.softmax({.scores = w.scores + (first - begin),
                 .stride = kChunkKeys,
                 .rows = strip.rows,
                 .columns = last - first,
                 .max = state.max,
                 .sum = state.sum});
      accumulate(s, strip, begin, w, state.out);
      if (t.probe != nullptr) report_tile(s, strip, *t.probe, begin, w, state);
      tree.push(k, begin / kChunkKeys, strip.rows);
    }
  }
  for (std::int64_t i = 0; i < num_strips; ++i) {
    const Strip strip = strip_at(i);
    State* root = w.trees[static_cast<std::size_t>(i)].root(k, strip.rows);
    if (t.probe != nullptr) report_finished(s, strip, *t.probe, root);
    store(s, t, strip, root);
  }
}

}  // namespace regard::exec
