// src/kernels/kernels_bf16.cc - the bf16 arithmetic, for instruction sets that multiply pairs of
// bf16.
#define HWY_DISABLED_TARGETS \
  (HWY_SSE2 | HWY_SSSE3 | HWY_AVX3_DL | HWY_AVX3_SPR | HWY_NEON | HWY_NEON_BF16 | HWY_ALL_SVE)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/kernels_bf16.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

#include "kernels/dot-inl.h"
#include "kernels/kernels.h"
#include "kernels/pack-inl.h"
#include "kernels/product-inl.h"
#include "kernels/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {

const Arithmetic* PairArithmetic() {
#if HWY_NATIVE_DOT_BF16
  static constexpr Arithmetic arithmetic = {
      .name = "bf16",
      .word = 2,
      .load_rows = {nullptr, LoadRows<Pairs>, nullptr, nullptr},
      .pack_columns = {nullptr, PackColumns<Pairs>, nullptr, nullptr},
      .pack_rows = {nullptr, PackRowPairs, nullptr, nullptr},
      .product = RunProduct<PairMultiplyAdd>,
      .product_in_place = {nullptr, RunInPlace<PairMultiplyAdd, PairsInPlace>, nullptr, nullptr},
      .dot_in_place = {nullptr, RunDot<PairMultiplyAdd, PairsAsTheyAre>, nullptr, nullptr},
      .softmax = RunSoftmax<PairWeights>,
      .peak = Peak<PairMultiplyAdd, 4>,
  };
  return &arithmetic;
#else
  return nullptr;
#endif
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace regard::kernels {

const Arithmetic* bf16_arithmetic(std::int64_t target) {
#if HWY_TARGETS & HWY_AVX3_ZEN4
  if (target == HWY_AVX3_ZEN4) return N_AVX3_ZEN4::PairArithmetic();
#endif
  (void)target;
  return nullptr;
}

}  // namespace regard::kernels
#endif
