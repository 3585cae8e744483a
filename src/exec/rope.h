// src/exec/rope.h - pairs of elements turned by their token's position.
#pragma once

#include <cstdint>
#include <span>

#include "regard/executor.h"
#include "regard/tensor_view.h"

namespace regard::exec {

/// Pair i of a head: elements i * step and i * step + gap. Elements from 2 * frequencies.size() on
/// are copied.
struct Rotation {
  std::span<const double> frequencies;
  double attention_factor;
  std::int64_t step;
  std::int64_t gap;
};

/// Where tokens stand: at first + n, or where `each` says: (N), or (B, N) when per_batch.
struct Positions {
  std::int64_t first;
  std::span<const std::int64_t> each;
  bool per_batch;
};

/// x, out (B, H, N, D), checked; the same view or apart.
void rotate(const Rotation& rotation, const InputView<4>& x, const OutputView<4>& out,
            const Positions& positions, Executor& executor);

}  // namespace regard::exec
