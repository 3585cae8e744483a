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
  double product = 1.10;    ///< a multiply-add of the products, in those of its own peak
  double least_rows = 1.5;  ///< loading a line of keys or values takes the time of so many rows
  double pair = 15;         ///< scale, maximum, exp and sum of a score
  double masked_pair = 28;  ///< more for a pair in a partial tile
  double pack = 7;          ///< a number of keys or values packed, or a word of two
  double turn = 3;          ///< a number of keys read where it lies, or a word of two
  double widen = 2.5;       ///< a 16-bit number of values read where it lies
  double merge = 5.5;       ///< a number of a strip's output, for each chunk
  double strip = 9000;      ///< a strip's tiles asked for in a chunk, its kernels called
  double row = 6.5;         ///< a number of a query or of the output
  double task = 53'000;     ///< a block begun and ended
  /// Computing and reading go on beside each other, and each waits for the other: of the times t
  /// alone, the whole is (sum of t^n)^(1/n), with 1 the sum and infinity the larger.
  double overlap = 1.45;
};

/// Rows of a strip as a product pays for them.
double paid_rows(std::int64_t rows);

/// Of one KV head: its key and its value.
double bytes_per_key(const AttentionShape& shape);

Prediction predict(const exec::Setup& setup, const Work& work, int num_threads,
                   const MachineLimits& limits);

}  // namespace regard::plan
