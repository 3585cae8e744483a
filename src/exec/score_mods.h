// src/exec/score_mods.h - score modifiers as the plan decided them, applied to a strip of scores.
#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "exec/tiles.h"
#include "kernels/kernels.h"
#include "regard/score_mod.h"

namespace regard::exec {

/// s -> s + table[h][reach + clamp(kv - q, -reach, reach)]: a RelativeBias by distance instead of
/// bucket, so that a row of scores meets adjacent numbers.
struct DistanceBias {
  std::vector<float> table;  ///< (H, 2 * reach + 1)
  std::int64_t reach;
};

/// In the caller's order.
using PlannedMod = std::variant<SoftCap, Alibi, Bias, DistanceBias, UserMod>;

/// Scores of a strip of rows of one sequence and KV head against adjacent keys. Room up to the next
/// multiple of 16 columns is read and written.
struct ScoreStrip {
  ScoreTile tile;
  /// Where the strip lies in the call's views, which is where a Bias is read: batch entry, query 0
  /// of the sequence, first key of the tile.
  std::int64_t bias_batch, bias_query, bias_key;
};

/// Applies the modifiers one after another. True when a score is -inf then, and the modifiers are
/// such as may have masked it (Bias, UserMod): see hide_masked.
bool apply_score_mods(std::span<const PlannedMod> mods, const ScoreStrip& strip,
                      const kernels::KernelTable& k) noexcept;

/// Pairs with a score of -inf become pairs that the mask forbids, so that their values are skipped
/// instead of multiplied by 0. `tiles` are those of the strip; only those within the tile of scores
/// are touched.
void hide_masked(const ScoreTile& scores, ChunkTiles& tiles) noexcept;

}  // namespace regard::exec
