// tests/support/simulated_scores.h - score modifiers in float32, one score at a time.
#pragma once

#include <cstdint>

#include "support/problem.h"
#include "support/simulated_arithmetic.h"

namespace regard::test {

/// A query and a key of a sequence.
struct SimulatedPair {
  std::int64_t sequence, head, group, query, q_offset, key;
  std::int64_t b, i, j;  ///< of the call: where a Bias is read
};

/// The modifiers applied in order; with `swapped` the first two change places.
float modified(const Problem& problem, bool swapped, const SimulatedPair& pair, float score,
               SimulatedArithmetic& arithmetic);

}  // namespace regard::test
