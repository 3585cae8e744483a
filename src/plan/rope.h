// src/plan/rope.h - the frequencies of rotary positions, decided once.
#pragma once

#include <cstdint>
#include <vector>

#include "regard/rope.h"

namespace regard::plan {

struct RopeFrequencies {
  std::vector<double> frequencies;  ///< (rotary_dim / 2)
  double attention_factor;
};

/// rotary_dim is even and at least 2; the options have been checked.
RopeFrequencies rope_frequencies(std::int64_t rotary_dim, const RopeOptions& options);

}  // namespace regard::plan
