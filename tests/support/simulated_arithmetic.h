// tests/support/simulated_arithmetic.h - float32 operations that round as badly as the contract
// allows.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "regard/dtype.h"
#include "support/random.h"

namespace regard::test {

inline float round_to_bf16(float x) { return static_cast<float>(bf16(x)); }

/// acc + a0 b0 + a1 b1 of bf16 numbers as AVX512_BF16 computes it (Intel SDM, VDPBF16PS): the odd
/// product first, each fused and rounded, subnormals read and written as 0. Equal to Zen 4 on 2e7
/// random triples.
inline float dot_pair(float acc, float a0, float b0, float a1, float b1) {
  const auto flush = [](float x) { return std::abs(x) < 0x1p-126F ? std::copysign(0.0F, x) : x; };
  const float odd = flush(std::fma(flush(a1), flush(b1), flush(acc)));
  return flush(std::fma(flush(a0), flush(b0), odd));
}

struct SimulatedArithmetic {
  bool fma;
  int ulps;
  Rng rng;

  float multiply_add(float a, float b, float c) const {
    return fma ? std::fma(a, b, c) : a * b + c;
  }
  float exp(float x) {
    if (x == 0) return 1.0F;
    const double slope = ulps == 0 ? 0 : rng.pick({-1.0, 1.0}) * static_cast<double>(x) * 0x1p-28;
    const double y = std::exp(static_cast<double>(x)) * (1 + slope);
    return y < 0x1p-99 ? 0 : perturbed(y, ulps);
  }
  float tanh(float x) { return perturbed(std::tanh(static_cast<double>(x)), 2 * ulps); }

  /// Up to `most` ulp from y, one of them for rounding y itself.
  float perturbed(double y, int most) {
    float result = static_cast<float>(y);
    if (most == 0) return result;
    const float infinity = std::numeric_limits<float>::infinity();
    const float towards = rng.chance(0.5) ? -infinity : infinity;
    for (int n = 1; n < most; ++n) result = std::nextafter(result, towards);
    return result;
  }
};

}  // namespace regard::test
