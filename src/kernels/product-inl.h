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

/// Rows of b that lie together, and what is asked for with them.
template <class T>
struct Piece {
  const T* from;
  std::int64_t depth;  ///< in words
  const T* ahead;      ///< null: nothing
  std::int64_t step;   ///< elements of `ahead` from what goes with one row to the next row's
};

/// Where the vectors of row k of a piece of b come from. As packed: one piece, words, rows a
/// constant apart (the row pointers of a leave the compiler few registers).
class Packed {
 public:
  using Type = float;
  explicit Packed(const Product& p) : b_(p.b), panel_(p.b_panel), depth_(p.depth) {}
  template <int kVectors>
  HWY_INLINE Piece<float> First(std::int64_t panel) const {
    return {b_ + panel * panel_, depth_, nullptr, 0};
  }
  HWY_INLINE bool Next(Piece<float>&) const { return false; }
  template <int kVectors>
  HWY_INLINE void LoadRow(const Piece<float>& b, std::int64_t k, Vector* row) const {
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      row[v] = hn::LoadU(
          Floats(), b.from + v / kTileVectors * panel_ + k * kPanel + v % kTileVectors * kLanes);
    }
  }

 private:
  const float* b_;
  std::int64_t panel_, depth_;
};

/// Rows that are asked for ahead of those at hand where rows are read in pieces: 16 KiB. Pieces are
/// requests that hardware does not foresee; what is read from end to end it does, and asking too
/// only disturbs it. A multiple of what pages are a multiple of, so that few pages are cut in two.
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
  explicit InPlace(const Matrix& b) : b_(b), ahead_rows_(RowsAhead<T>(b.columns)) {
    if (b.pages.table == nullptr) return;
    here_ = PageCursor(b.pages, 0);
    ahead_ = LookAhead(b.pages, ahead_rows_);
  }
  /// The first piece, for kVectors vectors of columns from `panel` on.
  template <int kVectors>
  HWY_INLINE Piece<T> First(std::int64_t panel) {
    constexpr std::int64_t kColumns = kVectors * kLanes;
    column_ = panel * kPanel;
    step_ = kColumns;
    pass_ = column_ / kColumns;
    if (b_.pages.table == nullptr) {
      const T* from = static_cast<const T*>(b_.data);
      // What is read from end to end hardware foresees: asking too only disturbs it.
      const bool whole = kColumns >= b_.columns;
      return MakePiece(from, b_.rows, whole ? nullptr : from + ahead_rows_ * b_.row_stride);
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
  HWY_INLINE void LoadRow(const Piece<T>& b, std::int64_t k, Vector* row) const {
    AskAhead<kVectors>(b, k);
    const T* from = b.from + k * b_.row_stride;
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v) row[v] = Load(from + v * kLanes);
  }

 protected:
  template <int kVectors>
  HWY_INLINE void AskAhead(const Piece<T>& b, std::int64_t k) const {
    if (b.ahead == nullptr) return;
    constexpr int kBytes = kVectors * kLanes * static_cast<int>(sizeof(T));
    REGARD_UNROLL
    for (int w = 0; w < kWord; ++w) {
      const auto* row = reinterpret_cast<const char*>(b.ahead + (k * kWord + w) * b.step);
      REGARD_UNROLL
      for (int at = 0; at < kBytes; at += 64) __builtin_prefetch(row + at, 0, 2);
    }
  }
  const Matrix& b_;

 private:
  /// Rows up to the end of this page, or of the one that is asked for with it.
  HWY_INLINE Piece<T> Take() {
    const std::int64_t rows = HWY_MIN(left_, HWY_MIN(at_.left(), soon_.left()));
    const T* from = at_.template at<T>(b_.row_stride);
    const T* ahead = soon_.template at<T>(b_.row_stride);
    at_.advance(rows);
    soon_.advance(rows);
    left_ -= rows;
    return MakePiece(from, rows, ahead);
  }
  /// Few adjacent rows are asked for from end to end, a share in each pass over the columns, so
  /// that memory sees one stream. Of many, the passes are too far apart.
  HWY_INLINE Piece<T> MakePiece(const T* from, std::int64_t rows, const T* ahead) const {
    const bool adjacent = b_.row_stride == b_.columns && b_.rows <= ahead_rows_;
    if (ahead != nullptr) ahead += adjacent ? pass_ * rows * step_ : column_;
    return {from + column_, rows / kWord, ahead, adjacent ? step_ : b_.row_stride};
  }

  std::int64_t ahead_rows_;
  PageCursor here_, at_;
  LookAhead ahead_, soon_;
  std::int64_t column_ = 0, step_ = 0, pass_ = 0, left_ = 0;
};

#if HWY_NATIVE_DOT_BF16
/// Rows 2 k and 2 k + 1 of bf16, as pairs.
class PairsInPlace : public InPlace<regard::bf16, 2> {
 public:
  using InPlace::InPlace;
  template <int kVectors>
  HWY_INLINE void LoadRow(const Piece<regard::bf16>& b, std::int64_t k, Vector* row) const {
    AskAhead<kVectors>(b, k);
    const hn::Repartition<std::uint16_t, Floats> d;
    const std::int64_t stride = b_.row_stride;
    const auto* even = reinterpret_cast<const std::uint16_t*>(b.from) + 2 * k * stride;
    REGARD_UNROLL
    for (int v = 0; v < kVectors; v += 2) {
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
  layout.template LoadRow<kVectors>(b, k, row);
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
  auto piece = layout.template First<kVectors>(panel);
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
