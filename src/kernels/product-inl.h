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

/// Where the vectors of row k of b come from. As packed: words, rows a constant apart (the row
/// pointers of a leave the compiler few registers).
struct Packed {
  static HWY_INLINE const float* Panel(const Product& p, std::int64_t panel) {
    return p.b + panel * p.b_panel;
  }
  static HWY_INLINE std::int64_t Lead(const Product&, std::int64_t) { return 0; }
  template <int kVectors>
  static HWY_INLINE void LoadRow(const Product& p, const float* b, std::int64_t k, std::int64_t,
                                 Vector* row) {
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      row[v] = hn::LoadU(Floats(),
                         b + v / kTileVectors * p.b_panel + k * kPanel + v % kTileVectors * kLanes);
    }
  }
};

/// Rows that are asked for ahead of those at hand where rows are read in pieces: 16 KiB. Pieces are
/// requests that hardware does not foresee; what is read from end to end it does, and asking too
/// only disturbs it.
template <class T>
HWY_INLINE std::int64_t RowsAhead(std::int64_t columns) {
  const auto rows = (16 << 10) / (columns * static_cast<std::int64_t>(sizeof(T)));
  return HWY_MAX(rows, std::int64_t{kLanes});
}

/// As rows of T lie in storage.
template <class T>
struct InPlace {
  static HWY_INLINE const float* Panel(const Product& p, std::int64_t panel) {
    return reinterpret_cast<const float*>(reinterpret_cast<const T*>(p.b) + panel * kPanel);
  }
  /// Elements ahead that a row is asked for, when `panels` are fewer than it has; else 0.
  static HWY_INLINE std::int64_t Lead(const Product& p, std::int64_t panels) {
    return panels < p.panels ? RowsAhead<T>(p.panels * kPanel) * p.b_row : 0;
  }
  template <int kVectors>
  static HWY_INLINE void LoadRow(const Product& p, const float* b, std::int64_t k,
                                 std::int64_t lead, Vector* row) {
    const T* from = reinterpret_cast<const T*>(b) + k * p.b_row;
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (v * kLanes * sizeof(T) % 64 == 0 && lead != 0)
        __builtin_prefetch(from + lead + v * kLanes, 0, 2);
      row[v] = Load(from + v * kLanes);
    }
  }
};

#if HWY_NATIVE_DOT_BF16
/// Rows 2 k and 2 k + 1 of bf16, as pairs.
struct PairsInPlace : InPlace<regard::bf16> {
  template <int kVectors>
  static HWY_INLINE void LoadRow(const Product& p, const float* b, std::int64_t k,
                                 std::int64_t lead, Vector* row) {
    const hn::Repartition<std::uint16_t, Floats> d;
    const auto* even = reinterpret_cast<const std::uint16_t*>(b) + 2 * k * p.b_row;
    REGARD_UNROLL
    for (int v = 0; v < kVectors; v += 2) {
      if (lead != 0) {
        __builtin_prefetch(even + lead + v * kLanes, 0, 2);
        __builtin_prefetch(even + lead + p.b_row + v * kLanes, 0, 2);
      }
      const auto x = hn::LoadU(d, even + v * kLanes), y = hn::LoadU(d, even + p.b_row + v * kLanes);
      row[v] = hn::BitCast(Floats(), hn::InterleaveWholeLower(d, x, y));
      row[v + 1] = hn::BitCast(Floats(), hn::InterleaveWholeUpper(d, x, y));
    }
  }
};
#endif

/// sum[r] += a[r][k] * b[k].
template <class Arith, class Layout, int kRows, int kVectors>
HWY_INLINE void ProductStep(const Product& p, const float* HWY_RESTRICT a,
                            const float* HWY_RESTRICT b, std::int64_t k, std::int64_t lead,
                            Vector (&sum)[kRows][kVectors]) {
  Vector row[kVectors];
  Layout::template LoadRow<kVectors>(p, b, k, lead, row);
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const Vector x = hn::Set(Floats(), a[r * p.a_stride + k]);
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[r][v] = Arith::Step(x, row[v], sum[r][v]);
  }
}

/// kRows rows of c for kPanels panels of b: one chain of multiply-adds per element, k ascending,
/// whatever kRows and kPanels are. kFresh: p neither accumulates nor adds; to ask costs 40 cycles.
template <class Arith, class Layout, int kRows, int kPanels, bool kFresh>
HWY_INLINE void ProductTile(const Product& p, const float* HWY_RESTRICT a,
                            const float* HWY_RESTRICT b, float* HWY_RESTRICT c, std::int64_t lead) {
  constexpr int kVectors = kPanels * kTileVectors;
  constexpr std::int64_t kStepDepth = step_depth(kRows);
  const Floats d;
  const std::int64_t c_stride = p.c_stride, depth = p.depth;
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
  std::int64_t k = 0;
  for (; k + 2 <= depth; k += 2) {  // by two: one at a time loses 4 % to the loop itself
    if (k % kStepDepth == 0) p.meanwhile.step();
    ProductStep<Arith, Layout>(p, a, b, k, lead, sum);
    ProductStep<Arith, Layout>(p, a, b, k + 1, lead, sum);
  }
  if (k < depth) ProductStep<Arith, Layout>(p, a, b, k, lead, sum);
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
void ProductRows(const Product& p, const float* a, float* c) {
  constexpr int kPanels = PanelsAtOnce(kRows);
  const std::int64_t lead = Layout::Lead(p, kPanels);
  std::int64_t panel = 0;
  for (; panel + kPanels <= p.panels; panel += kPanels) {
    ProductTile<Arith, Layout, kRows, kPanels, kFresh>(p, a, Layout::Panel(p, panel),
                                                       c + panel * kPanel, lead);
  }
  if constexpr (kPanels > 1) {
    for (; panel < p.panels; ++panel) {
      ProductTile<Arith, Layout, kRows, 1, kFresh>(p, a, Layout::Panel(p, panel),
                                                   c + panel * kPanel, lead);
    }
  }
}

/// `rows` rows, at most kRows.
template <class Arith, class Layout, int kRows>
void ProductUpTo(const Product& p, std::int64_t rows, const float* a, float* c) {
  if constexpr (kRows > 0) {
    if constexpr (kRows == kTileRows) {
      if (rows == kRows && !p.accumulate && !p.add)
        return ProductRows<Arith, Layout, kRows, true>(p, a, c);
    }
    if (rows == kRows) return ProductRows<Arith, Layout, kRows, false>(p, a, c);
    ProductUpTo<Arith, Layout, kRows - 1>(p, rows, a, c);
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
void RunProduct(const Product& p) {
  for (std::int64_t r = 0, rows; r < p.rows; r += rows) {
    rows = RowsOfTile(p.rows - r);
    ProductUpTo<Arith, Layout, kTileRows>(p, rows, p.a + r * p.a_stride, p.c + r * p.c_stride);
  }
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
