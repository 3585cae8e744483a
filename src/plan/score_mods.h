// src/plan/score_mods.h - score modifiers turned into what exec applies.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "exec/score_mods.h"
#include "regard/score_mod.h"

namespace regard::plan {

/// The modifiers in their order; they have been checked. Keeps copies of everything but a Bias's
/// numbers.
std::vector<exec::PlannedMod> plan_score_mods(std::span<const ScoreMod> mods,
                                              std::int64_t num_heads);

}  // namespace regard::plan
