// src/kernels/dot-inl.h - scores of a few rows against keys where they lie: every key is read once,
// and nothing is packed.
#if defined(REGARD_KERNELS_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REGARD_KERNELS_DOT_INL_H_
#undef REGARD_KERNELS_DOT_INL_H_
#else
#define REGARD_KERNELS_DOT_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>

#include "kernels/kernels.h"
#include "kernels/pack-inl.h"
#include "kernels/product-inl.h"
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// How the words of 16-byte blocks of keys come into lanes: word by word.
struct TransposedWords {
  static HWY_INLINE void Transpose([[maybe_unused]] Vector words[4]) {
#if HWY_TARGET != HWY_SCALAR
    TransposeBlocks(words);
#endif
  }
};

/// What the 32 bits of one word of storage are to the arithmetic: operands of as many steps.
/// Transpose() brings the words of four blocks of keys into lanes.
template <class T>
struct Widened;
template <>
struct Widened<float> : TransposedWords {
  using Type = float;
  static constexpr int kVectors = 1;
  static constexpr int kSteps = 1;
  static HWY_INLINE void Operands(Vector word, Vector* steps) { steps[0] = word; }
};
template <>
struct Widened<regard::bf16> : TransposedWords {
  using Type = regard::bf16;
  static constexpr int kVectors = 1;
  static constexpr int kSteps = 2;
  static HWY_INLINE void Operands(Vector word, Vector* steps) {
    const hn::RebindToUnsigned<Floats> bits;
    const auto both = hn::BitCast(bits, word);
    steps[0] = hn::BitCast(Floats(), hn::ShiftLeft<16>(both));
    steps[1] = hn::BitCast(Floats(), hn::And(both, hn::Set(bits, 0xFFFF0000U)));
  }
};
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
/// A word becomes the halves of one depth, then those of the next: to convert them takes no more
/// than to part them.
template <>
struct Widened<regard::f16> {
  using Type = regard::f16;
  static constexpr int kVectors = 1;
  static constexpr int kSteps = 2;
  static HWY_INLINE void Transpose(Vector v[4]) {
    const Floats d;
    const hn::Repartition<std::uint16_t, Floats> halves;
    const auto at = [&](const std::uint16_t* indices) {
      return hn::SetTableIndices(halves, indices);
    };
    const auto even = at(kEvenWord), odd = at(kOddWord);
    const auto low01 = hn::BitCast(halves, hn::InterleaveLower(d, v[0], v[1]));
    const auto low23 = hn::BitCast(halves, hn::InterleaveLower(d, v[2], v[3]));
    const auto high01 = hn::BitCast(halves, hn::InterleaveUpper(d, v[0], v[1]));
    const auto high23 = hn::BitCast(halves, hn::InterleaveUpper(d, v[2], v[3]));
    v[0] = hn::BitCast(d, hn::TwoTablesLookupLanes(halves, low01, low23, even));
    v[1] = hn::BitCast(d, hn::TwoTablesLookupLanes(halves, low01, low23, odd));
    v[2] = hn::BitCast(d, hn::TwoTablesLookupLanes(halves, high01, high23, even));
    v[3] = hn::BitCast(d, hn::TwoTablesLookupLanes(halves, high01, high23, odd));
  }
  static HWY_INLINE void Operands(Vector word, Vector* steps) {
    const hn::Repartition<std::uint16_t, Floats> halves;
    const hn::Half<hn::Repartition<std::uint16_t, Floats>> half;
    const auto both = hn::BitCast(halves, word);
    steps[0] = PromoteF16(hn::LowerHalf(half, both));
    steps[1] = PromoteF16(hn::UpperHalf(half, both));
  }

