// tests/support/simulated_engine.h - the contract's order of float32 roundings without tiles or
// SIMD, and with faults.
#pragma once

#include <cstdint>

#include "support/problem.h"

namespace regard::test {

/// Mistakes that real engines have made (docs/numerics.md, canaries).
enum class Fault : std::uint8_t {
  kNone,
  kDropKey,      ///< one visible key is skipped
  kSkipTail,     ///< the last kv_len % 16 keys are skipped
  kSwapValues,   ///< two value rows change places
  kZeroKeyRow,   ///< one row of K reads as zeros
  kShortDot,     ///< the last head dimension is left out of one score
  kWeightsBf16,  ///< weights are rounded to bf16 before the value product, not before the sum
  kExpOff,       ///< exp is wrong by 2^-12 relative, of random sign
  kQueryBf16,    ///< scale * query is rounded to bf16
  kExtraKey,     ///< causal off by one: the next key too
  kMissingKey,   ///< causal off by one: not the own key
  kNoRescale,    ///< the last chunk is merged without its rescale
  kLostLane,     ///< one of the sum's 16 lanes is lost in the fold
  kLseBase2,     ///< lse is the binary logarithm
  kSinkTwice,    ///< the sink enters twice
  kModsSwapped,  ///< the first two score modifiers change places
};

struct SimulatedEngine {
  Fault fault = Fault::kNone;
  bool fma = true;         ///< else every multiply and add rounds on its own
  bool bf16_dots = false;  ///< pairs of bf16 are multiplied; weights are rounded to bf16
  int exp_ulps = 0;  ///< exp is wrong by up to so many ulp, of random sign, tanh by twice that
  std::uint64_t seed = 1;  ///< which key, which sign
};

/// attention() as docs/numerics.md describes it: chunks of 256 keys at absolute positions, one
/// maximum per chunk, sums in key mod 16, a binary counter's tree of merges, the sink at its root.
Result simulate(const SimulatedEngine& engine, const Problem& problem);

}  // namespace regard::test
