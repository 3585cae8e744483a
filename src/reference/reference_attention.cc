// src/reference/reference_attention.cc - attention in double, row by row, and the derived bound of
// every element.
#include "regard/reference_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "reference/bound.h"
#include "regard/plan.h"

namespace regard {
namespace {

// One query row of one head: where its numbers lie.
struct RowInput {
  const float* query;  // [d * query_step]
  const float* key;    // [j * key_stride + d * key_step]
  const float* value;  // [j * value_stride + e * value_step]
  std::int64_t query_step, key_stride, key_step, value_stride, value_step;
  std::int64_t head_dim, value_dim;
  double scale;
};

// What the row computes. `keys` are the visible ones; all other arrays but the last two run
// parallel to it.
struct Row {
  std::vector<std::int64_t> keys;
  std::vector<double> score;        // s_j
  std::vector<double> score_error;  // sigma_j
  std::vector<double> weight;       // exp(s_j - max), not normalised
  std::vector<double> out, out_bound;
  double max = 0, sum = 0;
};

void score_row(const RowInput& in, Row& row) {
  row.score.clear();
  row.score_error.clear();
  for (const std::int64_t j : row.keys) {
    double dot = 0, magnitude = 0;
    for (std::int64_t d = 0; d < in.head_dim; ++d) {
      const double product = static_cast<double>(in.query[d * in.query_step]) *
                             static_cast<double>(in.key[j * in.key_stride + d * in.key_step]);
      dot += product;
      magnitude += std::abs(product);
    }
    row.score.push_back(in.scale * dot);
    row.score_error.push_back(bound::score_error(magnitude, in.scale, in.head_dim));
  }
}

void softmax_row(Row& row) {
  row.max = -std::numeric_limits<double>::infinity();
  for (const double s : row.score) row.max = std::max(row.max, s);
  row.weight.clear();
  row.sum = 0;
  for (const double s : row.score) {
    row.weight.push_back(std::exp(s - row.max));  // a NaN score makes the sum, so the row, NaN
    row.sum += row.weight.back();
  }
}

void value_row(const RowInput& in, Row& row) {
  row.out.assign(static_cast<std::size_t>(in.value_dim), 0.0);
  for (std::size_t n = 0; n < row.keys.size(); ++n) {
    const float* value = in.value + row.keys[n] * in.value_stride;
    const double p = row.weight[n] / row.sum;
    for (std::int64_t e = 0; e < in.value_dim; ++e) {
      row.out[static_cast<std::size_t>(e)] += p * static_cast<double>(value[e * in.value_step]);
    }
  }
}

void bound_row(const RowInput& in, const bound::RowError& error, Row& row) {
  std::vector<bound::ElementSums> sums(static_cast<std::size_t>(in.value_dim));
  for (std::size_t n = 0; n < row.keys.size(); ++n) {
    const float* value = in.value + row.keys[n] * in.value_stride;
    const double p = row.weight[n] / row.sum;
    for (std::int64_t e = 0; e < in.value_dim; ++e) {
      const std::size_t i = static_cast<std::size_t>(e);
      const double v = static_cast<double>(value[e * in.value_step]);
      sums[i].shift += error.weight_error[n] * std::abs(v - row.out[i]);
      sums[i].magnitude += (p + error.weight_error[n]) * std::abs(v);
      sums[i].values += std::abs(v);
    }
  }
  row.out_bound.clear();
  for (const bound::ElementSums& s : sums) row.out_bound.push_back(bound::out_error(s, error));
}

// Fills the row's slice of the result from row.keys.
void finish_row(const RowInput& in, std::int64_t kv_len, Row& row, std::size_t index,
                ReferenceResult& result) {
  if (row.keys.empty()) {  // sees nothing: out 0 and its bound 0, as allocated
    result.lse[index] = -std::numeric_limits<double>::infinity();
    return;
  }
  score_row(in, row);
  softmax_row(row);
  value_row(in, row);
  const double lse = row.max + std::log(row.sum);
  const bound::RowError error =
      bound::row_error({row.score, row.score_error, row.weight, row.max, row.sum, kv_len});
  bound_row(in, error, row);
  const std::ptrdiff_t begin = static_cast<std::ptrdiff_t>(index) * in.value_dim;
  std::copy(row.out.begin(), row.out.end(), result.out.begin() + begin);
  std::copy(row.out_bound.begin(), row.out_bound.end(), result.out_bound.begin() + begin);
  result.lse[index] = lse;
  result.lse_bound[index] = bound::lse_error(lse, std::log(row.sum), error);
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
void check(const TensorView<const float, 4>& query, const TensorView<const float, 4>& key,
           const TensorView<const float, 4>& value, const AttentionOptions& options) {
  const auto [batch, heads, q_len, head_dim] = query.shape;
  const std::int64_t kv_heads = key.shape[1], kv_len = key.shape[2], value_dim = value.shape[3];
  const Plan plan({batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim}, options);
  expect_shape("key", key.shape, {batch, kv_heads, kv_len, head_dim});
  expect_shape("value", value.shape, {batch, kv_heads, kv_len, value_dim});
}

// The default scale is the float32 number nearest to 1 / sqrt(head_dim).
double effective_scale(const AttentionOptions& options, std::int64_t head_dim) {
  if (options.scale) return static_cast<double>(*options.scale);
  const double exact = 1.0 / std::sqrt(static_cast<double>(head_dim));
  return static_cast<double>(static_cast<float>(exact));
}

}  // namespace

ReferenceResult reference_attention(TensorView<const float, 4> query,
                                    TensorView<const float, 4> key,
                                    TensorView<const float, 4> value,
                                    const AttentionOptions& options) {
  check(query, key, value, options);
  const auto [batch, heads, q_len, head_dim] = query.shape;
  const std::int64_t value_dim = value.shape[3];
  const std::size_t rows = static_cast<std::size_t>(batch * heads * q_len);
  const std::size_t elements = rows * static_cast<std::size_t>(value_dim);
  ReferenceResult result{std::vector<double>(elements), std::vector<double>(elements),
                         std::vector<double>(rows), std::vector<double>(rows)};
  const std::int64_t group = heads / key.shape[1];
  Row row;
  std::size_t index = 0;
  for (std::int64_t b = 0; b < batch; ++b) {
    const std::int64_t kv_len =
        options.kv_lens.empty() ? key.shape[2] : options.kv_lens[static_cast<std::size_t>(b)];
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t i = 0; i < q_len; ++i, ++index) {
        const RowInput in{&query(b, h, i, 0),
                          &key(b, h / group, 0, 0),
                          &value(b, h / group, 0, 0),
                          query.strides[3],
                          key.strides[2],
                          key.strides[3],
                          value.strides[2],
                          value.strides[3],
                          head_dim,
                          value_dim,
                          effective_scale(options, head_dim)};
        row.keys.clear();
        for (std::int64_t j = 0; j < kv_len; ++j) {
          if (options.mask.allows(options.q_offset.value_or(0) + i, j)) row.keys.push_back(j);
        }
        finish_row(in, kv_len, row, index, result);
      }
    }
  }
  return result;
}

}  // namespace regard
