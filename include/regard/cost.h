// include/regard/cost.h - what a computation costs, and how long a machine will take for it.
#pragma once

#include <cstdint>

namespace regard {

/// How many tiles (row block x key tile) of a problem are computed, and how.
struct TileCounts {
  std::int64_t full = 0;     ///< computed without a mask
  std::int64_t partial = 0;  ///< computed, then masked
  std::int64_t empty = 0;    ///< skipped: no query sees any of its keys
};

/// What a machine does at best, as `regard plan` and `regard bench` measure it. Positive numbers,
/// 0 where that is allowed.
struct MachineLimits {
  double fma_flops = 0;  ///< FLOP/s of one core: float32 multiply-adds in registers
  double dot_flops = 0;  ///< the same of bf16 pairs; 0 where the CPU has no such instruction
  double read_bytes_per_second = 0;  ///< one core, from memory
  /// All cores together; 0: not known, and each further thread then reads as fast as the first.
  double shared_read_bytes_per_second = 0;
};

/// What a plan's run costs, over all sequences and heads. A pair is a query of a head and a key.
struct PlanCost {
  TileCounts tiles;
  double pairs = 0;           ///< that there are
  double allowed_pairs = 0;   ///< that the mask allows
  double computed_pairs = 0;  ///< in tiles that are not skipped
  double useful_flops = 0;    ///< both products over the allowed pairs: 2 (D + E) each
  double computed_flops = 0;  ///< over the computed pairs
  double cache_bytes = 0;     ///< keys and values, once
  double read_bytes = 0;      ///< keys and values, once for every block of rows that sees them
  std::int64_t workspace_bytes = 0;
  int threads = 1;
  /// False where a mask is partial nearly everywhere over a very large problem: tiles and pairs are
  /// then counted in evenly chosen places and scaled up.
  bool is_exact = true;
};

/// How long a run takes: computing and reading go on beside each other and are in each other's way.
struct Prediction {
  double seconds = 0;
  double compute_seconds = 0;  ///< if reading took no time
  double read_seconds = 0;     ///< if computing took no time

  bool reading_binds() const { return read_seconds > compute_seconds; }
};

}  // namespace regard