 private:
  // Key 4 b + i has its word in block b of vector i / 2, there in words i % 2 and i % 2 + 2.
  static constexpr std::uint16_t kEvenWord[32] = {0,  2,  32, 34, 8,  10, 40, 42, 16, 18, 48,
                                                  50, 24, 26, 56, 58, 1,  3,  33, 35, 9,  11,
                                                  41, 43, 17, 19, 49, 51, 25, 27, 57, 59};
  static constexpr std::uint16_t kOddWord[32] = {4,  6,  36, 38, 12, 14, 44, 46, 20, 22, 52,
                                                 54, 28, 30, 60, 62, 5,  7,  37, 39, 13, 15,
                                                 45, 47, 21, 23, 53, 55, 29, 31, 61, 63};
};
#else
template <>
struct Widened<regard::f16> : TransposedWords {
  using Type = regard::f16;
  static constexpr int kVectors = 1;
  static constexpr int kSteps = 2;
  static HWY_INLINE void Operands(Vector word, Vector* steps) {
    const hn::RebindToUnsigned<Floats> bits;
    const hn::Rebind<std::uint16_t, Floats> half;
    const auto both = hn::BitCast(bits, word);
    steps[0] = PromoteF16(hn::TruncateTo(half, both));
    steps[1] = PromoteF16(hn::TruncateTo(half, hn::ShiftRight<16>(both)));
  }
};
#endif
template <>
struct Widened<std::int8_t> : TransposedWords {
  using Type = std::int8_t;
  static constexpr int kVectors = 1;
  static constexpr int kSteps = 4;
  static HWY_INLINE void Operands(Vector word, Vector* steps) {
    const auto all = hn::BitCast(hn::RebindToUnsigned<Floats>(), word);
    const auto upper = hn::ShiftRight<16>(all);
    steps[0] = Number<0>(all);
    steps[1] = Number<8>(all);
    steps[2] = Number<0>(upper);
    steps[3] = Number<8>(upper);
  }

 private:
  /// The byte `kAt` bits up: plus 128 it becomes the low bits of a power of two, from which that
  /// and 128 are taken away. Exact, and less work than two shifts and a conversion.
  template <int kAt>
  static HWY_INLINE Vector Number(hn::Vec<hn::RebindToUnsigned<Floats>> words) {
    const hn::RebindToUnsigned<Floats> bits;
    constexpr std::uint32_t kPower = (127U + 23 - kAt) << 23;
    const auto number =
        hn::Xor(hn::And(words, hn::Set(bits, 0xFFU << kAt)), hn::Set(bits, kPower | 0x80U << kAt));
    return hn::Sub(hn::BitCast(Floats(), number),
                   hn::Set(Floats(), static_cast<float>((1U << (23 - kAt)) + 128)));
  }
};
#if HWY_NATIVE_DOT_BF16
/// A pair of bf16 is an operand as it is. Its multiply-add takes 6 cycles, so rows take two
/// vectors of keys at a time, for more chains.
struct PairsAsTheyAre : TransposedWords {
  using Type = regard::bf16;
  static constexpr int kVectors = 2;
  static constexpr int kSteps = 1;
  static HWY_INLINE void Operands(Vector word, Vector* steps) { steps[0] = word; }
};
#endif

/// Sums of a tile, and few registers besides: rows by vectors of keys.
#if HWY_IS_ASAN || HWY_IS_TSAN || HWY_IS_UBSAN
inline constexpr int kDotSums = 2;  // instrumented, more take many minutes to compile
#else
inline constexpr int kDotSums = kLanes == 16 ? 16 : 8;
#endif

/// Vectors of keys that `rows` rows take at a time. A chain waits for its own multiply-add, four
/// cycles or more: a single row needs two vectors where one word is many of them (int8).
template <class View>
constexpr int DotVectors(int rows) {
  return kLanes == 16 && rows == 1 && View::kSteps > 2 ? 2 : View::kVectors;
}

/// Words of one 16-byte block: as many as TransposeBlocks takes.
inline constexpr int kBlockWords = HWY_TARGET == HWY_SCALAR ? 1 : 4;

