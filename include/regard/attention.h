// include/regard/attention.h - exact attention in one call.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "regard/any_mask.h"
#include "regard/executor.h"
#include "regard/probe.h"
#include "regard/tensor_view.h"

namespace regard {

/// Letters used throughout: B batch, H query heads, G key/value heads (H is a multiple of G), N
/// q_len, M kv_len, D head_dim, E value_dim.
struct AttentionShape {
  std::int64_t batch = 1;
  std::int64_t num_heads = 1;
  std::int64_t num_kv_heads = 1;
  std::int64_t q_len = 0;
  std::int64_t kv_len = 0;
  std::int64_t head_dim = 0;   ///< 1..512
  std::int64_t value_dim = 0;  ///< 1..512, may differ from head_dim
};

struct AttentionOptions {
  /// Which query may see which key, in absolute positions. Everything by default.
  AnyMask mask;
  /// Multiplies every score after the dot product; 1 / sqrt(head_dim) by default. Finite, of either
  /// sign, or 0.
  std::optional<float> scale;
  /// Absolute position of query 0; may be negative. May be left out only when positions do not
  /// matter: the mask is FullMask, or q_len == kv_len (then 0). There is no silent convention for
  /// causal masks of unequal lengths.
  std::optional<std::int64_t> q_offset;
  /// Number of keys of each sequence, (B), each in [0, kv_len]; empty: kv_len for all. Keys beyond
  /// are never read. A plan keeps its own copy.
  std::span<const std::int64_t> kv_lens;
  /// Where to run; default_executor() when null. Must outlive the plan.
  Executor* executor = nullptr;
};

/// out[b,h,i,:] = sum_j p_ij value[b,g,j,:],  p_i = softmax_j(scale * query[b,h,i,:] .
/// key[b,g,j,:]) over the keys j that the mask allows to query i, g = h / (H / G).  lse[b,h,i] =
/// log sum_j exp(score), natural logarithm.
///
/// query (B, H, N, D), key (B, G, M, D), value (B, G, M, E), out (B, H, N, E), lse (B, H, N):
/// float32, any strides. Extra memory does not grow with N * M. A query that sees no key gets out =
/// 0 and lse = -inf. A masked key is skipped, not multiplied by 0: NaN or Inf in it, or beyond
/// kv_lens, changes no bit. A NaN in a query, or in a key or value that it sees, makes its row
/// NaN; an Inf there follows IEEE arithmetic (a score of -inf is a weight of 0); no other row
/// changes. out and lse must not overlap each other or an input. The same inputs give the same bits
/// for every number of threads, batch composition, stride and alignment (docs/numerics.md). Throws
/// std::invalid_argument naming the argument, what came and what was wanted. Thread safe.
///
/// Source: Milakov and Gimelshein 2018 (online softmax), Dao et al. 2022 (tiling), with chunk
/// states merged in a fixed tree instead of a running rescale.
void attention(TensorView<const float, 4> query, TensorView<const float, 4> key,
               TensorView<const float, 4> value, TensorView<float, 4> out,
               const AttentionOptions& options = {}, std::optional<TensorView<float, 3>> lse = {},
               Probe* probe = nullptr);

}  // namespace regard
