// src/kernels/exp-inl.h - exp of a vector of float32, for arguments <= 0.
#if defined(REGARD_KERNELS_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REGARD_KERNELS_EXP_INL_H_
#undef REGARD_KERNELS_EXP_INL_H_
#else
#define REGARD_KERNELS_EXP_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// exp(x) for a number x in [-87, 0]. x = n ln 2 + r, |r| <= ln 2 / 2; exp(r) by a polynomial
/// fitted to the relative error, of degree 6 (0.1 u, u = 2^-24); times 2^n, by adding n to the
/// exponent (an integer addition: the multipliers are what everything waits for).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpOfNumber(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V kRound = hn::Set(d, 0x1.8p+23f);  // adding it leaves round(x) in the low bits
  const V shifted = hn::MulAdd(x, hn::Set(d, 0x1.715476p+0f), kRound);
  const V n = hn::Sub(shifted, kRound);
#if HWY_NATIVE_FMA
  // One step: n ln 2 is not rounded, and ln 2 as a float is off by u / 22, so exp(x) by |x| u / 22.
  const V r = hn::NegMulAdd(n, hn::Set(d, 0x1.62e430p-1f), x);
#else
  // ln 2 in two parts (Cody and Waite), n times the first being exact.
  const V r = hn::NegMulAdd(n, hn::Set(d, 0x1.7f7d1cp-20f),
                            hn::NegMulAdd(n, hn::Set(d, 0x1.62e400p-1f), x));
#endif
  V p = hn::Set(d, 0x1.6a2434p-10f);
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.1239e2p-7f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.5558f2p-5f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.555492p-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.fffffcp-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

/// exp(x), x <= 0: below ln 2^-126 exactly 0 (no subnormals: their speed would depend on the data),
/// exp(0) = 1, NaN stays NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  const V kLeast = hn::Set(d, -0x1.5d589ep+6f);
  const auto is_number = hn::Ge(x, kLeast);
  // A NaN's payload must not be taken for an exponent.
  return hn::IfThenElse(is_number, ExpOfNumber(d, x), hn::IfThenElseZero(hn::IsNaN(x), x));
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
