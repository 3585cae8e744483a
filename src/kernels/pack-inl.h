// src/kernels/pack-inl.h - strided keys and values into the panels that the product reads.
#if defined(REGARD_KERNELS_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REGARD_KERNELS_PACK_INL_H_
#undef REGARD_KERNELS_PACK_INL_H_
#else
#define REGARD_KERNELS_PACK_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/kernels.h"
#include "kernels/product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
/// packed[c * kPanel + r] = source[r * row_stride + c] for r, c in 0..3.
HWY_INLINE void Transpose4x4(const float* source, std::int64_t row_stride, float* packed) {
  const hn::FixedTag<float, 4> d;
  const hn::FixedTag<double, 2> pairs;
  const auto r0 = hn::LoadU(d, source), r1 = hn::LoadU(d, source + row_stride);
  const auto r2 = hn::LoadU(d, source + 2 * row_stride), r3 = hn::LoadU(d, source + 3 * row_stride);
  const auto lo01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));  // 00 10 01 11
  const auto lo23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
  const auto hi01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));  // 02 12 03 13
  const auto hi23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, lo01, lo23)), d, packed);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, lo01, lo23)), d, packed + kPanel);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, hi01, hi23)), d, packed + 2 * kPanel);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, hi01, hi23)), d, packed + 3 * kPanel);
}
#endif

/// Rows of the source become columns: packed[p][c][j] = source[p * kPanel + j][c]; absent rows are
/// 0.
void PackColumns(const Matrix& source, float* packed) {
  for (std::int64_t first = 0; first < source.rows;
       first += kPanel, packed += source.columns * kPanel) {
    const std::int64_t rows = HWY_MIN(source.rows - first, static_cast<std::int64_t>(kPanel));
    const float* from = source.data + first * source.row_stride;
    std::int64_t fast_rows = 0, fast_columns = 0;
#if HWY_TARGET != HWY_SCALAR
    if (source.column_stride == 1) {
      fast_rows = rows & ~std::int64_t{3};
      fast_columns = source.columns & ~std::int64_t{3};
      for (std::int64_t r = 0; r < fast_rows; r += 4) {
        for (std::int64_t c = 0; c < fast_columns; c += 4) {
          Transpose4x4(from + r * source.row_stride + c, source.row_stride,
                       packed + c * kPanel + r);
        }
      }
    }
#endif
    for (std::int64_t c = 0; c < source.columns; ++c) {
      for (std::int64_t r = c < fast_columns ? fast_rows : 0; r < kPanel; ++r) {
        packed[c * kPanel + r] =
            r < rows ? from[r * source.row_stride + c * source.column_stride] : 0.0f;
      }
    }
  }
}

/// Columns are cut into panels: packed[p][r][j] = source[r][p * kPanel + j], absent columns 0,
/// panels packed_depth rows apart. True when every element of the source is finite.
bool PackRows(const Matrix& source, std::int64_t packed_depth, float* packed) {
  const Floats d;
  Vector poison = hn::Zero(d);  // x * 0 is 0 for finite x and NaN for the rest
  float rest_poison = 0.0f;
  for (std::int64_t first = 0; first < source.columns;
       first += kPanel, packed += packed_depth * kPanel) {
    const std::int64_t columns = HWY_MIN(source.columns - first, static_cast<std::int64_t>(kPanel));
    for (std::int64_t r = 0; r < source.rows; ++r) {
      const float* from = source.data + r * source.row_stride + first * source.column_stride;
      float* to = packed + r * kPanel;
      std::int64_t c = 0;
      if (source.column_stride == 1) {
        for (; c + kLanes <= columns; c += kLanes) {
          const Vector x = hn::LoadU(d, from + c);
          poison = hn::MulAdd(x, hn::Zero(d), poison);
          hn::StoreU(x, d, to + c);
        }
      }
      for (; c < columns; ++c) {
        to[c] = from[c * source.column_stride];
        rest_poison += to[c] * 0.0f;
      }
      for (; c < kPanel; ++c) to[c] = 0.0f;
    }
  }
  return rest_poison == 0.0f && hn::AllTrue(d, hn::Eq(poison, hn::Zero(d)));
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
