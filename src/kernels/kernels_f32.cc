// src/kernels/kernels_f32.cc - the kernels, compiled once per instruction set, and the list of
// their tables. Four tables on x86, one on Arm, and the portable one: more would only be more to
// build and to test. No kernel uses AES, so Highway's second NEON would be the first again.
#define HWY_DISABLED_TARGETS \
  (HWY_SSE2 | HWY_SSSE3 | HWY_AVX3_DL | HWY_AVX3_SPR | HWY_NEON | HWY_NEON_BF16 | HWY_ALL_SVE)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/kernels_f32.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

#include "kernels/blocks-inl.h"
#include "kernels/dot-inl.h"
#include "kernels/exp-inl.h"
#include "kernels/kernels.h"
#include "kernels/pack-inl.h"
#include "kernels/product-inl.h"
#include "kernels/score_mods-inl.h"
#include "kernels/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {

using Half4 = Blocks<regard::f16, 4, 32>;
using Float4 = Blocks<float, 4, 32>;
using Half8 = Blocks<regard::f16, 8, 32>;
using Float8 = Blocks<float, 8, 16>;

const KernelTable& Table() {
  using regard::bf16;
  using regard::f16;
  static constexpr Arithmetic arithmetic = {
      .name = "f32",
      .word = 1,
      .load_rows = {LoadRows<Elements<float>>, LoadRows<Elements<bf16>>, LoadRows<Elements<f16>>,
                    nullptr},
      .pack_columns = {PackColumns<Elements<float>>, PackColumns<Elements<bf16>>,
                       PackColumns<Elements<f16>>, PackColumns<Elements<std::int8_t>>},
      .pack_rows = {PackRows<float>, PackRows<bf16>, PackRows<f16>, PackRows<std::int8_t>},
      .product = RunProduct<MultiplyAdd>,
      .product_in_place = {RunInPlace<MultiplyAdd, InPlace<float>>,
                           RunInPlace<MultiplyAdd, InPlace<bf16>>,
                           RunInPlace<MultiplyAdd, InPlace<f16>>,
                           RunInPlace<MultiplyAdd, InPlace<std::int8_t>>},
      .dot_in_place = {RunDot<MultiplyAdd, Widened<float>>, RunDot<MultiplyAdd, Widened<bf16>>,
                       RunDot<MultiplyAdd, Widened<f16>>,
                       RunDot<MultiplyAdd, Widened<std::int8_t>>},
      .softmax = RunSoftmax<FloatWeights>,
      .peak = Peak<MultiplyAdd, 2>,
  };
  static constexpr KernelTable table = {
      .isa = nullptr,
      .panel = kPanel,
      .tile_rows = kTileRows,
      .f32 = &arithmetic,
      .bf16 = nullptr,
      .mask = Mask,
      .scale_columns = ScaleColumns,
      .merge = Merge,
      .is_finite = {IsFinite<float>, IsFinite<bf16>, IsFinite<f16>, IsFinite<std::int8_t>},
      .finish = {Finish<float>, Finish<bf16>, Finish<f16>, nullptr},
      .store_row = {StoreRow<float>, StoreRow<bf16>, StoreRow<f16>, StoreRowInt8},
      .exp = ExpArray,
      .soft_cap = RunSoftCap,
      .alibi = RunAlibi,
      .add_bias = {AddBias<float>, AddBias<bf16>, AddBias<f16>, nullptr},
      .has_minus_infinity = HasMinusInfinity,
      .block_product = {RunBlocks<Half4>, RunBlocks<Float4>, RunBlocks<Half8>, RunBlocks<Float8>},
      .unpack_blocks = {UnpackBlocks<Half4>, UnpackBlocks<Float4>, UnpackBlocks<Half8>,
                        UnpackBlocks<Float8>},
  };
  return table;
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <vector>

namespace regard::kernels {
namespace {

struct Target {
  std::int64_t bit;
  KernelTable table;
};

/// Adds NAME if it was compiled (HWY_TARGETS) and this CPU has it.
#define REGARD_ADD_TARGET(NAME) add(HWY_##NAME, N_##NAME::Table())

std::vector<Target> runnable_targets() {
  std::vector<Target> targets;
  const std::int64_t supported = hwy::SupportedTargets() | HWY_STATIC_TARGET;
  const auto add = [&](std::int64_t bit, KernelTable table) {
    table.isa = bit == HWY_NEON_WITHOUT_AES ? "NEON" : hwy::TargetName(bit);
    table.bf16 = bf16_arithmetic(bit);
    if (supported & bit) targets.push_back({bit, table});
  };
  // Best first.
#if HWY_TARGETS & HWY_AVX3_ZEN4
  REGARD_ADD_TARGET(AVX3_ZEN4);
#endif
#if HWY_TARGETS & HWY_AVX3
  REGARD_ADD_TARGET(AVX3);
#endif
#if HWY_TARGETS & HWY_AVX2
  REGARD_ADD_TARGET(AVX2);
#endif
#if HWY_TARGETS & HWY_SSE4
  REGARD_ADD_TARGET(SSE4);
#endif
#if HWY_TARGETS & HWY_NEON_WITHOUT_AES
  REGARD_ADD_TARGET(NEON_WITHOUT_AES);
#endif
#if HWY_TARGETS & HWY_EMU128
  REGARD_ADD_TARGET(EMU128);
#endif
#if HWY_TARGETS & HWY_SCALAR
  REGARD_ADD_TARGET(SCALAR);
#endif
  return targets;
}
#undef REGARD_ADD_TARGET

}  // namespace

std::span<const KernelTable* const> supported_tables() {
  static const std::vector<Target> targets = runnable_targets();
  static const std::vector<const KernelTable*> tables = [] {
    std::vector<const KernelTable*> pointers;
    for (const Target& target : targets) pointers.push_back(&target.table);
    return pointers;
  }();
  return tables;
}

}  // namespace regard::kernels
#endif
