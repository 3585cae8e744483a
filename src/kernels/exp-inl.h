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

/// exp(x), x <= 0: below ln 2^-126 exactly 0 (no subnormals: their speed would depend on the data),
/// exp(0) = 1, NaN stays NaN. x = n ln 2 + r with ln 2 in two parts (Cody and Waite), |r| <= ln 2 /
/// 2; exp(r) by a polynomial of degree 6 fitted to the relative error; times 2^n, by adding n
/// to the exponent (an integer addition: the multipliers are what the products wait for).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V kLog2E = hn::Set(d, 0x1.715476p+0f);
  const V kRound = hn::Set(d, 0x1.8p+23f);  // adding it leaves round(x) in the low bits
  const V kLn2Hi = hn::Set(d, 0x1.62e400p-1f);
  const V kLn2Lo = hn::Set(d, 0x1.7f7d1cp-20f);
  const V kLeast = hn::Set(d, -0x1.5d589ep+6f);

  const V shifted = hn::MulAdd(x, kLog2E, kRound);
  const V n = hn::Sub(shifted, kRound);
  V r = hn::NegMulAdd(n, kLn2Hi, x);
  r = hn::NegMulAdd(n, kLn2Lo, r);

  V p = hn::Set(d, 0x1.6a2434p-10f);
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.1239e2p-7f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.5558f2p-5f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.555492p-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.fffffcp-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));

  // A NaN has other bits where a number has n: added to it they could make a number of it.
  const auto is_number = hn::RebindMask(di, hn::Eq(x, x));
  const auto exponent = hn::IfThenElseZero(is_number, hn::ShiftLeft<23>(hn::BitCast(di, shifted)));
  const V result = hn::BitCast(d, hn::Add(hn::BitCast(di, p), exponent));
  return hn::IfThenZeroElse(hn::Lt(x, kLeast), result);
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
