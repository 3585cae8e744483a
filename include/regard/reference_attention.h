// include/regard/reference_attention.h - three loops in double: what the engine is measured
// against.
#pragma once

#include <optional>
#include <vector>

#include "regard/attention.h"

namespace regard {

/// The exact result (to double precision) and how far a float32 engine may be from it, element by
/// element. Arrays are row-major: out and out_bound (B, H, N, E); lse and lse_bound (B, H, N).
struct ReferenceResult {
  std::vector<double> out, out_bound;
  std::vector<double> lse, lse_bound;
};

/// Same arguments and meaning as attention(), in double, no tiles, no SIMD, one thread, O(N * M)
/// time. The bound is the one derived in docs/numerics.md: no fudge factor.
ReferenceResult reference_attention(TensorView<const float, 4> query,
                                    TensorView<const float, 4> key,
                                    TensorView<const float, 4> value,
                                    const AttentionOptions& options = {});

}  // namespace regard
