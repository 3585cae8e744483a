// src/kernels/softmax-inl.h - scores to weights, and the merging of states.
#if defined(REGARD_KERNELS_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REGARD_KERNELS_SOFTMAX_INL_H_
#undef REGARD_KERNELS_SOFTMAX_INL_H_
#else
#define REGARD_KERNELS_SOFTMAX_INL_H_
#endif

#include <hwy/highway.h>

#include <limits>

#include "kernels/exp-inl.h"
#include "kernels/kernels.h"
#include "kernels/product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sums run in 16 virtual lanes (key mod 16) on every instruction set, so that lane width does not
// change the bits.
inline constexpr int kSumLanes = 16;
inline constexpr int kSumVectors = kSumLanes / kLanes;
static_assert(kSumLanes % kLanes == 0);
inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// The fixed fold of the virtual lanes: i with i + 8, then + 4, + 2, + 1.
HWY_INLINE float Fold(const Vector* sum) {
  const Floats d;
  HWY_ALIGN float lane[kSumLanes];
  for (int v = 0; v < kSumVectors; ++v) hn::Store(sum[v], d, lane + v * kLanes);
  for (int half = kSumLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}

/// scores[j] = -inf where bit j is 0, for up to 64 columns.
void Mask(float* scores, std::int64_t columns, std::uint64_t bits) {
  for (std::int64_t j = 0; j < columns; ++j) {
    scores[j] = (bits >> j) & 1 ? scores[j] : kMinusInfinity;
  }
}

/// One row: max over all columns, then w_j = exp(s_j - max) in place, and their sum.
HWY_INLINE void SoftmaxRow(float* scores, std::int64_t columns, float* row_max, float* row_sum) {
  const Floats d;
  Vector peak = hn::Set(d, kMinusInfinity);
  for (std::int64_t j = 0; j < columns; j += kLanes) peak = hn::Max(peak, hn::LoadU(d, scores + j));
  // Highway's EMU128 starts its reduction at the lowest finite float, so -inf is asked for first.
  const bool sees_nothing = hn::AllTrue(d, hn::Eq(peak, hn::Set(d, kMinusInfinity)));
  const float max = sees_nothing ? kMinusInfinity : hn::ReduceMax(d, peak);
  // A row that sees nothing would compute -inf - -inf; shifted by 0 its weights are exp(-inf) = 0.
  const Vector shift = hn::Set(d, sees_nothing ? 0.0f : max);
  Vector sum[kSumVectors];
  for (int v = 0; v < kSumVectors; ++v) sum[v] = hn::Zero(d);
  for (std::int64_t j = 0; j < columns; j += kSumLanes) {
    REGARD_UNROLL
    for (int v = 0; v < kSumVectors; ++v) {
      float* at = scores + j + v * kLanes;
      const Vector weight = Exp(d, hn::Sub(hn::LoadU(d, at), shift));
      sum[v] = hn::Add(sum[v], weight);
      hn::StoreU(weight, d, at);
    }
  }
  *row_max = max;
  *row_sum = Fold(sum);
}

void RunSoftmax(const Softmax& s) {
  const std::int64_t padded = (s.columns + kSumLanes - 1) / kSumLanes * kSumLanes;
  for (std::int64_t r = 0; r < s.rows; ++r) {
    float* row = s.scores + r * s.stride;
    for (std::int64_t j = s.columns; j < padded; ++j) row[j] = kMinusInfinity;
    SoftmaxRow(row, padded, s.max + r, s.sum + r);
  }
}

/// The factors that bring two sides with these maxima to their common maximum. A side that saw no
/// key gets 0 and leaves the other's factor exactly 1.
HWY_INLINE void MergeFactors(Vector left_max, Vector right_max, float* left, float* right) {
  const Floats d;
  const Vector none = hn::Set(d, kMinusInfinity);
  const Vector max = hn::Max(left_max, right_max);
  // exp(-inf - -inf) would be NaN: both sides empty are shifted by 0.
  const Vector shift = hn::IfThenZeroElse(hn::Eq(max, none), max);
  hn::StoreU(Exp(d, hn::Sub(left_max, shift)), d, left);
  hn::StoreU(Exp(d, hn::Sub(right_max, shift)), d, right);
}

/// right <- left merged with right, rows of out `stride` apart. max and sum have room up to the
/// next multiple of 16 rows.
void Merge(const State& left, const State& right, std::int64_t rows, std::int64_t stride) {
  const Floats d;
  HWY_ALIGN float left_factor[kLanes], right_factor[kLanes];
  for (std::int64_t first = 0; first < rows; first += kLanes) {
    const Vector left_max = hn::LoadU(d, left.max + first),
                 right_max = hn::LoadU(d, right.max + first);
    MergeFactors(left_max, right_max, left_factor, right_factor);
    const Vector scaled = hn::Mul(hn::LoadU(d, left.sum + first), hn::LoadU(d, left_factor));
    hn::StoreU(hn::MulAdd(hn::LoadU(d, right.sum + first), hn::LoadU(d, right_factor), scaled), d,
               right.sum + first);
    hn::StoreU(hn::Max(left_max, right_max), d, right.max + first);
    for (std::int64_t r = first; r < HWY_MIN(rows, first + kLanes); ++r) {
      const float* from = left.out + r * stride;
      float* to = right.out + r * stride;
      const Vector a = hn::Set(d, left_factor[r - first]), b = hn::Set(d, right_factor[r - first]);
      for (std::int64_t i = 0; i < stride; i += kLanes) {
        hn::StoreU(hn::MulAdd(hn::LoadU(d, to + i), b, hn::Mul(hn::LoadU(d, from + i), a)), d,
                   to + i);
      }
    }
  }
}

/// out[r] = out[r] / sum[r], 0 where the row saw no key. Adding 0 turns -0 into 0: whether a key of
/// weight 0 was multiplied or skipped must not show.
void Finish(const State& state, std::int64_t rows, std::int64_t stride) {
  const Floats d;
  for (std::int64_t r = 0; r < rows; ++r) {
    const Vector sum = hn::Set(d, state.max[r] == kMinusInfinity ? 1.0f : state.sum[r]);
    float* out = state.out + r * stride;
    for (std::int64_t i = 0; i < stride; i += kLanes) {
      hn::StoreU(hn::Add(hn::Div(hn::LoadU(d, out + i), sum), hn::Zero(d)), d, out + i);
    }
  }
}

void ExpArray(const float* x, float* y, std::int64_t n) {
  const Floats d;
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::size_t count =
        static_cast<std::size_t>(HWY_MIN(n - i, static_cast<std::int64_t>(kLanes)));
    hn::StoreN(Exp(d, hn::LoadN(d, x + i, count)), d, y + i, count);
  }
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
