// include/regard/attention.h - exact attention in one call.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include "regard/any_mask.h"
#include "regard/executor.h"
#include "regard/paged_view.h"
#include "regard/probe.h"
#include "regard/score_mod.h"
#include "regard/tensor_view.h"

namespace regard {

/// Letters used throughout: B batch, H query heads, G key/value heads (H is a multiple of G), N
/// q_len, M kv_len, D head_dim, E value_dim, S number of sequences (B, or what cu_seqlens say).
struct AttentionShape {
  std::int64_t batch = 1;
  std::int64_t num_heads = 1;
  std::int64_t num_kv_heads = 1;
  std::int64_t q_len = 0;
  std::int64_t kv_len = 0;
  std::int64_t head_dim = 0;   ///< 1..1024
  std::int64_t value_dim = 0;  ///< 1..1024, may differ from head_dim
  DType query_dtype = DType::kF32;
  DType key_dtype = DType::kF32;
  DType value_dtype = DType::kF32;
  DType out_dtype = DType::kF32;
  /// Tokens of a page where keys and values lie in pages, for run() with a PagedView; 0: tensors.
  /// Sequences are then those of the view, of at most kv_len keys each.
  std::int64_t page_size = 0;
};

struct AttentionOptions {
  /// Which query may see which key, in absolute positions. Everything by default.
  AnyMask mask = {};
  /// Multiplies every score after the dot product; 1 / sqrt(head_dim) by default. Finite, of either
  /// sign, or 0.
  std::optional<float> scale = {};
  /// Absolute position of query 0 of every sequence; may be negative. May be left out only when
  /// positions do not matter (FullMask, no position in score_mods), or q_len == kv_len (then 0).
  /// There is no silent convention for causal masks of unequal lengths.
  std::optional<std::int64_t> q_offset = {};
  /// The same per sequence, (S); instead of q_offset.
  std::span<const std::int64_t> q_offsets = {};
  /// Number of keys of each sequence, (S), each in [0, kv_len]; empty: all. Keys beyond are never
  /// read. A plan keeps its own copy of this and of every span here.
  std::span<const std::int64_t> kv_lens = {};
  /// Packed sequences: with batch 1, sequence s has the queries [cu_seqlens_q[s],
  /// cu_seqlens_q[s + 1]) and the keys [cu_seqlens_kv[s], cu_seqlens_kv[s + 1]), (S + 1) each,
  /// ascending from 0 to at most q_len and kv_len. Both or neither; with pages cu_seqlens_q alone.
  /// Positions begin anew in every sequence.
  std::span<const std::int64_t> cu_seqlens_q = {}, cu_seqlens_kv = {};
  /// What happens to scores after the scale and before the mask, in this order.
  std::vector<ScoreMod> score_mods = {};
  /// A logit per head that joins the softmax without a value, (H); empty: none. It enters once, at
  /// the end, and lse includes it. A row that sees no key: out 0, lse the sink.
  std::span<const float> sinks = {};
  /// Absolute position of key 0, a multiple of 256: for a part of the keys, see state.h.
  std::int64_t kv_offset = 0;
  /// Where to run; default_executor(shape) when null. Must outlive the plan.
  Executor* executor = nullptr;
  /// Where the plan's scratch memory comes from; new and delete when null. Must outlive the plan.
  std::pmr::memory_resource* memory = nullptr;
};

/// What may differ between two runs of one plan.
struct RunOptions {
  std::optional<TensorView<float, 3>> lse = {};  ///< (B, H, N): also written, when given
  Probe* probe = nullptr;                        ///< watches the weights, when given
  /// Stop soon (within 50 ms on any hardware of the last ten years) when it becomes true, and stays
  /// so until the end: run() then throws Cancelled and out is unspecified.
  const std::atomic<bool>* cancel = nullptr;
  std::span<const std::int64_t> q_offsets = {};  ///< (S), instead of the plan's
  std::span<const std::int64_t> kv_lens = {};    ///< (S), instead of the plan's
  /// At least plan.workspace_bytes(), 64-byte aligned; the plan's own when empty.
  std::span<std::byte> workspace = {};
};

/// Thrown by a run whose RunOptions::cancel became true.
class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("attention: cancelled") {}
};

/// default_executor(), but for so little work that it is done before another thread has woken:
/// serial_executor().
Executor& default_executor(const AttentionShape& shape);

/// out[b,h,i,:] = sum_j p_ij value[b,g,j,:],  p_i = softmax_j(mods(scale * query[b,h,i,:] .
/// key[b,g,j,:])) over the keys j that the mask allows to query i, g = h / (H / G).  lse[b,h,i] =
/// log sum_j exp(score), natural logarithm.
///
/// query (B, H, N, D), key (B, G, M, D), value (B, G, M, E), out (B, H, N, E): f32, bf16 or f16,
/// each its own, any strides; lse (B, H, N) f32. Scores, sums and outputs accumulate in float32.
/// Extra memory does not grow with N * M. A query that sees no key gets out = 0 and lse = -inf. A
/// masked key is skipped, not multiplied by 0: NaN or Inf in it, or beyond kv_lens, changes no bit.
/// A NaN in a query, or in a key or value that it sees, makes its row NaN; an Inf there follows
/// IEEE arithmetic (a score of -inf is a weight of 0, and a row of nothing else sees nothing); no
/// other row changes. out and lse must not overlap each other or an input. The same inputs give the
/// same bits for every number of threads, batch composition, chunking, stride and alignment
/// (docs/numerics.md). Throws std::invalid_argument naming the argument, what came and what was
/// wanted. Thread safe.
///
/// Where query, key and value are all bf16 and the CPU multiplies pairs of bf16 (AVX512_BF16),
/// weights are rounded to bf16 before they meet values; otherwise 16-bit numbers are widened and
/// all arithmetic is float32.
///
/// Source: Milakov and Gimelshein 2018 (online softmax), Dao et al. 2022 (tiling), with chunk
/// states merged in a fixed tree instead of a running rescale.
void attention(InputView<4> query, InputView<4> key, InputView<4> value, OutputView<4> out,
               const AttentionOptions& options = {}, const RunOptions& run = {});

/// The same over keys and values in pages, read where they lie: sequence s of `pages` is batch
/// entry s (or packed sequence s, with cu_seqlens_q). The bits are those of contiguous keys and
/// values, whatever the page size. The mask must hide what was evicted.
void attention(InputView<4> query, const PagedView& pages, OutputView<4> out,
               const AttentionOptions& options = {}, const RunOptions& run = {});

}  // namespace regard
