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
#include "kernels/pack-inl.h"
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sums run in 16 virtual lanes (key mod 16) on every instruction set, so that lane width does not
// change the bits.
inline constexpr int kSumLanes = 16;
inline constexpr int kSumVectors = kSumLanes / kLanes;
static_assert(kSumLanes % kLanes == 0);
inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// The fixed fold of the virtual lanes: i with i + 8, then + 4, + 2, + 1. First those of one row
/// that lie in different vectors.
struct Plus {
  template <class V>
  static HWY_INLINE V Of(V a, V b) {
    return hn::Add(a, b);
  }
};
struct Larger {
  template <class V>
  static HWY_INLINE V Of(V a, V b) {
    return hn::Max(a, b);
  }
};
template <class Op>
HWY_INLINE Vector FoldVectors(Vector row[kSumVectors]) {
  for (int count = kSumVectors / 2; count > 0; count /= 2) {
    for (int v = 0; v < count; ++v) row[v] = Op::Of(row[v], row[v + count]);
  }
  return row[0];
}

/// Then the lanes of one vector.
template <class Op, class D, class V>
HWY_INLINE float FoldLanes(D d, V x) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (HWY_MAX_LANES_D(D) > 1) {
    const hn::Half<D> half;
    return FoldLanes<Op>(half, Op::Of(hn::LowerHalf(half, x), hn::UpperHalf(half, x)));
  }
#endif
  (void)d;
  return hn::GetLane(x);
}

#if HWY_TARGET != HWY_SCALAR
/// The halves of a and of b, folded: a in the lower half, b in the upper.
template <class Op>
HWY_INLINE Vector FoldHalves(Vector a, Vector b) {
  const Floats d;
  return Op::Of(hn::ConcatLowerLower(d, b, a), hn::ConcatUpperUpper(d, b, a));
}

/// kLanes rows at once, halving the vectors and the lanes of a row with each step.
template <class Op>
HWY_INLINE Vector FoldAllRows(Vector rows[kLanes]) {
#if HWY_MAX_BYTES >= 32
  REGARD_UNROLL
  for (int i = 0; i < kLanes / 2; ++i) rows[i] = FoldHalves<Op>(rows[i], rows[i + kLanes / 2]);
#endif
#if HWY_MAX_BYTES >= 64
  REGARD_UNROLL
  for (int i = 0; i < 4; ++i) {  // blocks a a b b and c c d d to a c b d
    const Vector ab = rows[i], cd = rows[i + 4];
    rows[i] = Op::Of(hn::OddEvenBlocks(hn::SwapAdjacentBlocks(cd), ab),
                     hn::OddEvenBlocks(cd, hn::SwapAdjacentBlocks(ab)));
  }
#endif
  TransposeBlocks(rows);
  return Op::Of(Op::Of(rows[0], rows[2]), Op::Of(rows[1], rows[3]));
}
#endif

/// Lane r: row r folded.
template <class Op>
HWY_INLINE Vector FoldRows(Vector rows[kLanes], std::int64_t num_rows) {
  const Floats d;
#if HWY_TARGET != HWY_SCALAR
  if (num_rows > kLanes / 4) {
    for (std::int64_t r = num_rows; r < kLanes; ++r) rows[r] = rows[0];
    return FoldAllRows<Op>(rows);
  }
#endif
  HWY_ALIGN float results[kLanes] = {};
  for (std::int64_t r = 0; r < num_rows; ++r) results[r] = FoldLanes<Op>(d, rows[r]);
  return hn::Load(d, results);
}

/// scores[j] = -inf where bit j is 0, for up to 64 columns.
inline void Mask(float* scores, std::int64_t columns, std::uint64_t bits) {
  for (std::int64_t j = 0; j < columns; ++j) {
    scores[j] = (bits >> j) & 1 ? scores[j] : kMinusInfinity;
  }
}

/// scores[j] *= factors[j].
inline void ScaleColumns(const float* factors, std::int64_t columns, float* scores) {
  const Floats d;
  std::int64_t j = 0;
  for (; j + kLanes <= columns; j += kLanes)
    hn::StoreU(hn::Mul(hn::LoadU(d, scores + j), hn::LoadU(d, factors + j)), d, scores + j);
  for (; j < columns; ++j) scores[j] *= factors[j];
}

/// Where the weights of kSumLanes columns at a time go: floats stay in place.
struct FloatWeights {
  static constexpr std::int64_t kColumns = kSumLanes;
  static HWY_INLINE void Store(const Vector* weights, float* row, std::int64_t j) {
    for (int v = 0; v < kSumVectors; ++v) hn::StoreU(weights[v], Floats(), row + j + v * kLanes);
  }
};

