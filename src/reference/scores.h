// src/reference/scores.h - scores in double: the product, then the modifiers one by one.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "regard/score_mod.h"

namespace regard::reference {

/// Element `index` of a tensor of any storage type, exactly.
double load(const void* data, DType dtype, std::int64_t index);

/// A query and a key, and where they stand.
struct Pair {
  std::int64_t sequence, head, heads_per_kv_head;
  std::int64_t query;  ///< in its sequence
  std::int64_t q_offset;
  std::int64_t kv_position;
  std::array<std::int64_t, 4> bias_index;  ///< b, h, i, j of the call

  std::int64_t q_position() const { return q_offset + query; }
};

/// A score, and how far a float32 engine's may be from it.
struct Score {
  double value, error;
};

/// The modifiers applied in order. A value of -inf masks the pair.
Score modified(Score score, std::span<const ScoreMod> mods, const Pair& pair);

/// T5's bucket of distance = kv - q, in exact arithmetic. With L buckets (for one direction), E = L
/// / 2 of them for the distances 0..E - 1 and n = |distance|: n < E ? n : min(L - 1, E + floor((L -
/// E) * log(n / E) / log(max_distance / E))).
std::int64_t relative_bucket(const RelativeBias& bias, std::int64_t distance);

}  // namespace regard::reference
