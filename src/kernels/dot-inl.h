// src/kernels/dot-inl.h - scores of a few rows against keys where they lie: every key is read once,
// and nothing is packed.
#if defined(REGARD_KERNELS_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REGARD_KERNELS_DOT_INL_H_
#undef REGARD_KERNELS_DOT_INL_H_
#else
#define REGARD_KERNELS_DOT_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/kernels.h"
#include "kernels/pack-inl.h"
#include "kernels/product-inl.h"
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// What the 32 bits of one word of storage are to the arithmetic: operands of as many steps.
template <class T>
struct Widened;
template <>
struct Widened<float> {
  using Type = float;
  static constexpr int kSteps = 1;
  static HWY_INLINE void Operands(Vector word, Vector* steps) { steps[0] = word; }
};
template <>
struct Widened<regard::bf16> {
  using Type = regard::bf16;
  static constexpr int kSteps = 2;
  static HWY_INLINE void Operands(Vector word, Vector* steps) {
    const hn::RebindToUnsigned<Floats> bits;
    const auto both = hn::BitCast(bits, word);
    steps[0] = hn::BitCast(Floats(), hn::ShiftLeft<16>(both));
    steps[1] = hn::BitCast(Floats(), hn::And(both, hn::Set(bits, 0xFFFF0000U)));
  }
};
template <>
struct Widened<regard::f16> {
  using Type = regard::f16;
  static constexpr int kSteps = 2;
  static HWY_INLINE void Operands(Vector word, Vector* steps) {
    const hn::RebindToUnsigned<Floats> bits;
    const hn::Rebind<std::uint16_t, Floats> half;
    const auto both = hn::BitCast(bits, word);
    steps[0] = PromoteF16(hn::TruncateTo(half, both));
    steps[1] = PromoteF16(hn::TruncateTo(half, hn::ShiftRight<16>(both)));
  }
};
#if HWY_NATIVE_DOT_BF16
/// A pair of bf16 is an operand as it is.
struct PairsAsTheyAre {
  using Type = regard::bf16;
  static constexpr int kSteps = 1;
  static HWY_INLINE void Operands(Vector word, Vector* steps) { steps[0] = word; }
};
#endif

/// Rows of a tile: a sum each, and few registers besides.
inline constexpr int kDotRows = kLanes == 16 ? 16 : 8;

/// Words of one 16-byte block: as many as TransposeBlocks takes.
inline constexpr int kBlockWords = HWY_TARGET == HWY_SCALAR ? 1 : 4;

/// words[w] lane j = word w of the block at from + j * stride.
template <class T>
HWY_INLINE void LoadBlocks(const T* from, [[maybe_unused]] std::int64_t stride, Vector* words) {
#if HWY_TARGET == HWY_SCALAR
  words[0] = hn::LoadU(Floats(), reinterpret_cast<const float*>(from));
#else
  const hn::FixedTag<float, 4> block;
  REGARD_UNROLL
  for (int i = 0; i < 4; ++i, from += stride) {
    words[i] = hn::ResizeBitCast(Floats(), hn::LoadU(block, reinterpret_cast<const float*>(from)));
  }
#if HWY_MAX_BYTES >= 32
  REGARD_UNROLL
  for (int i = 0; i < 4; ++i, from += stride) {
    words[i] = hn::InsertBlock<1>(words[i], hn::LoadU(block, reinterpret_cast<const float*>(from)));
  }
#endif
#if HWY_MAX_BYTES >= 64
  REGARD_UNROLL
  for (int i = 0; i < 4; ++i, from += stride) {
    words[i] = hn::InsertBlock<2>(words[i], hn::LoadU(block, reinterpret_cast<const float*>(from)));
  }
  REGARD_UNROLL
  for (int i = 0; i < 4; ++i, from += stride) {
    words[i] = hn::InsertBlock<3>(words[i], hn::LoadU(block, reinterpret_cast<const float*>(from)));
  }
#endif
  TransposeBlocks(words);
#endif
}