#if HWY_NATIVE_DOT_BF16
/// Rounded to bf16 and packed by pairs of columns into the first half of the row, behind what is
/// still to be read.
struct PairWeights {
  static constexpr std::int64_t kColumns = 2 * kSumLanes;
  static HWY_INLINE void Store(const Vector* weights, float* row, std::int64_t j) {
    static_assert(kSumVectors == 1);
    const hn::Repartition<hwy::bfloat16_t, Floats> d;
    const auto pairs = hn::OrderedDemote2To(d, weights[0], weights[1]);
    hn::StoreU(hn::BitCast(Floats(), pairs), Floats(), row + j / 2);
  }
};
#endif

/// Rows that are worked on together, so that chains of additions and maxima overlap.
inline constexpr int kRowsTogether = kSumVectors == 1 ? 4 : 1;

/// Per row the largest score of each lane.
template <int kRows>
HWY_INLINE void FindPeaks(const Softmax& s, std::int64_t first, std::int64_t columns,
                          Vector* peaks) {
  const Floats d;
  Vector peak[kRows][kSumVectors];
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    REGARD_UNROLL
    for (int v = 0; v < kSumVectors; ++v) peak[r][v] = hn::Set(d, kMinusInfinity);
  }
  const float* scores = s.scores + first * s.stride;
  for (std::int64_t j = 0; j < columns; j += kSumLanes) {
    REGARD_UNROLL
    for (int r = 0; r < kRows; ++r) {
      REGARD_UNROLL
      for (int v = 0; v < kSumVectors; ++v)
        peak[r][v] = hn::Max(peak[r][v], hn::LoadU(d, scores + r * s.stride + j + v * kLanes));
    }
  }
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) peaks[r] = FoldVectors<Larger>(peak[r]);
}

/// w = exp(score - shift), and per row the sums of the lanes: NaN where the row holds a NaN (or
/// +inf: inf - inf). What is below e^-69 becomes 0: all weights are 2^-99.5 less than exp says,
/// which most do not notice, and a masked score needs no test of its own.
template <class Weights, int kRows>
HWY_INLINE void Weigh(const Softmax& s, std::int64_t first, std::int64_t columns,
                      const float* shifts, Vector* sums) {
  constexpr int kVectors = static_cast<int>(Weights::kColumns) / kLanes;
  const Floats d;
  const Vector least = hn::Set(d, -69.0f), nothing = ExpOfNumber(d, least);
  Vector sum[kRows][kSumVectors], poison[kRows];
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    poison[r] = hn::Zero(d);
    REGARD_UNROLL
    for (int v = 0; v < kSumVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  float* scores = s.scores + first * s.stride;
  for (std::int64_t j = 0; j < columns; j += Weights::kColumns) {
    REGARD_UNROLL
    for (int r = 0; r < kRows; ++r) {
      float* row = scores + r * s.stride;
      Vector weights[kVectors];
      REGARD_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const Vector x = hn::Sub(hn::LoadU(d, row + j + v * kLanes), hn::Set(d, shifts[r]));
        poison[r] = hn::Add(poison[r], x);
        weights[v] = hn::Sub(ExpOfNumber(d, hn::Max(least, x)), nothing);
        sum[r][v % kSumVectors] = hn::Add(sum[r][v % kSumVectors], weights[v]);
      }
      Weights::Store(weights, row, j);
    }
  }
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    // exp may have made any weight of a NaN.
    sums[r] = hn::IfThenElse(hn::IsNaN(poison[r]), poison[r], FoldVectors<Plus>(sum[r]));
  }
}

/// Up to kLanes rows: the maximum over all columns, then w_j = exp(s_j - max), and their sum.
/// columns: a multiple of Weights::kColumns.
template <class Weights>
void SoftmaxRows(const Softmax& s, std::int64_t first, std::int64_t rows, std::int64_t columns) {
  const Floats d;
  Vector folds[kLanes];
  std::int64_t r = 0;
  for (; r + kRowsTogether <= rows; r += kRowsTogether)
    FindPeaks<kRowsTogether>(s, first + r, columns, folds + r);
  for (; r < rows; ++r) FindPeaks<1>(s, first + r, columns, folds + r);

  const auto count = static_cast<std::size_t>(rows);
  const Vector max = FoldRows<Larger>(folds, rows);
  hn::StoreN(max, d, s.max + first, count);
  // A row that sees nothing would compute -inf - -inf; shifted by 0 its weights are exp(-inf) = 0.
  HWY_ALIGN float shifts[kLanes];
  hn::Store(hn::IfThenZeroElse(hn::Eq(max, hn::Set(d, kMinusInfinity)), max), d, shifts);

  for (r = 0; r + kRowsTogether <= rows; r += kRowsTogether)
    Weigh<Weights, kRowsTogether>(s, first + r, columns, shifts + r, folds + r);
  for (; r < rows; ++r) Weigh<Weights, 1>(s, first + r, columns, shifts + r, folds + r);
  hn::StoreN(FoldRows<Plus>(folds, rows), d, s.sum + first, count);
}

