// src/api/score_mods.h - what score modifiers a plan accepts.
#pragma once

#include <span>

#include "regard/attention.h"

namespace regard::api {

/// Throws std::invalid_argument naming the argument, what came and what was wanted.
void check_score_mods(std::span<const ScoreMod> mods, const AttentionShape& shape);

/// Whether positions matter to some modifier, so that q_offset must be said where q_len and kv_len
/// differ.
bool uses_positions(std::span<const ScoreMod> mods);

}  // namespace regard::api
