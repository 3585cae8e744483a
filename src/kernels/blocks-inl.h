// src/kernels/blocks-inl.h - weights that stay in blocks of 4 or 8 bits: multiplied as they are by
// a few rows, unpacked for many.
#if defined(REGARD_KERNELS_BLOCKS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REGARD_KERNELS_BLOCKS_INL_H_
#undef REGARD_KERNELS_BLOCKS_INL_H_
#else
#define REGARD_KERNELS_BLOCKS_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/kernels.h"
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// A block of a panel: scales (and offsets), a number per column, then words of 32 bits, a row of
/// the panel's width for each kPerWord elements of depth, the first in the lowest bits.
template <class S, int kBits, int kLength>
struct Blocks {
  static constexpr int kDepth = kLength;
  static constexpr int kPerWord = 32 / kBits;
  static constexpr int kWords = kLength / kPerWord;
  static constexpr bool kHasOffset = kBits == 4;
  static constexpr std::int64_t kOffsets = kPanel * static_cast<std::int64_t>(sizeof(S));
  static constexpr std::int64_t kFirstWord = kOffsets * (kHasOffset ? 2 : 1);
  static constexpr std::int64_t kBytes = kFirstWord + std::int64_t{4} * kPanel * kWords;

  /// Scale and offset of the columns of vector v.
  static HWY_INLINE Vector Scale(const std::byte* block, int v) {
    return Load(reinterpret_cast<const S*>(block) + v * kLanes);
  }
  static HWY_INLINE Vector Offset(const std::byte* block, int v) {
    if constexpr (!kHasOffset) return hn::Zero(Floats());
    return Load(reinterpret_cast<const S*>(block + kOffsets) + v * kLanes);
  }
  using Words = hn::Vec<hn::RebindToUnsigned<Floats>>;
  static HWY_INLINE Words Word(const std::byte* block, int w, int v) {
    const hn::RebindToUnsigned<Floats> d;
    return hn::LoadU(
        d, reinterpret_cast<const std::uint32_t*>(block + kFirstWord) + w * kPanel + v * kLanes);
  }
  /// Element i of a word as the number it stands for.
  static HWY_INLINE Vector Weight(Words word, int i, Vector scale, Vector offset) {
    const hn::RebindToSigned<Floats> d;
    if constexpr (kBits == 4) {
      const auto q = hn::And(hn::BitCast(d, hn::ShiftRightSame(word, 4 * i)), hn::Set(d, 15));
      const Vector number = hn::ConvertTo(Floats(), q);
      // 11 bits times 4 are exact: one rounding with or without FMA. 24 times 4 are not, and two
      // roundings are what the format means.
      if constexpr (sizeof(S) == 2) return hn::MulAdd(scale, number, offset);
      return hn::Add(hn::Mul(scale, number), offset);
    } else {
      const auto top = hn::BitCast(d, hn::ShiftLeftSame(word, 24 - 8 * i));
      return hn::Mul(scale, hn::ConvertTo(Floats(), hn::ShiftRight<24>(top)));
    }
  }
};

/// kRows rows of c for kPanels panels. The chains are those of the product of unpacked weights.
template <class B, int kRows, int kPanels>
HWY_INLINE void BlockTile(const BlockProduct& p, const float* HWY_RESTRICT a, const std::byte* b,
                          float* HWY_RESTRICT c) {
  constexpr int kVectors = kPanels * kTileVectors;
  const Floats d;
  Vector sum[kRows][kVectors];
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  for (std::int64_t k = 0; k < p.depth; k += B::kDepth, b += B::kBytes) {
    Vector scale[kVectors], offset[kVectors];
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const std::byte* panel = b + v / kTileVectors * p.b_panel;
      scale[v] = B::Scale(panel, v % kTileVectors);
      offset[v] = B::Offset(panel, v % kTileVectors);
    }
    for (int w = 0; w < B::kWords; ++w) {
      typename B::Words word[kVectors];
      REGARD_UNROLL
      for (int v = 0; v < kVectors; ++v)
        word[v] = B::Word(b + v / kTileVectors * p.b_panel, w, v % kTileVectors);
      const float* x = a + k + w * B::kPerWord;
      REGARD_UNROLL
      for (int i = 0; i < B::kPerWord; ++i) {
        Vector weight[kVectors];
        REGARD_UNROLL
        for (int v = 0; v < kVectors; ++v) weight[v] = B::Weight(word[v], i, scale[v], offset[v]);
        REGARD_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const Vector row = hn::Set(d, x[r * p.a_stride + i]);
          REGARD_UNROLL
          for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(row, weight[v], sum[r][v]);
        }
      }
    }
  }
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      float* to = c + r * p.c_stride + v * kLanes;
      hn::StoreU(p.add ? hn::Add(hn::LoadU(d, to), sum[r][v]) : sum[r][v], d, to);
    }
  }
}

/// Rows that take a tile of blocks together.
inline constexpr int kBlockRows = HWY_TARGET == HWY_SCALAR ? 1 : 4;

template <class B, int kRows>
void BlockRowsUpTo(const BlockProduct& p, std::int64_t rows, const float* a, float* c) {
  if constexpr (kRows > 0) {
    if (rows < kRows) return BlockRowsUpTo<B, kRows - 1>(p, rows, a, c);
    // One row needs two panels, or its chains would wait for their own latency.
    constexpr int kPanels = kRows == 1 && kTileRows >= 12 ? 2 : 1;
    std::int64_t panel = 0;
    for (; panel + kPanels <= p.panels; panel += kPanels)
      BlockTile<B, kRows, kPanels>(p, a, p.b + panel * p.b_panel, c + panel * kPanel);
    if constexpr (kPanels > 1) {
      for (; panel < p.panels; ++panel)
        BlockTile<B, kRows, 1>(p, a, p.b + panel * p.b_panel, c + panel * kPanel);
    }
  }
}

template <class B>
void RunBlocks(const BlockProduct& p) {
  for (std::int64_t r = 0; r < p.rows; r += kBlockRows) {
    BlockRowsUpTo<B, kBlockRows>(p, HWY_MIN(p.rows - r, std::int64_t{kBlockRows}),
                                 p.a + r * p.a_stride, p.c + r * p.c_stride);
  }
}

/// packed[k][j] = weight k of column j of one panel.
template <class B>
void UnpackBlocks(const std::byte* b, std::int64_t depth, float* packed) {
  const Floats d;
  for (std::int64_t k = 0; k < depth; k += B::kDepth, b += B::kBytes) {
    REGARD_UNROLL
    for (int v = 0; v < kTileVectors; ++v) {
      const Vector scale = B::Scale(b, v), offset = B::Offset(b, v);
      for (int w = 0; w < B::kWords; ++w) {
        const auto word = B::Word(b, w, v);
        float* to = packed + (k + w * B::kPerWord) * kPanel + v * kLanes;
        REGARD_UNROLL
        for (int i = 0; i < B::kPerWord; ++i)
          hn::StoreU(B::Weight(word, i, scale, offset), d, to + i * kPanel);
      }
    }
  }
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
