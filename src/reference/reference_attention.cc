// src/reference/reference_attention.cc - attention in double, row by row, and the derived bound of
// every element.
#include "regard/reference_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "reference/bound.h"
#include "reference/scores.h"
#include "regard/plan.h"

namespace regard {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNotWritten = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kChunk = 256;  // keys whose weights share one maximum

struct Call {
  const InputView<4>& query;
  const InputView<4>& key;
  const InputView<4>& value;
  const AttentionOptions& options;
  ReferenceOptions reference;

  bool bf16_dots() const { return reference.bf16_dots != Bf16Dots::kNo; }
};

// Queries and keys that belong together: a batch entry, or a range of packed rows.
struct Sequence {
  std::int64_t index, batch;
  std::int64_t q_begin, q_end, kv_begin;  // in the views
  std::int64_t kv_len, q_offset;
};

// Rows [begin, begin + count) of one head, contiguous and widened without error.
struct Rows {
  Rows(const InputView<4>& view, std::int64_t b, std::int64_t h, std::int64_t begin,
       std::int64_t count)
      : width(view.shape[3]) {
    for (std::int64_t i = begin; i < begin + count; ++i) {
      const std::int64_t at = b * view.strides[0] + h * view.strides[1] + i * view.strides[2];
      for (std::int64_t d = 0; d < width; ++d) {
        numbers.push_back(reference::load(view.data, view.dtype, at + d * view.strides[3]));
      }
    }
  }
  const double* operator[](std::int64_t i) const { return numbers.data() + i * width; }

  std::int64_t width;
  std::vector<double> numbers;
};

// What the rows of one head of one sequence share.
struct Head {
  const Call& call;
  const Sequence& sequence;
  const AnyMask& mask;
  const Rows& keys;
  const Rows& values;
  double sink;  // -inf: none

