// include/regard/state.h - attention over a part of the keys, and the parts put together.
#pragma once

#include <memory>
#include <vector>

#include "regard/attention.h"

namespace regard {

/// What rows know after some of the keys: per row the largest score, the sum of exp(score - max)
/// and the values weighted so, not yet divided. A row that saw no key: max = -inf, sum = 0, out =
/// 0. Sinks are never in it.
struct AttentionState {
  std::int64_t batch = 0, num_heads = 0, q_len = 0, value_dim = 0;
  std::vector<float> max, sum;  ///< (B, H, N)
  std::vector<float> out;       ///< (B, H, N, E)
};

/// attention() over keys that are a part of a longer sequence: key 0 is at absolute position
/// options.kv_offset. options.sinks must be empty (give them to finish). Otherwise as attention().
AttentionState partial_attention(InputView<4> query, InputView<4> key, InputView<4> value,
                                 const AttentionOptions& options = {}, const RunOptions& run = {});

/// The state over the keys of both; left's keys come before right's. Exact; the bits are those of
/// one call over all keys when the parts meet where the engine's own tree has a node: parts of 256
/// * 2^n keys, each beginning at a multiple of its length, merged pairwise. Throws
/// std::invalid_argument when the shapes differ.
AttentionState merge(const AttentionState& left, AttentionState right);

/// out = out / sum, with a row's sink if there are any, and lse = max + log(sum). out (B, H, N, E),
/// any dtype and strides; lse (B, H, N); sinks (H) or empty.
void finish(const AttentionState& state, OutputView<4> out,
            std::optional<TensorView<float, 3>> lse = {}, std::span<const float> sinks = {});

}  // namespace regard