#if HWY_TARGET != HWY_SCALAR
/// Four words, as bytes: 16-bit storage need not be aligned to words.
template <class T>
HWY_INLINE hn::Vec<hn::FixedTag<float, 4>> LoadBlock(const T* from) {
  const hn::FixedTag<std::uint8_t, 16> bytes;
  return hn::BitCast(hn::FixedTag<float, 4>(),
                     hn::LoadU(bytes, reinterpret_cast<const std::uint8_t*>(from)));
}
#endif

/// words[w] lane j = word w of the block at from + j * stride, in the view's order.
template <class View>
HWY_INLINE void LoadBlocks(const typename View::Type* from, [[maybe_unused]] std::int64_t stride,
                           Vector* words) {
#if HWY_TARGET == HWY_SCALAR
  float word;
  std::memcpy(&word, from, sizeof(word));
  words[0] = hn::Set(Floats(), word);
#else
  REGARD_UNROLL
  for (int i = 0; i < 4; ++i, from += stride) {
    words[i] = hn::ResizeBitCast(Floats(), LoadBlock(from));
  }
#if HWY_MAX_BYTES >= 32
  REGARD_UNROLL
  for (int i = 0; i < 4; ++i, from += stride) {
    words[i] = hn::InsertBlock<1>(words[i], LoadBlock(from));
  }
#endif
#if HWY_MAX_BYTES >= 64
  REGARD_UNROLL
  for (int i = 0; i < 4; ++i, from += stride) {
    words[i] = hn::InsertBlock<2>(words[i], LoadBlock(from));
  }
  REGARD_UNROLL
  for (int i = 0; i < 4; ++i, from += stride) {
    words[i] = hn::InsertBlock<3>(words[i], LoadBlock(from));
  }
#endif
  View::Transpose(words);
#endif
}

/// Adds a block of words to the chains; the keys of vector v begin at from[v].
template <class Arith, class View, int kRows, int kVectors>
HWY_INLINE void DotBlock(const typename View::Type* const (&from)[kVectors], std::int64_t at,
                         std::int64_t stride, const float* a, std::int64_t a_stride,
                         Vector (&sum)[kRows][kVectors]) {
  Vector words[kVectors][kBlockWords];
  REGARD_UNROLL
  for (int v = 0; v < kVectors; ++v) LoadBlocks<View>(from[v] + at, stride, words[v]);
  REGARD_UNROLL
  for (int w = 0; w < kBlockWords; ++w) {
    Vector steps[kVectors][View::kSteps];
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v) View::Operands(words[v][w], steps[v]);
    REGARD_UNROLL
    for (int i = 0; i < View::kSteps; ++i) {
      REGARD_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const Vector x = hn::Set(Floats(), a[r * a_stride + w * View::kSteps + i]);
        REGARD_UNROLL
        for (int v = 0; v < kVectors; ++v) sum[r][v] = Arith::Step(x, steps[v][i], sum[r][v]);
      }
    }
  }
}

/// Where kVectors * kLanes rows of b lie, and those that are asked for ahead of them.
template <class T, int kVectors>
struct KeyGroup {
  const T* from[kVectors];
  const T* ahead[kVectors];
};

