// src/kernels/product-inl.h - the one matrix product: scores, values and linear layers all go
// through it.
#if defined(REGARD_KERNELS_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REGARD_KERNELS_PRODUCT_INL_H_
#undef REGARD_KERNELS_PRODUCT_INL_H_
#else
#define REGARD_KERNELS_PRODUCT_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/kernels.h"
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// sum + x * y in float32.
struct MultiplyAdd {
  static HWY_INLINE Vector Step(Vector x, Vector y, Vector sum) { return hn::MulAdd(x, y, sum); }
};

#if HWY_NATIVE_DOT_BF16
/// sum + x_odd * y_odd + x_even * y_even, words being pairs of bf16.
struct PairMultiplyAdd {
  static HWY_INLINE Vector Step(Vector x, Vector y, Vector sum) {
    const Floats d;
    const hn::Repartition<hwy::bfloat16_t, Floats> pairs;
    Vector unused = hn::Zero(d);
    return hn::ReorderWidenMulAccumulate(d, hn::BitCast(pairs, x), hn::BitCast(pairs, y), sum,
                                         unused);
  }
};
#endif

/// Rows of b that lie together.
template <class T>
struct Piece {
  const T* from;
  std::int64_t depth;  ///< in words
  std::int64_t lead;   ///< elements from a row to the one that is asked for with it; 0: none
};

/// Where the vectors of row k of a piece of b come from. As packed: one piece, words, rows a
/// constant apart (the row pointers of a leave the compiler few registers).
class Packed {
 public:
  using Type = float;
  explicit Packed(const Product& p) : b_(p.b), panel_(p.b_panel), depth_(p.depth) {}
  HWY_INLINE Piece<float> First(std::int64_t panel, bool) const {
    return {b_ + panel * panel_, depth_, 0};
  }
  HWY_INLINE bool Next(Piece<float>&) const { return false; }
  template <int kVectors>
  HWY_INLINE void LoadRow(const float* b, std::int64_t k, std::int64_t, Vector* row) const {
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      row[v] = hn::LoadU(Floats(),
                         b + v / kTileVectors * panel_ + k * kPanel + v % kTileVectors * kLanes);
    }
  }

 private:
  const float* b_;
  std::int64_t panel_, depth_;
};

/// Rows that are asked for ahead of those at hand where rows are read in pieces: 16 KiB. Pieces are
/// requests that hardware does not foresee; what is read from end to end it does, and asking too
/// only disturbs it. A multiple of what pages are a multiple of, so that few pages are cut in two.
inline constexpr std::int64_t kPageUnit = 16;
template <class T>
HWY_INLINE std::int64_t RowsAhead(std::int64_t columns) {
  const auto rows = (16 << 10) / (columns * static_cast<std::int64_t>(sizeof(T)));
  return HWY_MAX(rows / kPageUnit * kPageUnit, kPageUnit);
}

/// As rows of T lie in storage, together or in pages; kWord rows are one of words.
template <class T, int kWord = 1>
class InPlace {
 public:
  using Type = T;
  explicit InPlace(const Matrix& b)
      : b_(b), ahead_rows_(RowsAhead<T>(b.columns)), here_(Start(0)), ahead_(Start(ahead_rows_)) {}
  /// The first piece; `whole` is true where all columns are taken at once.
  HWY_INLINE Piece<T> First(std::int64_t panel, bool whole) {
    column_ = panel * kPanel;
    if (b_.pages.table == nullptr) {
      // What is read from end to end hardware foresees: asking too only disturbs it.
      const std::int64_t lead = whole ? 0 : ahead_rows_ * b_.row_stride;
      return {static_cast<const T*>(b_.data) + column_, b_.rows / kWord, lead};
    }
    at_ = here_;
    soon_ = ahead_;
    left_ = b_.rows;
    return Take();
  }
  HWY_INLINE bool Next(Piece<T>& piece) {
    if (b_.pages.table == nullptr || left_ == 0) return false;
    piece = Take();
    return true;
  }
  template <int kVectors>
  HWY_INLINE void LoadRow(const T* b, std::int64_t k, std::int64_t lead, Vector* row) const {
    const T* from = b + k * b_.row_stride;
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (v * kLanes * sizeof(T) % 64 == 0 && lead != 0)
        __builtin_prefetch(from + lead + v * kLanes, 0, 2);
      row[v] = Load(from + v * kLanes);
    }
  }

 protected:
  const Matrix& b_;

 private:
  PageCursor Start(std::int64_t row) const {
    return b_.pages.table == nullptr ? PageCursor() : PageCursor(b_.pages, row);
  }
  /// Rows up to the end of this page, or of the one that is asked for with it.
  HWY_INLINE Piece<T> Take() {
    const std::int64_t rows = HWY_MIN(left_, HWY_MIN(at_.left(), soon_.left()));
    const T* from = at_.template at<T>(b_.row_stride) + column_;
    const T* ahead = soon_.template at<T>(b_.row_stride);
    const std::int64_t lead = ahead == nullptr ? 0 : Distance(from, ahead + column_);
    at_.advance(rows);
    soon_.advance(rows);
    left_ -= rows;
    return {from, rows / kWord, lead};
  }
  /// Pages are no parts of one array, but whole lines lie between them.
  static std::int64_t Distance(const T* from, const T* to) {
    return (reinterpret_cast<std::intptr_t>(to) - reinterpret_cast<std::intptr_t>(from)) /
           static_cast<std::int64_t>(sizeof(T));
  }

  std::int64_t ahead_rows_;
  PageCursor here_, ahead_, at_ = here_, soon_ = ahead_;
  std::int64_t column_ = 0, left_ = 0;
};

