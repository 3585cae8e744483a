// src/exec/rows.cc - query rows on their way in, results on their way out.
#include <algorithm>
#include <cmath>
#include <limits>

#include "exec/attend.h"

namespace regard::exec {
namespace {

using kernels::index;
using kernels::State;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// The address of element (batch, head, query, 0).
template <class View>
auto* row_at(const View& view, const Sequence& sequence, std::int64_t head, std::int64_t query) noexcept {
  using Byte = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(view.data)>>, const std::byte, std::byte>;
  const std::int64_t offset = sequence.batch * view.strides[0] + head * view.strides[1] +
                              (sequence.q_begin + query) * view.strides[2];
  return static_cast<Byte*>(view.data) + offset * static_cast<std::int64_t>(size_of(view.dtype));
}

/// A row's result when its head has a sink: one more key, with a score and no value.
struct WithSink {
  float scale;  ///< what the row's out and sum are multiplied by
  float sum;
  float max;
};

WithSink with_sink(const Setup& s, float max, float sum, float sink) noexcept {
  const float top = std::max(max, sink);
  float factors[2] = {max == kMinusInfinity ? kMinusInfinity : max - top, sink - top};
  s.kernels->exp(factors, factors, 2);
  return {factors[0], sum * factors[0] + factors[1], top};
}


void store_state(const Setup& s, AttentionState& to, const Rows& strip, const State* state) noexcept {
  const Sequence& sequence = s.sequences[static_cast<std::size_t>(strip.sequence)];
  for (std::int64_t r = 0; r < strip.count(); ++r) {
    const std::int64_t row = strip.begin + r;
    const std::int64_t at = (sequence.batch * to.num_heads + strip.head(row)) * to.q_len + sequence.q_begin + strip.query(row);
    to.max[static_cast<std::size_t>(at)] = state == nullptr ? kMinusInfinity : state->max[r];
    to.sum[static_cast<std::size_t>(at)] = state == nullptr ? 0.0f : state->sum[r];
    for (std::int64_t e = 0; e < to.value_dim; ++e) {
      to.out[static_cast<std::size_t>(at * to.value_dim + e)] = state == nullptr ? 0.0f : state->out[r * s.out_stride() + e];
    }
  }
}

/// The natural logarithm once per row: the correctly rounded one is affordable.
float log_sum_exp(float max, float sum) noexcept {
  if (sum == 0.0f) return kMinusInfinity;
  return static_cast<float>(static_cast<double>(max) + std::log(static_cast<double>(sum)));
}

void store_rows(const Setup& s, const Call& call, const Rows& strip, const State* state, float* zeros) noexcept {
  const Sequence& sequence = s.sequences[static_cast<std::size_t>(strip.sequence)];
  const std::int64_t columns = s.shape.value_dim, stride = s.out_stride();
  for (std::int64_t r = 0; r < strip.count(); ++r) {
    const std::int64_t row = strip.begin + r, head = strip.head(row), query = strip.query(row);
    float max = state == nullptr ? kMinusInfinity : state->max[r];
    float sum = state == nullptr ? 0.0f : state->sum[r];
    float* out = state == nullptr ? zeros : state->out + r * stride;
    const bool saw_nothing = sum == 0.0f;  // not by max: it is -inf for a row of NaN as well
    if (!s.sinks.empty()) {
      const WithSink sink = with_sink(s, max, sum, s.sinks[static_cast<std::size_t>(head)]);
      for (std::int64_t e = 0; e < columns && !saw_nothing; ++e) out[e] *= sink.scale;
      max = sink.max;
      sum = sink.sum;
    }
    s.kernels->finish[index(call.out.dtype)](out, saw_nothing ? 1.0f : sum, columns,
                                             row_at(call.out, sequence, head, query), call.out.strides[3]);
    if (call.lse) (*call.lse)(sequence.batch, head, sequence.q_begin + query) = log_sum_exp(max, sum);
  }
}

void report_finished(const Setup& s, const Rows& strip, Probe& probe, const State* state) noexcept {
  std::array<float, kMostStripRows> none, zero;
  none.fill(kMinusInfinity);
  zero.fill(0.0f);
  std::array<float, kMostStripRows> max = none, sum = zero;
  for (std::int64_t r = 0; state != nullptr && r < strip.count(); ++r) {
    const auto i = static_cast<std::size_t>(r);
    max[i] = state->max[r];
    sum[i] = state->sum[r];
    if (s.sinks.empty()) continue;
    const WithSink sink = with_sink(s, max[i], sum[i], s.sinks[static_cast<std::size_t>(strip.head(strip.begin + r))]);
    max[i] = sink.max;
    sum[i] = sink.sum;
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
  const std::int64_t q_offset = call.q_offsets != nullptr
                                    ? call.q_offsets[block.sequence]
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

/// Head by head: the rows of one head lie at a fixed distance from each other, in the tensor and in the block.
void load_queries(const Setup& s, const Call& call, const Rows& block, float* words) noexcept {
  const Sequence& sequence = s.sequences[static_cast<std::size_t>(block.sequence)];
  const std::int64_t group = block.heads_per_kv_head, depth = s.arithmetic->words(s.shape.head_dim);
  for (std::int64_t i = 0; i < std::min(group, block.count()); ++i) {
    const std::int64_t row = block.begin + i;
    const kernels::Matrix source{row_at(call.query, sequence, block.head(row), block.query(row)),
                                 (block.count() - i + group - 1) / group, s.shape.head_dim, call.query.strides[2],
                                 call.query.strides[3]};
    s.arithmetic->load_rows[index(call.query.dtype)](source, words + i * depth, group * depth);
  }
}

void report_tile(const Setup& s, const Call& call, const Rows& strip, const State& state, Workspace& w) noexcept {
  const std::int64_t first = w.tiles.begin()->kv_begin, keys = w.tiles.visible_end - first;
  const float* weights = w.scores + (first - w.tiles.chunk_begin);
  if (s.arithmetic->word > 1) {
    s.kernels->f32->load_rows[index(DType::kBf16)]({weights, strip.count(), keys, kChunkKeys * s.arithmetic->word, 1},
                                                   w.weights, kChunkKeys);
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
