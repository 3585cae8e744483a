// src/kernels/score_mods-inl.h - the score modifiers, on one row of scores in place.
#if defined(REGARD_KERNELS_SCORE_MODS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REGARD_KERNELS_SCORE_MODS_INL_H_
#undef REGARD_KERNELS_SCORE_MODS_INL_H_
#else
#define REGARD_KERNELS_SCORE_MODS_INL_H_
#endif

#include <hwy/highway.h>

#include <limits>

#include "kernels/kernels.h"
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Every function here is elementwise, so a number's bits depend on it alone, not on vector width or
// place.

/// tanh(-y / 2), y <= 0, as -(e^y - 1) / (e^y + 1): small arguments lose nothing, because e^y - 1
/// is computed as such. y = n ln 2 + r as in Exp; e^r - 1 = r + r^2 P(r), P of degree 4 fitted to
/// the relative error; e^y - 1 = 2^n (e^r - 1) + (2^n - 1). Below -20 it is 1.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V TanhOfHalf(D d, V y) {
  const hn::RebindToSigned<D> di;
  const V kRound = hn::Set(d, 0x1.8p+23f);  // adding it leaves round(x) in the low bits
  const V kOne = hn::Set(d, 1.0f), kLeast = hn::Set(d, -20.0f);
  y = hn::IfThenElse(hn::Lt(y, kLeast), kLeast, y);  // keeps NaN

  const V shifted = hn::MulAdd(y, hn::Set(d, 0x1.715476p+0f), kRound);
  const V n = hn::Sub(shifted, kRound);
  V r = hn::NegMulAdd(n, hn::Set(d, 0x1.62e400p-1f), y);
  r = hn::NegMulAdd(n, hn::Set(d, 0x1.7f7d1cp-20f), r);

  V p = hn::Set(d, 0x1.6bebfep-10f);
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.1227b0p-7f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.555674p-5f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.5554b0p-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.fffffep-2f));
  const V grown = hn::MulAdd(hn::Mul(r, r), p, r);

  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  const V power = hn::BitCast(d, hn::Add(hn::BitCast(di, kOne), exponent));
  const V less_one = hn::MulAdd(power, grown, hn::Sub(power, kOne));
  return hn::Div(less_one, hn::Sub(hn::Set(d, -2.0f), less_one));
}

/// s = cap * tanh(s / cap), 2^-126 <= cap <= 2^126.
inline void RunSoftCap(float* scores, std::int64_t columns, float cap) {
  const Floats d;
  const Vector slope = hn::Set(d, -2.0f / cap), scale = hn::Set(d, cap);
  for (std::int64_t j = 0; j < columns; j += kLanes) {
    const Vector s = hn::LoadU(d, scores + j);
    const Vector size = hn::Mul(TanhOfHalf(d, hn::Mul(hn::Abs(s), slope)), scale);
    hn::StoreU(hn::CopySign(size, s), d, scores + j);
  }
}

/// s[j] = s[j] - slope * |distance - j|, the distance rounded to float32 (exact up to 2^24).
inline void RunAlibi(float* scores, std::int64_t columns, float slope, std::int64_t distance) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  const Vector slopes = hn::Set(d, slope);
  const std::int64_t last = distance - columns - kLanes,
                     kMost = std::numeric_limits<std::int32_t>::max();
  const bool is_narrow = last > -kMost && distance < kMost;
  HWY_ALIGN float wide[kLanes];
  for (std::int64_t j = 0; j < columns; j += kLanes) {
    Vector size;
    if (is_narrow) {
      const auto first = hn::Set(di, static_cast<std::int32_t>(distance - j));
      size = hn::ConvertTo(d, hn::Abs(hn::Sub(first, hn::Iota(di, 0))));
    } else {
      for (std::int64_t i = 0; i < kLanes; ++i) {
        const std::int64_t at = distance - j - i;
        wide[i] = static_cast<float>(at < 0 ? -at : at);
      }
      size = hn::Load(d, wide);
    }
    hn::StoreU(hn::NegMulAdd(slopes, size, hn::LoadU(d, scores + j)), d, scores + j);
  }
}

/// s + bias, or -inf where the bias is -inf: that pair is masked, whatever its score is.
HWY_INLINE Vector WithBias(Vector s, Vector bias) {
  const Floats d;
  const Vector none = hn::Set(d, -std::numeric_limits<float>::infinity());
  return hn::IfThenElse(hn::Eq(bias, none), none, hn::Add(s, bias));
}

/// s[j] = s[j] + bias[j * stride] for these columns and no other: what follows may have another
/// stride.
template <class T>
void AddBias(const void* bias, std::int64_t stride, std::int64_t columns, float* scores) {
  const Floats d;
  const T* from = static_cast<const T*>(bias);
  HWY_ALIGN float some[kLanes] = {};
  const float one = columns > 0 ? static_cast<float>(*from) : 0.0f;
  for (std::int64_t j = 0; j < columns; j += kLanes) {
    const std::int64_t rest = HWY_MIN(columns - j, static_cast<std::int64_t>(kLanes));
    const std::size_t count = static_cast<std::size_t>(rest);
    Vector values = hn::Set(d, one);
    if (stride == 1) {
      values = rest == kLanes ? Load(from + j) : Load(from + j, count);
    } else if (stride != 0) {
      for (std::int64_t i = 0; i < rest; ++i) some[i] = static_cast<float>(from[(j + i) * stride]);
      values = hn::Load(d, some);
    }
    if (rest == kLanes) {
      hn::StoreU(WithBias(hn::LoadU(d, scores + j), values), d, scores + j);
    } else {
      hn::StoreN(WithBias(hn::LoadN(d, scores + j, count), values), d, scores + j, count);
    }
  }
}

/// Whether some score is -inf.
inline bool HasMinusInfinity(const float* scores, std::int64_t columns) {
  const Floats d;
  const Vector none = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (std::int64_t j = 0; j < columns; j += kLanes) {
    const std::size_t count =
        static_cast<std::size_t>(HWY_MIN(columns - j, static_cast<std::int64_t>(kLanes)));
    if (!hn::AllFalse(d, hn::Eq(hn::LoadN(d, scores + j, count), none))) return true;
  }
  return false;
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