#if HWY_NATIVE_DOT_BF16
/// Rows 2 k and 2 k + 1 of bf16, as pairs.
class PairsInPlace : public InPlace<regard::bf16, 2> {
 public:
  using InPlace::InPlace;
  template <int kVectors>
  HWY_INLINE void LoadRow(const regard::bf16* b, std::int64_t k, std::int64_t lead,
                          Vector* row) const {
    const hn::Repartition<std::uint16_t, Floats> d;
    const std::int64_t stride = b_.row_stride;
    const auto* even = reinterpret_cast<const std::uint16_t*>(b) + 2 * k * stride;
    REGARD_UNROLL
    for (int v = 0; v < kVectors; v += 2) {
      if (lead != 0) {
        __builtin_prefetch(even + lead + v * kLanes, 0, 2);
        __builtin_prefetch(even + lead + stride + v * kLanes, 0, 2);
      }
      const auto x = hn::LoadU(d, even + v * kLanes), y = hn::LoadU(d, even + stride + v * kLanes);
      row[v] = hn::BitCast(Floats(), hn::InterleaveWholeLower(d, x, y));
      row[v + 1] = hn::BitCast(Floats(), hn::InterleaveWholeUpper(d, x, y));
    }
  }
};
#endif

/// sum[r] += a[r][k] * b[k].
template <class Arith, class Layout, int kRows, int kVectors>
HWY_INLINE void ProductStep(const Layout& layout, const float* HWY_RESTRICT a,
                            std::int64_t a_stride, const Piece<typename Layout::Type>& b,
                            std::int64_t k, Vector (&sum)[kRows][kVectors]) {
  Vector row[kVectors];
  layout.template LoadRow<kVectors>(b.from, k, b.lead, row);
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const Vector x = hn::Set(Floats(), a[r * a_stride + k]);
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[r][v] = Arith::Step(x, row[v], sum[r][v]);
  }
}

/// kRows rows of c for kPanels panels of b: one chain of multiply-adds per element, k ascending,
/// whatever kRows and kPanels are. kFresh: p neither accumulates nor adds; to ask costs 40 cycles.
template <class Arith, class Layout, int kRows, int kPanels, bool kFresh>
HWY_INLINE void ProductTile(const Product& p, Layout& layout, std::int64_t panel,
                            const float* HWY_RESTRICT a, float* HWY_RESTRICT c) {
  constexpr int kVectors = kPanels * kTileVectors;
  constexpr std::int64_t kStepDepth = step_depth(kRows);
  const Floats d;
  const std::int64_t c_stride = p.c_stride, a_stride = p.a_stride;
  Vector sum[kRows][kVectors];
  if (!kFresh && p.accumulate) {
    REGARD_UNROLL
    for (int r = 0; r < kRows; ++r) {
      REGARD_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::LoadU(d, c + r * c_stride + v * kLanes);
    }
  } else {
    REGARD_UNROLL
    for (int r = 0; r < kRows; ++r) {
      REGARD_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
    }
  }
  auto piece = layout.First(panel, kPanels >= p.panels);
  do {
    const auto b = piece;
    std::int64_t k = 0;
    for (; k + 2 <= b.depth; k += 2) {  // by two: one at a time loses 4 % to the loop itself
      if (k % kStepDepth == 0) p.meanwhile.step();
      ProductStep<Arith>(layout, a, a_stride, b, k, sum);
      ProductStep<Arith>(layout, a, a_stride, b, k + 1, sum);
    }
    if (k < b.depth) ProductStep<Arith>(layout, a, a_stride, b, k, sum);
    a += b.depth;
  } while (layout.Next(piece));
  const Vector scale = hn::Set(d, p.scale);
  if (!kFresh && p.add) {
    REGARD_UNROLL
    for (int r = 0; r < kRows; ++r) {
      REGARD_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        float* to = c + r * c_stride + v * kLanes;
        hn::StoreU(hn::Add(hn::LoadU(d, to), hn::Mul(sum[r][v], scale)), d, to);
      }
    }
  } else {
    REGARD_UNROLL
    for (int r = 0; r < kRows; ++r) {
      REGARD_UNROLL
      for (int v = 0; v < kVectors; ++v)
        hn::StoreU(hn::Mul(sum[r][v], scale), d, c + r * c_stride + v * kLanes);
    }
  }
}

