// src/exec/rows.cc - query rows on their way in, results on their way out.
#include <algorithm>
#include <limits>

#include "exec/attend.h"
#include "exec/finish.h"

namespace regard::exec {
namespace {

using kernels::index;
using kernels::State;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// The address of element (batch, head, query, 0).
template <class View>
auto* row_at(const View& view, const Sequence& sequence, std::int64_t head,
             std::int64_t query) noexcept {
  using Byte = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(view.data)>>,
                                  const std::byte, std::byte>;
  const std::int64_t offset = sequence.batch * view.strides[0] + head * view.strides[1] +
                              (sequence.q_begin + query) * view.strides[2];
  return static_cast<Byte*>(view.data) + offset * static_cast<std::int64_t>(size_of(view.dtype));
}

/// A row of a strip's state; `zeros` stands in for the values of a strip that saw no key.
RowState row_state(const Setup& s, const State* state, std::int64_t r, float* zeros) noexcept {
  if (state == nullptr) return {kMinusInfinity, 0.0f, zeros, s.shape.value_dim};
  return {state->max[r], state->sum[r], state->out + r * s.out_stride(), s.shape.value_dim};
}

void store_state(const Setup& s, AttentionState& to, const Rows& strip,
                 const State* state) noexcept {
  const Sequence& sequence = s.sequences[static_cast<std::size_t>(strip.sequence)];
  for (std::int64_t r = 0; r < strip.count(); ++r) {
    const std::int64_t row = strip.begin + r;
    const std::int64_t at = (sequence.batch * to.num_heads + strip.head(row)) * to.q_len +
                            sequence.q_begin + strip.query(row);
    to.max[static_cast<std::size_t>(at)] = state == nullptr ? kMinusInfinity : state->max[r];
    to.sum[static_cast<std::size_t>(at)] = state == nullptr ? 0.0f : state->sum[r];
    for (std::int64_t e = 0; e < to.value_dim; ++e) {
      to.out[static_cast<std::size_t>(at * to.value_dim + e)] =
          state == nullptr ? 0.0f : state->out[r * s.out_stride() + e];
    }
  }
}

void store_rows(const Setup& s, const Call& call, const Rows& strip, const State* state,
                float* zeros) noexcept {
  const Sequence& sequence = s.sequences[static_cast<std::size_t>(strip.sequence)];
  for (std::int64_t r = 0; r < strip.count(); ++r) {
    const std::int64_t head = strip.head(strip.begin + r), query = strip.query(strip.begin + r);
    RowState row = row_state(s, state, r, zeros);
    if (!s.sinks.empty()) add_sink(*s.kernels, s.sinks[static_cast<std::size_t>(head)], row);
    write_row(*s.kernels, row, row_at(call.out, sequence, head, query), call.out.dtype,
              call.out.strides[3]);
    if (call.lse) (*call.lse)(sequence.batch, head, sequence.q_begin + query) = log_sum_exp(row);
  }
}

/// What the rows' weights are to be divided by, sinks included.
void report_finished(const Setup& s, const Rows& strip, Probe& probe, const State* state) noexcept {
  std::array<float, kMostStripRows> max, sum;
  for (std::int64_t r = 0; r < strip.count(); ++r) {
    RowState row = row_state(s, state, r, nullptr);
    row.columns = 0;  // the values are not at stake
    if (!s.sinks.empty())
      add_sink(*s.kernels, s.sinks[static_cast<std::size_t>(strip.head(strip.begin + r))], row);
    max[static_cast<std::size_t>(r)] = row.max;
    sum[static_cast<std::size_t>(r)] = row.sum;
  }
  probe.finished({.batch = strip.sequence,
                  .kv_head = strip.kv_head,
                  .heads_per_kv_head = strip.heads_per_kv_head,
                  .row_begin = strip.begin,
                  .num_rows = strip.count(),
                  .max = max.data(),
                  .sum = sum.data()});
}

}  // namespace

Rows rows_of(const Setup& s, const Call& call, const RowBlock& block) noexcept {
  const std::int64_t q_offset =
      call.q_offsets != nullptr ? call.q_offsets[block.sequence]
                                : s.sequences[static_cast<std::size_t>(block.sequence)].q_offset;
  return {.sequence = block.sequence,
          .kv_head = block.kv_head,
          .heads_per_kv_head = s.heads_per_kv_head(),
          .begin = block.begin,
          .end = block.end,
          .q_offset = q_offset};
}

Rows strip_of(const Setup& s, const Rows& block, std::int64_t i) noexcept {
  Rows strip = block;
  strip.begin = block.begin + i * s.strip_rows;
  strip.end = std::min(strip.begin + s.strip_rows, block.end);
  return strip;
}

/// Head by head: the rows of one head lie at a fixed distance from each other, in the tensor and in
/// the block.
void load_queries(const Setup& s, const Call& call, const Rows& block, float* words) noexcept {
  const Sequence& sequence = s.sequences[static_cast<std::size_t>(block.sequence)];
  const std::int64_t group = block.heads_per_kv_head, depth = s.arithmetic->words(s.shape.head_dim);
  for (std::int64_t i = 0; i < std::min(group, block.count()); ++i) {
    const std::int64_t row = block.begin + i;
    const kernels::Matrix source{row_at(call.query, sequence, block.head(row), block.query(row)),
                                 (block.count() - i + group - 1) / group, s.shape.head_dim,
                                 call.query.strides[2], call.query.strides[3]};
    s.arithmetic->load_rows[index(call.query.dtype)](source, words + i * depth, group * depth);
  }
}

std::int64_t page_end(const KvSource& source, std::int64_t begin, std::int64_t end) noexcept {
  if (source.tables == nullptr) return end;
  return std::min(end, (begin / source.page_size + 1) * source.page_size);
}

kernels::Matrix keys_of(const Setup& s, const Call& call, const KvSource& source, const Rows& rows,
                        const Tile& keys) noexcept {
  const Sequence& sequence = s.sequences[static_cast<std::size_t>(rows.sequence)];
  const std::int64_t first = sequence.kv_begin + keys.kv_begin - s.kv_offset;
  const auto bytes = static_cast<std::int64_t>(size_of(source.dtype));
  kernels::Matrix m{nullptr, keys.kv_end - keys.kv_begin, source.shape[3], source.strides[2],
                    source.strides[3]};
  if (source.tables == nullptr) {
    const std::int64_t offset = sequence.batch * source.strides[0] +
                                rows.kv_head * source.strides[1] + first * m.row_stride;
    m.data = static_cast<const std::byte*>(source.data) + offset * bytes;
    return m;
  }
  const std::int64_t page = first / source.page_size, row = first % source.page_size;
  const std::int64_t offset = source.offset + rows.kv_head * source.strides[1] * bytes;
  const std::int64_t kv_len = call.kv_len(s, rows.sequence);
  m.pages = {.table = source.tables[rows.sequence] + page,
             .num = (kv_len + source.page_size - 1) / source.page_size - page,
             .page_rows = source.page_size,
             .row = row,
             .offset = offset};
  return m;
}

void scale_columns(const Setup& s, const KvSource& source, const Rows& strip,
                   Workspace& w) noexcept {
  for (const Tile& tile : w.tiles) {
    for (std::int64_t begin = tile.kv_begin, end; begin < tile.kv_end; begin = end) {
      end = page_end(source, begin, tile.kv_end);
      const std::byte* page = source.tables[strip.sequence][begin / source.page_size];
      const float* scales = reinterpret_cast<const float*>(page + source.scale_offset) +
                            strip.kv_head * source.page_size + begin % source.page_size;
      for (std::int64_t r = 0; r < strip.count(); ++r) {
        s.kernels->scale_columns(scales, end - begin,
                                 w.scores + r * kChunkKeys + begin - w.tiles.chunk_begin);
      }
    }
  }
}

void report_tile(const Setup& s, const Call& call, const Rows& strip, const State& state,
                 Workspace& w) noexcept {
  const std::int64_t first = w.tiles.begin()->kv_begin, keys = w.tiles.visible_end - first;
  const float* weights = w.scores + (first - w.tiles.chunk_begin);
  if (s.arithmetic->word > 1) {
    s.kernels->f32->load_rows[index(DType::kBf16)](
        {weights, strip.count(), keys, kChunkKeys * s.arithmetic->word, 1}, w.weights, kChunkKeys);
    weights = w.weights;
  }
  call.probe->tile({.batch = strip.sequence,
                    .kv_head = strip.kv_head,
                    .heads_per_kv_head = strip.heads_per_kv_head,
                    .row_begin = strip.begin,
                    .num_rows = strip.count(),
                    .kv_begin = first - s.kv_offset,
                    .num_keys = keys,
                    .weights = weights,
                    .stride = kChunkKeys,
                    .row_max = state.max});
}

void store(const Setup& s, const Call& call, const RowBlock& block, Workspace& w) noexcept {
  const Rows rows = rows_of(s, call, block);
  for (std::int64_t i = 0; i < num_strips(s, block); ++i) {
    const Rows strip = strip_of(s, rows, i);
    MergeTree& tree = w.trees[static_cast<std::size_t>(i)];
    State root{};
    const bool empty = tree.empty();
    if (!empty) root = tree.root(*s.kernels, strip.count());
    const State* state = empty ? nullptr : &root;
    if (call.probe != nullptr) report_finished(s, strip, *call.probe, state);
    if (call.state != nullptr) {
      store_state(s, *call.state, strip, state);
      continue;
    }
    if (empty) std::fill_n(w.scores, s.out_stride(), 0.0f);
    store_rows(s, call, strip, state, w.scores);
  }
}

}  // namespace regard::exec
