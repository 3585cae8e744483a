// src/kernels/vectors-inl.h - what every kernel counts in: lanes, panels, and storage types as
// vectors of float.
#if defined(REGARD_KERNELS_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REGARD_KERNELS_VECTORS_INL_H_
#undef REGARD_KERNELS_VECTORS_INL_H_
#else
#define REGARD_KERNELS_VECTORS_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/kernels.h"

#ifndef REGARD_UNROLL
#if HWY_IS_ASAN || HWY_IS_TSAN || HWY_IS_UBSAN
#define REGARD_UNROLL  // instrumented code is slow anyway, and unrolled it takes 20 minutes to
                       // compile
#elif HWY_COMPILER_GCC_ACTUAL
#define REGARD_UNROLL _Pragma("GCC unroll 16")
#else
#define REGARD_UNROLL _Pragma("clang loop unroll(full)")
#endif
#endif

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;
inline constexpr int kLanes = static_cast<int>(HWY_MAX_LANES_D(Floats));

// The register tile: kTileRows x kTileVectors accumulators, the vectors of one row of b, one
// broadcast element of a. 12 x 2 of 32 registers keeps a panel of b at 128 bytes a row.
#if HWY_TARGET == HWY_SCALAR
inline constexpr int kTileRows = 2, kTileVectors = 4;
#elif HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
inline constexpr int kTileRows = 12, kTileVectors = 2;
#elif HWY_ARCH_ARM_A64
inline constexpr int kTileRows = 6, kTileVectors = 4;
#else
inline constexpr int kTileRows = 6, kTileVectors = 2;
#endif
inline constexpr int kPanel = kTileVectors * kLanes;
static_assert(32 % kPanel == 0);

/// Up to kLanes elements of storage as floats; those beyond `count` are 0 and not read. Of int8
/// without the scale of their row, which is a factor of scores and weights (ScaleColumns).
HWY_INLINE Vector Load(const float* from) { return hn::LoadU(Floats(), from); }
HWY_INLINE Vector Load(const float* from, std::size_t count) {
  return hn::LoadN(Floats(), from, count);
}
HWY_INLINE Vector Load(const regard::bf16* from) {
  const hn::Rebind<hwy::bfloat16_t, Floats> d;
  return hn::PromoteTo(Floats(), hn::LoadU(d, reinterpret_cast<const hwy::bfloat16_t*>(from)));
}
HWY_INLINE Vector Load(const regard::bf16* from, std::size_t count) {
  const hn::Rebind<std::uint16_t, Floats> d;
  const hn::Rebind<std::uint32_t, Floats> d32;
  const auto bits = hn::LoadN(d, reinterpret_cast<const std::uint16_t*>(from), count);
  return hn::BitCast(Floats(), hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
}

#if HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
/// Highway's own emulation takes infinities for numbers.
template <class Bits>
HWY_INLINE Vector PromoteF16(Bits bits) {
  const Floats d;
  const hn::RebindToUnsigned<Floats> d32;
  const auto wide = hn::PromoteTo(d32, bits);
  const auto size = hn::ShiftLeft<13>(hn::And(wide, hn::Set(d32, 0x7FFFU)));
  const auto sign = hn::BitCast(d, hn::ShiftLeft<16>(hn::And(wide, hn::Set(d32, 0x8000U))));
  const Vector number = hn::Mul(hn::BitCast(d, size), hn::Set(d, 0x1p112f));
  const Vector special = hn::BitCast(d, hn::Or(size, hn::Set(d32, 0x7F800000U)));
  const auto is_number = hn::RebindMask(d, hn::Lt(size, hn::Set(d32, 0x0F800000U)));
  return hn::Or(hn::IfThenElse(is_number, number, special), sign);
}
#else
template <class Bits>
HWY_INLINE Vector PromoteF16(Bits bits) {
  const hn::Rebind<hwy::float16_t, Floats> d;
  return hn::PromoteTo(Floats(), hn::BitCast(d, bits));
}
#endif
HWY_INLINE Vector Load(const regard::f16* from) {
  const hn::Rebind<std::uint16_t, Floats> d;
  return PromoteF16(hn::LoadU(d, reinterpret_cast<const std::uint16_t*>(from)));
}
HWY_INLINE Vector Load(const regard::f16* from, std::size_t count) {
  const hn::Rebind<std::uint16_t, Floats> d;
  return PromoteF16(hn::LoadN(d, reinterpret_cast<const std::uint16_t*>(from), count));
}
HWY_INLINE Vector Load(const std::int8_t* from) {
  const hn::Rebind<std::int8_t, Floats> d;
  const hn::RebindToSigned<Floats> d32;
  return hn::ConvertTo(Floats(), hn::PromoteTo(d32, hn::LoadU(d, from)));
}
HWY_INLINE Vector Load(const std::int8_t* from, std::size_t count) {
  const hn::Rebind<std::int8_t, Floats> d;
  const hn::RebindToSigned<Floats> d32;
  return hn::ConvertTo(Floats(), hn::PromoteTo(d32, hn::LoadN(d, from, count)));
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