/// Panels that kRows rows take at once: few rows need more of them, or the chains would wait for
/// their own latency.
constexpr int PanelsAtOnce(int rows) {
  if (kTileRows < 12) return rows == 1 ? 2 : 1;
  return rows <= 2 ? 4 : rows <= 6 ? 2 : 1;
}

template <class Arith, class Layout, int kRows, bool kFresh>
void ProductRows(const Product& p, Layout& layout, const float* a, float* c) {
  constexpr int kPanels = PanelsAtOnce(kRows);
  std::int64_t panel = 0;
  for (; panel + kPanels <= p.panels; panel += kPanels)
    ProductTile<Arith, Layout, kRows, kPanels, kFresh>(p, layout, panel, a, c + panel * kPanel);
  if constexpr (kPanels > 1) {
    for (; panel < p.panels; ++panel)
      ProductTile<Arith, Layout, kRows, 1, kFresh>(p, layout, panel, a, c + panel * kPanel);
  }
}

/// `rows` rows, at most kRows.
template <class Arith, class Layout, int kRows>
void ProductUpTo(const Product& p, Layout& layout, std::int64_t rows, const float* a, float* c) {
  if constexpr (kRows > 0) {
    if constexpr (kRows == kTileRows) {
      if (rows == kRows && !p.accumulate && !p.add)
        return ProductRows<Arith, Layout, kRows, true>(p, layout, a, c);
    }
    if (rows == kRows) return ProductRows<Arith, Layout, kRows, false>(p, layout, a, c);
    ProductUpTo<Arith, Layout, kRows - 1>(p, layout, rows, a, c);
  }
}

/// Rows of the next tile: the last ones are shared evenly between two tiles.
HWY_INLINE std::int64_t RowsOfTile(std::int64_t left) {
  if (left <= kTileRows) return left;
  return left < 2 * kTileRows ? (left + 1) / 2 : kTileRows;
}

/// Row tiles outermost: the rows of a stay in L1 while panels of b stream from L2, 128 bytes for 24
/// multiply-adds.
template <class Arith, class Layout>
void RunRows(const Product& p, Layout layout) {
  for (std::int64_t r = 0, rows; r < p.rows; r += rows) {
    rows = RowsOfTile(p.rows - r);
    ProductUpTo<Arith, Layout, kTileRows>(p, layout, rows, p.a + r * p.a_stride,
                                          p.c + r * p.c_stride);
  }
}
template <class Arith>
void RunProduct(const Product& p) {
  RunRows<Arith>(p, Packed(p));
}
template <class Arith, class Layout>
void RunInPlace(const Product& p, const Matrix& b) {
  RunRows<Arith>(p, Layout(b));
}

/// Independent multiply-adds in registers, as many as the register tile has: what the machine could
/// do at best. kPerLane: floating point operations of one step in one lane.
template <class Arith, int kPerLane>
double Peak(std::int64_t repeats) {
  const Floats d;
  Vector sum[kTileRows][kTileVectors];
  for (auto& row : sum) {
    for (auto& v : row) v = hn::Set(d, 1.0f);
  }
  // As a float and as two bf16 about a half.
  const Vector x = hn::BitCast(d, hn::Set(hn::RebindToUnsigned<Floats>(), 0x3F003F00U)), y = x;
  for (std::int64_t i = 0; i < repeats; ++i) {
    REGARD_UNROLL
    for (int r = 0; r < kTileRows; ++r) {
      REGARD_UNROLL
      for (int v = 0; v < kTileVectors; ++v) sum[r][v] = Arith::Step(x, y, sum[r][v]);
    }
  }
  Vector total = hn::Zero(d);
  for (auto& row : sum) {
    for (auto& v : row) total = hn::Add(total, v);
  }
  hwy::PreventElision(hn::GetLane(total));
  return static_cast<double>(kPerLane) * kTileRows * kPanel * static_cast<double>(repeats);
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