template <class Weights>
void RunSoftmax(const Softmax& s) {
  const std::int64_t padded =
      (s.columns + Weights::kColumns - 1) / Weights::kColumns * Weights::kColumns;
  for (std::int64_t r = 0; r < s.rows; ++r) {
    float* row = s.scores + r * s.stride;
    for (std::int64_t j = s.columns; j < padded; ++j) row[j] = kMinusInfinity;
  }
  for (std::int64_t r = 0; r < s.rows; r += kLanes)
    SoftmaxRows<Weights>(s, r, HWY_MIN(s.rows - r, std::int64_t{kLanes}), padded);
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
inline void Merge(const State& left, const State& right, std::int64_t rows, std::int64_t stride) {
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

HWY_INLINE void Put(Vector x, float* to) { hn::StoreU(x, Floats(), to); }
HWY_INLINE void Put(Vector x, regard::bf16* to) {
  // By integers: the conversion instruction would flush subnormals.
  const hn::RebindToUnsigned<Floats> d32;
  const hn::Rebind<std::uint16_t, Floats> d16;
  const auto bits = hn::BitCast(d32, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d32, 0x7FFF))));
  const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(d32, 0x40));
  const auto is_nan = hn::RebindMask(d32, hn::IsNaN(x));
  hn::StoreU(hn::TruncateTo(d16, hn::IfThenElse(is_nan, quiet, rounded)), d16,
             reinterpret_cast<std::uint16_t*>(to));
}
HWY_INLINE void Put(Vector x, regard::f16* to) {
  const hn::Rebind<hwy::float16_t, Floats> d;
  hn::StoreU(hn::DemoteTo(d, x), d, reinterpret_cast<hwy::float16_t*>(to));
}

/// to[i] = out[i] / sum, rounded to T. Adding 0 turns -0 into 0: whether a key of weight 0 was
/// multiplied or skipped must not show.
template <class T>
void Finish(const float* out, float sum, std::int64_t columns, void* to, std::int64_t to_stride) {
  const Floats d;
  const Vector divisor = hn::Set(d, sum);
  T* place = static_cast<T*>(to);
  std::int64_t i = 0;
  if (to_stride == 1) {
    for (; i + kLanes <= columns; i += kLanes) {
      Put(hn::Add(hn::Div(hn::LoadU(d, out + i), divisor), hn::Zero(d)), place + i);
    }
  }
  for (; i < columns; ++i) place[i * to_stride] = T(out[i] / sum + 0.0f);
}

/// A row into storage.
template <class T>
void StoreRow(const float* row, std::int64_t columns, void* to, float* /*scale*/) {
  T* place = static_cast<T*>(to);
  std::int64_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) Put(hn::LoadU(Floats(), row + i), place + i);
  for (; i < columns; ++i) place[i] = T(row[i]);
}

HWY_INLINE std::size_t LanesLeft(std::int64_t columns) {
  return static_cast<std::size_t>(HWY_MIN(columns, std::int64_t{kLanes}));
}
/// to[i] = row[i] 127 / largest magnitude, to the nearest, ties to even; scale = largest / 127.
/// Finite.
inline void StoreRowInt8(const float* row, std::int64_t columns, void* to, float* scale) {
  constexpr float kLeast = 0x1p-100f;  // less is 0: its reciprocal would not be a number
  const Floats d;
  const hn::Rebind<std::int8_t, Floats> d8;
  Vector largest = hn::Zero(d);
  for (std::int64_t i = 0; i < columns; i += kLanes)
    largest = hn::Max(largest, hn::Abs(Load(row + i, LanesLeft(columns - i))));
  const float most = FoldLanes<Larger>(d, largest);
  *scale = most < kLeast ? 0.0f : most / 127.0f;
  const Vector factor = hn::Set(d, most < kLeast ? 0.0f : 127.0f / most);
  for (std::int64_t i = 0; i < columns; i += kLanes) {
    const auto whole = hn::NearestInt(hn::Mul(Load(row + i, LanesLeft(columns - i)), factor));
    hn::StoreN(hn::DemoteTo(d8, whole), d8, static_cast<std::int8_t*>(to) + i,
               LanesLeft(columns - i));
  }
}

inline void ExpArray(const float* x, float* y, std::int64_t n) {
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
