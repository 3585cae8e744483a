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

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;
inline constexpr int kLanes = static_cast<int>(HWY_MAX_LANES_D(Floats));

// The register tile: kTileRows x kTileVectors accumulators, the vectors of one row of b, one
// broadcast element of a. 12 x 2 of 32 registers keeps a panel of b at 128 bytes a row: 16 KiB for
// 128 rows, half of the smallest L1.
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
static_assert(64 % kPanel == 0);

#if HWY_COMPILER_GCC_ACTUAL
#define REGARD_UNROLL _Pragma("GCC unroll 16")
#else
#define REGARD_UNROLL _Pragma("clang loop unroll(full)")
#endif

/// kRows rows of c for one panel of b: one chain of multiply-adds per element, k ascending,
/// whatever kRows is.
template <int kRows>
void ProductTile(const Product& p, const float* HWY_RESTRICT a, const float* HWY_RESTRICT b,
                 float* HWY_RESTRICT c) {
  const Floats d;
  const std::int64_t a_stride = p.a_stride, c_stride = p.c_stride, depth = p.depth;
  Vector sum[kRows][kTileVectors];
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    REGARD_UNROLL
    for (int v = 0; v < kTileVectors; ++v) {
      sum[r][v] = p.accumulate ? hn::LoadU(d, c + r * c_stride + v * kLanes) : hn::Zero(d);
    }
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    Vector row[kTileVectors];
    REGARD_UNROLL
    for (int v = 0; v < kTileVectors; ++v) row[v] = hn::LoadU(d, b + k * kPanel + v * kLanes);
    REGARD_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Vector x = hn::Set(d, a[r * a_stride + k]);
      REGARD_UNROLL
      for (int v = 0; v < kTileVectors; ++v) sum[r][v] = hn::MulAdd(x, row[v], sum[r][v]);
    }
  }
  const Vector scale = hn::Set(d, p.scale);
  const bool add = p.add;
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    REGARD_UNROLL
    for (int v = 0; v < kTileVectors; ++v) {
      float* to = c + r * c_stride + v * kLanes;
      Vector result = hn::Mul(sum[r][v], scale);
      if (add) result = hn::Add(hn::LoadU(d, to), result);
      hn::StoreU(result, d, to);
    }
  }
}

/// The last rows of a product, fewer than kTileRows.
template <int kRows>
void ProductRest(const Product& p, std::int64_t rows, const float* a, const float* b, float* c) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return ProductTile<kRows>(p, a, b, c);
    ProductRest<kRows - 1>(p, rows, a, b, c);
  }
}

void RunProduct(const Product& p) {
  for (std::int64_t panel = 0; panel < p.panels; ++panel) {
    const float* b = p.b + panel * p.b_depth * kPanel;
    float* c = p.c + panel * kPanel;
    std::int64_t r = 0;
    for (; r + kTileRows <= p.rows; r += kTileRows) {
      ProductTile<kTileRows>(p, p.a + r * p.a_stride, b, c + r * p.c_stride);
    }
    ProductRest<kTileRows - 1>(p, p.rows - r, p.a + r * p.a_stride, b, c + r * p.c_stride);
  }
}

/// Independent multiply-adds in registers, as many as the register tile has: what the machine could
/// do at best.
double FmaPeak(std::int64_t repeats) {
  const Floats d;
  Vector sum[kTileRows][kTileVectors];
  for (auto& row : sum) {
    for (auto& v : row) v = hn::Set(d, 1.0f);
  }
  Vector x = hn::Set(d, 0.999999f), y = hn::Set(d, 1e-6f);
  for (std::int64_t i = 0; i < repeats; ++i) {
    REGARD_UNROLL
    for (int r = 0; r < kTileRows; ++r) {
      REGARD_UNROLL
      for (int v = 0; v < kTileVectors; ++v) sum[r][v] = hn::MulAdd(sum[r][v], x, y);
    }
  }
  Vector total = hn::Zero(d);
  for (auto& row : sum) {
    for (auto& v : row) total = hn::Add(total, v);
  }
  hwy::PreventElision(hn::GetLane(total));
  return 2.0 * kTileRows * kPanel * static_cast<double>(repeats);
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