  bool has_sink() const { return sink != -kInfinity; }
};

// One query row of one head. `keys` are the visible ones; all other arrays but the last two run
// parallel to it, score, score_error and weight with the sink, if any, as one more.
struct Row {
  std::vector<std::int64_t> keys;
  std::vector<double> score;        // s_j
  std::vector<double> score_error;  // sigma_j
  std::vector<double> weight;       // exp(s_j - max), not normalised
  std::vector<bound::Rounding> rounding;
  std::vector<double> out, out_bound;
  double max = 0, sum = 0;
};

reference::Score product(const Call& call, const double* query, const double* key, double scale) {
  double dot = 0;
  bound::DotSize size;
  const std::int64_t head_dim = call.query.shape[3];
  for (std::int64_t d = 0; d < head_dim; ++d) {
    dot += query[d] * key[d];
    size.products += std::abs(query[d] * key[d]);
    size.factors += std::abs(query[d]) + std::abs(key[d]);
    if (call.reference.int8_rows) size.row_scale = std::max(size.row_scale, std::abs(key[d]) / 127);
  }
  return {scale * dot, bound::score_error(size, scale, head_dim, call.bf16_dots())};
}

// The default scale is the float32 number nearest to 1 / sqrt(head_dim).
double effective_scale(const Call& call) {
  if (call.options.scale) return static_cast<double>(*call.options.scale);
  const double exact = 1.0 / std::sqrt(static_cast<double>(call.query.shape[3]));
  return static_cast<double>(static_cast<float>(exact));
}

// Fills keys, score and score_error.
void score_row(const Head& head, reference::Pair pair, const double* query, Row& row) {
  row = {};
  const AttentionOptions& options = head.call.options;
  const double scale = effective_scale(head.call);
  for (std::int64_t j = 0; j < head.sequence.kv_len; ++j) {
    pair.kv_position = options.kv_offset + j;
    pair.bias_index[3] = head.sequence.kv_begin + j;
    if (!head.mask.allows(pair.q_position(), pair.kv_position)) continue;
    const reference::Score score =
        modified(product(head.call, query, head.keys[j], scale), options.score_mods, pair);
    if (!options.score_mods.empty() && score.value == -kInfinity && score.error == 0) continue;
    row.keys.push_back(j);
    row.score.push_back(score.value);
    row.score_error.push_back(score.error);
  }
}

void softmax_row(Row& row) {
  row.max = -kInfinity;
  for (const double s : row.score) row.max = std::max(row.max, s);
  for (const double s : row.score) {
    row.weight.push_back(std::exp(s - row.max));  // a NaN score makes the sum, so the row, NaN
    row.sum += row.weight.back();
  }
}

// How each weight is rounded before it meets its value.
void round_row(Bf16Dots dots, std::int64_t kv_offset, Row& row) {
  row.rounding.assign(row.keys.size(),
                      dots == Bf16Dots::kPromised ? bound::any_bf16_rounding() : bound::Rounding{});
  if (dots != Bf16Dots::kModelled) return;
  for (std::size_t begin = 0, end = 0; begin < row.keys.size(); begin = end) {
    double max = -kInfinity, shift = 0;
    const std::int64_t chunk = (kv_offset + row.keys[begin]) / kChunk;
    for (; end < row.keys.size() && (kv_offset + row.keys[end]) / kChunk == chunk; ++end) {
      max = std::max(max, row.score[end]);
      shift = std::max(shift, row.score_error[end]);
    }
    for (std::size_t n = begin; n < end; ++n) {
      row.rounding[n] = bound::bf16_rounding(max - row.score[n], row.score_error[n], shift);
    }
  }
}

void value_row(const Rows& values, Row& row) {
  row.out.assign(static_cast<std::size_t>(values.width), 0.0);
  for (std::size_t n = 0; n < row.keys.size(); ++n) {
    const double p = row.weight[n] / row.sum * row.rounding[n].factor;
    const double* value = values[row.keys[n]];
    for (std::size_t e = 0; e < row.out.size(); ++e) row.out[e] += p * value[e];
  }
}

void bound_row(const Head& head, const bound::RowError& error, Row& row) {
  const Rows& values = head.values;
  std::vector<bound::ElementSums> sums(row.out.size());
  for (std::size_t n = 0; n < row.keys.size(); ++n) {
    const double* value = values[row.keys[n]];
    const double p = row.weight[n] / row.sum, moved = error.weight_error[n];
    const auto [factor, factor_error] = row.rounding[n];
    for (std::size_t e = 0; e < row.out.size(); ++e) {
      const double size = std::abs(value[e]);
      sums[e].shift += moved * (std::abs(factor * value[e] - row.out[e]) + factor_error * size);
      sums[e].rounding += p * factor_error * size;
      sums[e].magnitude += (p + moved) * (factor + factor_error) * size;
      sums[e].values += size;
    }
  }
  for (std::size_t e = 0; e < row.out.size(); ++e) {
    if (head.has_sink()) sums[e].shift += error.weight_error.back() * std::abs(row.out[e]);
    const double in_float32 = bound::out_error(sums[e], error);
    row.out_bound.push_back(
        bound::stored_error(row.out[e], in_float32, head.call.reference.out_dtype));
  }
}

// Fills the row's slice of the result from its scores.
void finish_row(const Head& head, std::size_t index, Row& row, ReferenceResult& result) {
  const std::ptrdiff_t width = head.values.width,
                       begin = static_cast<std::ptrdiff_t>(index) * width;
  // A row that sees nothing, or only scores of -inf, says so exactly.
  if (std::ranges::all_of(row.score, [](double s) { return s == -kInfinity; })) {
    std::fill_n(result.out.begin() + begin, width, 0.0);
    std::fill_n(result.out_bound.begin() + begin, width, 0.0);
    result.lse[index] = head.sink;
    result.lse_bound[index] = 0;
    return;
  }
  if (head.has_sink()) {
    row.score.push_back(head.sink);
    row.score_error.push_back(0);
  }
  const std::int64_t kv_begin = head.call.options.kv_offset;
  softmax_row(row);
  round_row(head.call.reference.bf16_dots, kv_begin, row);
  value_row(head.values, row);
  const bound::RowError error =
      bound::row_error({row.score, row.score_error, row.weight, row.max, row.sum, kv_begin,
                        kv_begin + head.sequence.kv_len, head.has_sink(), head.call.bf16_dots(),
                        head.call.reference.int8_rows});
  bound_row(head, error, row);
  std::copy(row.out.begin(), row.out.end(), result.out.begin() + begin);
  std::copy(row.out_bound.begin(), row.out_bound.end(), result.out_bound.begin() + begin);
  const double log_sum = std::log(row.sum);
  result.lse[index] = row.max + log_sum;
  result.lse_bound[index] = bound::lse_error(row.max + log_sum, log_sum, error);
}

// All rows of one sequence that share keys and values.
void attend(const Call& call, const Sequence& s, std::int64_t kv_head, ReferenceResult& result) {
  const auto& [query, key, value, options, reference] = call;
  const std::int64_t heads = query.shape[1], group = heads / key.shape[1];
  const Rows keys(key, s.batch, kv_head, s.kv_begin, s.kv_len);
  const Rows values(value, s.batch, kv_head, s.kv_begin, s.kv_len);
  Row row;
  for (std::int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
    const Rows queries(query, s.batch, h, s.q_begin, s.q_end - s.q_begin);
    const double sink = options.sinks.empty()
                            ? -kInfinity
                            : static_cast<double>(options.sinks[static_cast<std::size_t>(h)]);
    const AnyMask mask = options.mask.at(s.index, h);
    const Head head{call, s, mask, keys, values, sink};
    for (std::int64_t i = s.q_begin; i < s.q_end; ++i) {
      const std::int64_t in_sequence = i - s.q_begin;
      score_row(head, {s.index, h, group, in_sequence, s.q_offset, 0, {s.batch, h, i, 0}},
                queries[in_sequence], row);
      const std::int64_t index = (s.batch * heads + h) * query.shape[2] + i;
      finish_row(head, static_cast<std::size_t>(index), row, result);
    }
  }
}

std::vector<Sequence> sequences_of(const Call& call) {
  const AttentionOptions& o = call.options;
  const bool packed = !o.cu_seqlens_q.empty();
  const std::size_t count =
      packed ? o.cu_seqlens_q.size() - 1 : static_cast<std::size_t>(call.query.shape[0]);
  std::vector<Sequence> sequences;
  for (std::size_t n = 0; n < count; ++n) {
    const std::int64_t index = static_cast<std::int64_t>(n);
    Sequence s{index, index, 0, call.query.shape[2], 0, call.key.shape[2], 0};
    if (packed) {
      s = {index,
           0,
           o.cu_seqlens_q[n],
           o.cu_seqlens_q[n + 1],
           o.cu_seqlens_kv[n],
           o.cu_seqlens_kv[n + 1] - o.cu_seqlens_kv[n],
           0};
    }
    if (!o.kv_lens.empty()) s.kv_len = o.kv_lens[n];
    s.q_offset = o.q_offsets.empty() ? o.q_offset.value_or(0) : o.q_offsets[n];
    sequences.push_back(s);
  }
  return sequences;
}

void expect_shape(const char* name, const std::array<std::int64_t, 4>& came,
                  const std::array<std::int64_t, 4>& wanted) {
  for (std::size_t i = 0; i < came.size(); ++i) {
    if (came[i] == wanted[i]) continue;
    throw std::invalid_argument("reference_attention: " + std::string(name) + ".shape[" +
                                std::to_string(i) + "] is " + std::to_string(came[i]) +
                                ", expected " + std::to_string(wanted[i]));
  }
}

// What attention() refuses is refused here: a plan knows the rules for extents and options.
void check(const Call& call) {
  const auto& [query, key, value, options, reference] = call;
  const auto [batch, heads, q_len, head_dim] = query.shape;
  const std::int64_t kv_heads = key.shape[1], kv_len = key.shape[2], value_dim = value.shape[3];
  const Plan plan({batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim, query.dtype,
                   key.dtype, value.dtype, reference.out_dtype},
                  options);
  expect_shape("key", key.shape, {batch, kv_heads, kv_len, head_dim});
  expect_shape("value", value.shape, {batch, kv_heads, kv_len, value_dim});
  if (!call.bf16_dots()) return;
  for (const DType dtype : {query.dtype, key.dtype, value.dtype}) {
    if (dtype == DType::kBf16) continue;
    throw std::invalid_argument("reference_attention: bf16_dots is given for a tensor of " +
                                std::string(name_of(dtype)) + ", expected all of bf16");
  }
}

}  // namespace

ReferenceResult reference_attention(InputView<4> query, InputView<4> key, InputView<4> value,
                                    const AttentionOptions& options,
                                    const ReferenceOptions& reference) {
  const Call call{query, key, value, options, reference};
  check(call);
  const std::size_t rows =
      static_cast<std::size_t>(query.shape[0] * query.shape[1] * query.shape[2]);
  const std::size_t elements = rows * static_cast<std::size_t>(value.shape[3]);
  const std::vector<double> per_element(elements, kNotWritten), per_row(rows, kNotWritten);
  ReferenceResult result{per_element, per_element, per_row, per_row};
  for (const Sequence& sequence : sequences_of(call)) {
    for (std::int64_t g = 0; g < key.shape[1]; ++g) attend(call, sequence, g, result);
  }
  return result;
}

}  // namespace regard
