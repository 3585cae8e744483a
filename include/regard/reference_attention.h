// include/regard/reference_attention.h - three loops in double: what the engine is measured
// against.
#pragma once

#include <cstdint>
#include <vector>

#include "regard/attention.h"

namespace regard {

/// Whether the engine multiplies pairs of bf16 (see attention()): it then rounds weights to bf16
/// before they meet values, and flushes subnormal numbers in its products.
enum class Bf16Dots : std::uint8_t {
  kNo,
  kPromised,  ///< yes; out is the exact result, and the bound leaves room for any such rounding
  kModelled,  ///< yes; out has each weight rounded relative to its chunk's maximum as the engine
              ///< does it, so that the bound leaves room only where a score's error decides
};

struct ReferenceOptions {
  DType out_dtype = DType::kF32;  ///< out_bound includes the last rounding, to this type
  Bf16Dots bf16_dots = Bf16Dots::kNo;
  /// key and value are the rows of an int8 cache, scale times 8 bits rounded to float32: the bound
  /// leaves room for that rounding, and for the engine's multiplications by the scales.
  bool int8_rows = false;
};

/// The exact result (to double precision, not rounded to the out type) and how far the engine may
/// be from it, element by element. Arrays are row-major: out and out_bound (B, H, N, E); lse and
/// lse_bound (B, H, N). Rows that belong to no sequence (cu_seqlens_q), which attention() does not
/// write, are NaN in all four.
struct ReferenceResult {
  std::vector<double> out, out_bound;
  std::vector<double> lse, lse_bound;
};

/// Same arguments and meaning as attention(), in double, no tiles, no SIMD, one thread, O(N * M)
/// time. The bound is the one derived in docs/numerics.md: no fudge factor. A UserMod is called on
/// float32 tiles of one score and taken as exact. Throws std::invalid_argument for what attention()
/// refuses, and for bf16_dots unless query, key and value are bf16.
ReferenceResult reference_attention(InputView<4> query, InputView<4> key, InputView<4> value,
                                    const AttentionOptions& options = {},
                                    const ReferenceOptions& reference = {});

}  // namespace regard
