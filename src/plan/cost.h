// src/plan/cost.h - how long work takes: a few constants, each measured once, times a machine's
// limits.
#pragma once

#include "exec/attend.h"
#include "plan/work.h"
#include "regard/cost.h"

namespace regard::plan {

/// What the engine does beside the multiply-adds of both products. Units are float32 multiply-adds
/// at the core's peak, so that one table serves cores of any clock and vector length. docs/plan.md
/// says which case of `regard bench` shows which number; change them there and here together.
struct CostTable {
  double least_rows = 2.5;  ///< loading a line of keys or values takes the time of so many rows
  double pair = 18;         ///< score, maximum, exp, sum; begin and end of a register tile
  double masked_pair = 12;  ///< more for a pair in a partial tile
  double pack = 7;          ///< a number of keys or values packed (with pairs: a word of two)
  double merge = 5;         ///< a number of a strip's output, for each chunk
  double strip = 8000;      ///< a strip's tiles asked for, its kernels called
  double row = 6;           ///< a number of a query or of the output
  double task = 50'000;     ///< a block begun and ended
};

/// Rows of a strip as a product pays for them.
double paid_rows(std::int64_t rows);

/// Of one KV head: its key and its value.
double bytes_per_key(const AttentionShape& shape);

Prediction predict(const exec::Setup& setup, const Work& work, int num_threads,
                   const MachineLimits& limits);

}  // namespace regard::plan