/// Adds a block of words to the chains.
template <class Arith, class View, int kRows>
HWY_INLINE void DotBlock(const typename View::Type* from, std::int64_t stride, const float* a,
                         std::int64_t a_stride, Vector (&sum)[kRows]) {
  Vector words[kBlockWords];
  LoadBlocks(from, stride, words);
  REGARD_UNROLL
  for (int w = 0; w < kBlockWords; ++w) {
    Vector steps[View::kSteps];
    View::Operands(words[w], steps);
    REGARD_UNROLL
    for (int i = 0; i < View::kSteps; ++i) {
      const float* x = a + w * View::kSteps + i;
      REGARD_UNROLL
      for (int r = 0; r < kRows; ++r)
        sum[r] = Arith::Step(hn::Set(Floats(), x[r * a_stride]), steps[i], sum[r]);
    }
  }
}

/// kRows rows of c for kLanes rows of b, from `from` on: keys become lanes in registers. The chains
/// are those of the product of packed columns.
template <class Arith, class View, int kRows>
HWY_INLINE void DotTile(const Product& p, const Matrix& b, const typename View::Type* from,
                        std::int64_t lead, const float* a, float* c) {
  using T = typename View::Type;
  constexpr std::int64_t kBlock = 4 * kBlockWords / static_cast<std::int64_t>(sizeof(T));
  const Floats d;
  const std::int64_t stride = b.row_stride;
  Vector sum[kRows];
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) sum[r] = hn::Zero(d);
  std::int64_t at = 0;
  for (; at + kBlock <= b.columns; at += kBlock, from += kBlock, a += kBlockWords * View::kSteps) {
    // A quarter of the rows with each quarter of a line: bursts are dropped.
    const T* ahead = from + lead + at / kBlock % 4 * (kLanes / 4) * stride;
    REGARD_UNROLL
    for (int i = 0; i < kLanes / 4; ++i) __builtin_prefetch(ahead + i * stride, 0, 2);
    DotBlock<Arith, View, kRows>(from, stride, a, p.a_stride, sum);
  }
  if (at < b.columns) {  // what fills no block, with zeros
    constexpr int kSteps = kBlockWords * View::kSteps;
    const std::int64_t left = b.columns - at, steps = p.depth - at * kSteps / kBlock;
    T keys[kLanes][kBlock] = {};
    float rows[kRows][kSteps] = {};
    for (int i = 0; i < kLanes; ++i) {
      for (std::int64_t j = 0; j < left; ++j) keys[i][j] = from[i * stride + j];
    }
    for (int r = 0; r < kRows; ++r) {
      for (std::int64_t w = 0; w < steps; ++w) rows[r][w] = a[r * p.a_stride + w];
    }
    DotBlock<Arith, View, kRows>(keys[0], kBlock, rows[0], kSteps, sum);
  }
  const Vector scale = hn::Set(d, p.scale);
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) hn::StoreU(hn::Mul(sum[r], scale), d, c + r * p.c_stride);
}

/// `rows` rows, at most kRows. The last tile of keys may repeat some of the one before.
template <class Arith, class View, int kRows>
void DotUpTo(const Product& p, const Matrix& b, std::int64_t rows, const float* a, float* c) {
  if constexpr (kRows > 0) {
    using T = typename View::Type;
    if (rows < kRows) return DotUpTo<Arith, View, kRows - 1>(p, b, rows, a, c);
    const std::int64_t lead = RowsAhead<T>(b.columns) * b.row_stride;
    for (std::int64_t next = 0; next < b.rows; next += kLanes) {
      const std::int64_t first = HWY_MIN(next, b.rows - kLanes);
      const T* from = static_cast<const T*>(b.data) + first * b.row_stride;
      DotTile<Arith, View, kRows>(p, b, from, lead, a, c + first);
    }
  }
}

template <class Arith, class View>
void RunDot(const Product& p, const Matrix& b) {
  for (std::int64_t r = 0, rows; r < p.rows; r += rows) {
    rows = HWY_MIN(p.rows - r, std::int64_t{kDotRows});
    DotUpTo<Arith, View, kDotRows>(p, b, rows, p.a + r * p.a_stride, p.c + r * p.c_stride);
  }
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