/// kRows rows of c for the group's rows of b: keys become lanes in registers. The chains are those
/// of the product of packed columns.
template <class Arith, class View, int kRows, int kVectors>
HWY_INLINE void DotTile(const Product& p, const Matrix& b,
                        const KeyGroup<typename View::Type, kVectors>& keys, const float* a,
                        float* c) {
  using T = typename View::Type;
  constexpr std::int64_t kBlock = 4 * kBlockWords / static_cast<std::int64_t>(sizeof(T));
  constexpr int kKeys = kVectors * kLanes, kQuarter = kKeys / 4;
  const Floats d;
  const std::int64_t stride = b.row_stride;
  Vector sum[kRows][kVectors];
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  }
  std::int64_t at = 0;
  for (; at + kBlock <= b.columns; at += kBlock, a += kBlockWords * View::kSteps) {
    // A quarter of the rows with each quarter of a line: bursts are dropped.
    const std::int64_t quarter = at / kBlock % 4;
    const T* ahead =
        keys.ahead[quarter * kVectors / 4] + at + quarter % (4 / kVectors) * kQuarter * stride;
    REGARD_UNROLL
    for (int i = 0; i < kQuarter; ++i) __builtin_prefetch(ahead + i * stride, 0, 2);
    DotBlock<Arith, View>(keys.from, at, stride, a, p.a_stride, sum);
  }
  if (at < b.columns) {  // what fills no block, with zeros
    constexpr int kSteps = kBlockWords * View::kSteps;
    const std::int64_t left = b.columns - at, steps = p.depth - at * kSteps / kBlock;
    T copy[kVectors][kLanes][kBlock] = {};
    const T* from[kVectors];
    float rows[kRows][kSteps] = {};
    for (int v = 0; v < kVectors; ++v) {
      from[v] = copy[v][0];
      for (int i = 0; i < kLanes; ++i) {
        for (std::int64_t j = 0; j < left; ++j) copy[v][i][j] = keys.from[v][i * stride + at + j];
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (std::int64_t w = 0; w < steps; ++w) rows[r][w] = a[r * p.a_stride + w];
    }
    DotBlock<Arith, View>(from, 0, kBlock, rows[0], kSteps, sum);
  }
  const Vector scale = hn::Set(d, p.scale);
  REGARD_UNROLL
  for (int r = 0; r < kRows; ++r) {
    REGARD_UNROLL
    for (int v = 0; v < kVectors; ++v)
      hn::StoreU(hn::Mul(sum[r][v], scale), d, c + r * p.c_stride + v * kLanes);
  }
}

/// `rows` rows, at most kRows. The last tile of keys may repeat some of the one before; in pages it
/// reads on to the next multiple of 16.
template <class Arith, class View, int kRows>
void DotUpTo(const Product& p, const Matrix& b, std::int64_t rows, const float* a, float* c) {
  if constexpr (kRows > 0) {
    using T = typename View::Type;
    constexpr int kVectors = DotVectors<View>(kRows), kKeys = kVectors * kLanes;
    static_assert(kKeys <= kPanel);
    if (rows < kRows) return DotUpTo<Arith, View, kRows - 1>(p, b, rows, a, c);
    const std::int64_t lead = RowsAhead<T>(b.columns);
    KeyGroup<T, kVectors> keys;
    if (b.pages.table == nullptr) {
      for (std::int64_t next = 0; next < b.rows; next += kKeys) {
        const std::int64_t first = HWY_MIN(next, b.rows - kKeys);
        for (int v = 0; v < kVectors; ++v) {
          keys.from[v] = b.row<T>(first + v * kLanes);
          keys.ahead[v] = keys.from[v] + lead * b.row_stride;
        }
        DotTile<Arith, View, kRows, kVectors>(p, b, keys, a, c + first);
      }
      return;
    }
    PageCursor here(b.pages, 0);
    LookAhead soon(b.pages, lead);
    for (std::int64_t first = 0; first < b.rows; first += kKeys) {
      for (int v = 0; v < kVectors; ++v) {
        const bool is_there = first + v * kLanes < b.rows;
        keys.from[v] = is_there ? here.at<T>(b.row_stride) : keys.from[0];
        const T* ahead = soon.at<T>(b.row_stride);
        keys.ahead[v] = ahead != nullptr ? ahead : keys.from[v];
        here.advance(kLanes);
        soon.advance(kLanes);
      }
      DotTile<Arith, View, kRows, kVectors>(p, b, keys, a, c + first);
    }
  }
}

template <class Arith, class View>
void RunDot(const Product& p, const Matrix& b) {
  constexpr int kRows = kDotSums / View::kVectors;
  for (std::int64_t r = 0; r < p.rows; r += kRows) {
    DotUpTo<Arith, View, kRows>(p, b, HWY_MIN(p.rows - r, std::int64_t{kRows}),
                                p.a + r * p.a_stride, p.c + r * p.c_stride);
  }
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
