// include/regard/score_mod.h - what happens to scores between the product and the mask.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <variant>
#include <vector>

#include "regard/tensor_view.h"

namespace regard {

/// s -> cap * tanh(s / cap). 2^-126 <= cap <= 2^126.
struct SoftCap {
  float cap;
};

/// s -> s - slopes[h] * |q - kv|, positions absolute (Press et al. 2022; with a causal mask |q -
/// kv| is q - kv).
struct Alibi {
  std::vector<float> slopes;  ///< (H), finite
};

/// s -> s + values[b, h, i, j]: query i and key j of the call. Shape (B, H, N, M), any extent may
/// be 1 or any stride 0 to broadcast; f32, bf16 or f16; read during run, not copied. -inf masks the
/// pair; +inf and NaN make that row NaN. With packed sequences (cu_seqlens) B, N and M are those of
/// the packed views.
struct Bias {
  InputView<4> values;
};

/// s -> s + table[h, bucket(kv - q)], T5's buckets (Raffel et al. 2020): half of them for exact
/// small distances, the rest logarithmic up to max_distance, beyond which all share the last.
/// Bidirectional: one half of the buckets for keys after the query. Otherwise keys after the query
/// share bucket 0.
struct RelativeBias {
  std::vector<float> table;  ///< (H, num_buckets), row-major
  std::int64_t num_buckets = 32;
  std::int64_t max_distance = 128;
  bool bidirectional = true;
};

/// Scores of some rows against some keys, in place. Row r belongs to query head head(r) and the
/// query at absolute position q_position(r); column j to the key at absolute position kv_begin + j.
struct ScoreTile {
  float* scores;
  std::int64_t stride;  ///< floats from one row to the next
  std::int64_t num_rows;
  std::int64_t num_keys;
  std::int64_t batch;  ///< index of the sequence
  std::int64_t kv_head;
  std::int64_t heads_per_kv_head;
  std::int64_t
      row_begin;  ///< rows of a KV head are numbered query * heads_per_kv_head + head in group
  std::int64_t q_offset;
  std::int64_t kv_begin;

  float& operator()(std::int64_t r, std::int64_t j) const { return scores[r * stride + j]; }
  std::int64_t head(std::int64_t r) const {
    return kv_head * heads_per_kv_head + (row_begin + r) % heads_per_kv_head;
  }
  std::int64_t q_position(std::int64_t r) const {
    return q_offset + (row_begin + r) / heads_per_kv_head;
  }
};

/// Any function of a score, its head and its positions. It is called from several threads at once,
/// on tiles whose size is not promised, also for pairs that the mask then forbids, and must not
/// throw. Elementwise, or the determinism contract is void. The error bound takes it as exact.
struct UserMod {
  std::function<void(const ScoreTile&)> apply;
};

/// Applied in the order given, after the scale and before the mask.
using ScoreMod = std::variant<SoftCap, Alibi, Bias, RelativeBias, UserMod>;

}  // namespace regard
