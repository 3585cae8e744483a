// src/kernels/pack-inl.h - strided storage into the words, rows and panels that the product reads.
#if defined(REGARD_KERNELS_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef REGARD_KERNELS_PACK_INL_H_
#undef REGARD_KERNELS_PACK_INL_H_
#else
#define REGARD_KERNELS_PACK_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>

#include "kernels/kernels.h"
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regard::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// One word per element, a float: the float32 arithmetic's view of a row of T.
template <class T>
struct Elements {
  using Type = T;
  static constexpr std::int64_t kPerWord = 1;

  /// kLanes words, or the first `count` of them, from adjacent elements.
  static HWY_INLINE Vector Adjacent(const T* from) { return Load(from); }
  static HWY_INLINE Vector Adjacent(const T* from, std::size_t count) { return Load(from, count); }
  /// One word. `left`: elements from here to the row's end.
  static HWY_INLINE float Word(const T* from, std::int64_t /*stride*/, std::int64_t /*left*/) {
    return static_cast<float>(*from);
  }
};

#if HWY_NATIVE_DOT_BF16
/// Two adjacent bf16 per word, the missing one of an odd row 0: the bf16 arithmetic's view.
struct Pairs {
  using Type = regard::bf16;
  static constexpr std::int64_t kPerWord = 2;

  static HWY_INLINE Vector Adjacent(const regard::bf16* from) {
    const hn::Repartition<std::uint16_t, Floats> d;
    return hn::BitCast(Floats(), hn::LoadU(d, reinterpret_cast<const std::uint16_t*>(from)));
  }
  static HWY_INLINE Vector Adjacent(const regard::bf16* from, std::size_t elements) {
    const hn::Repartition<std::uint16_t, Floats> d;
    return hn::BitCast(Floats(),
                       hn::LoadN(d, reinterpret_cast<const std::uint16_t*>(from), elements));
  }
  static HWY_INLINE float Word(const regard::bf16* from, std::int64_t stride, std::int64_t left) {
    const std::uint32_t low = from->bits, high = left > 1 ? from[stride].bits : 0U;
    const std::uint32_t word = low | high << 16;
    float result;
    std::memcpy(&result, &word, sizeof result);
    return result;
  }
};

#endif

/// Rows as words, `stride` words apart.
template <class View>
void LoadRows(const Matrix& source, float* words, std::int64_t stride) {
  using T = typename View::Type;
  constexpr std::int64_t kPerVector = kLanes * View::kPerWord;
  const Floats d;
  const std::int64_t columns = source.columns;
  for (std::int64_t r = 0; r < source.rows; ++r, words += stride) {
    const T* from = source.row<T>(r);
    std::int64_t c = 0;
    if (source.column_stride == 1) {
      for (; c + kPerVector <= columns; c += kPerVector) {
        hn::StoreU(View::Adjacent(from + c), d, words + c / View::kPerWord);
      }
    }
    for (; c < columns; c += View::kPerWord) {
      words[c / View::kPerWord] =
          View::Word(from + c * source.column_stride, source.column_stride, columns - c);
    }
  }
}

#if HWY_TARGET != HWY_SCALAR
/// In every block of four lanes: v[i] lane j becomes v[j] lane i.
HWY_INLINE void TransposeBlocks(Vector v[4]) {
  const Floats d;
  const hn::Repartition<double, Floats> pairs;
  const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, v[0], v[1]));
  const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, v[2], v[3]));
  const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, v[0], v[1]));
  const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, v[2], v[3]));
  v[0] = hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23));
  v[2] = hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23));
}

/// v[i] lane j becomes v[j] lane i: blocks of four by themselves, then the blocks among each other.
HWY_INLINE void Transpose(Vector v[kLanes]) {
  REGARD_UNROLL
  for (int i = 0; i < kLanes; i += 4) TransposeBlocks(v + i);
#if HWY_MAX_BYTES >= 32
  const Floats d;
  REGARD_UNROLL
  for (int c = 0; c < 4; ++c) {
#if HWY_MAX_BYTES == 32
    const Vector a = v[c], b = v[4 + c];
    v[c] = hn::ConcatLowerLower(d, b, a);
    v[4 + c] = hn::ConcatUpperUpper(d, b, a);
#else
    const Vector low02 = hn::ConcatLowerLower(d, v[8 + c], v[c]);        // blocks 00 01 20 21
    const Vector low13 = hn::ConcatLowerLower(d, v[12 + c], v[4 + c]);   // 10 11 30 31
    const Vector high02 = hn::ConcatUpperUpper(d, v[8 + c], v[c]);       // 02 03 22 23
    const Vector high13 = hn::ConcatUpperUpper(d, v[12 + c], v[4 + c]);  // 12 13 32 33
    v[c] = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(low13), low02);      // 00 10 20 30
    v[4 + c] = hn::OddEvenBlocks(low13, hn::SwapAdjacentBlocks(low02));
    v[8 + c] = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(high13), high02);
    v[12 + c] = hn::OddEvenBlocks(high13, hn::SwapAdjacentBlocks(high02));
#endif
  }
#endif
}

#else
HWY_INLINE void Transpose(Vector[kLanes]) {}
#endif

#if HWY_TARGET != HWY_SCALAR
/// kLanes rows (the first `rows` of them, the others 0) x all columns, transposed:
/// packed[word][lane].
template <class View>
HWY_INLINE void PackLanes(const Matrix& source, std::int64_t first, std::int64_t rows,
                          float* packed) {
  using T = typename View::Type;
  constexpr std::int64_t kPerVector = kLanes * View::kPerWord;
  const Floats d;
  // Lanes never cross a page: they divide 16.
  const T* from = rows > 0 ? source.row<T>(first) : nullptr;

  for (std::int64_t c = 0; c < source.columns; c += kPerVector) {
    const std::int64_t left = source.columns - c;
    Vector v[kLanes];
    if (rows == kLanes && left >= kPerVector) {
      REGARD_UNROLL
      for (int i = 0; i < kLanes; ++i) {
        v[i] = View::Adjacent(from + i * source.row_stride + c);
      }
    } else {
      for (int i = 0; i < kLanes; ++i) {
        v[i] = i < rows ? View::Adjacent(from + i * source.row_stride + c,
                                         static_cast<std::size_t>(HWY_MIN(left, kPerVector)))
                        : hn::Zero(d);
      }
    }
    Transpose(v);
    const std::int64_t words =
        HWY_MIN((left + View::kPerWord - 1) / View::kPerWord, std::int64_t{kLanes});
    for (std::int64_t w = 0; w < words; ++w) {
      hn::StoreU(v[w], d, packed + (c / View::kPerWord + w) * kPanel);
    }
  }
}
#endif

/// Rows of the source become columns: packed[p][w][j] = word w of source row p * kPanel + j; absent
/// rows are 0.
template <class View>
void PackColumns(const Matrix& source, float* packed) {
  using T = typename View::Type;
  const std::int64_t words = (source.columns + View::kPerWord - 1) / View::kPerWord;
  for (std::int64_t first = 0; first < source.rows; first += kPanel, packed += words * kPanel) {
#if HWY_TARGET != HWY_SCALAR
    if (source.column_stride == 1) {
      for (std::int64_t lane = 0; lane < kPanel; lane += kLanes) {
        const std::int64_t rows = HWY_MIN(source.rows - first - lane, std::int64_t{kLanes});
        PackLanes<View>(source, first + lane, HWY_MAX(rows, std::int64_t{0}), packed + lane);
      }
      continue;
    }
#endif
    for (std::int64_t w = 0; w < words; ++w) {
      for (std::int64_t j = 0; j < kPanel; ++j) {
        const std::int64_t c = w * View::kPerWord;
        packed[w * kPanel + j] =
            first + j < source.rows
                ? View::Word(source.row<T>(first + j) + c * source.column_stride,
                             source.column_stride, source.columns - c)
                : 0.0f;
      }
    }
  }
}

/// Columns are cut into panels: packed[p][r][j] = source[r][p * kPanel + j], absent columns 0,
/// panels packed_depth rows apart.
template <class T>
void PackRows(const Matrix& source, std::int64_t packed_depth, float* packed) {
  const Floats d;
  const std::int64_t columns = source.columns, panel_stride = packed_depth * kPanel;
  const std::int64_t full = source.column_stride == 1 ? columns / kLanes * kLanes : 0;
  const std::int64_t padded = (columns + kPanel - 1) / kPanel * kPanel;

  for (std::int64_t r = 0; r < source.rows; ++r, packed += kPanel) {
    const T* from = source.row<T>(r);
    std::int64_t c = 0;
    for (; c < full; c += kLanes) {
      hn::StoreU(Load(from + c), d, packed + c / kPanel * panel_stride + c % kPanel);
    }
    for (; c < padded; ++c) {
      packed[c / kPanel * panel_stride + c % kPanel] =
          c < columns ? static_cast<float>(from[c * source.column_stride]) : 0.0f;
    }
  }
}

#if HWY_NATIVE_DOT_BF16
/// Two rows at a time: packed[p][r][j] = (source[2 r][p * kPanel + j], source[2 r + 1][...]), what
/// is absent 0, panels packed_depth words apart.
inline void PackRowPairs(const Matrix& source, std::int64_t packed_depth, float* packed) {
  const hn::Repartition<std::uint16_t, Floats> d;
  const Floats words;
  const std::int64_t columns = source.columns, panel_stride = packed_depth * kPanel;
  const std::int64_t padded = (columns + kPanel - 1) / kPanel * kPanel;

  static_assert(kPanel == 2 * kLanes);
  for (std::int64_t r = 0; r < source.rows; r += 2, packed += kPanel) {
    const auto* even = source.row<std::uint16_t>(r);
    const std::uint16_t* odd = r + 1 < source.rows ? even + source.row_stride : nullptr;
    std::int64_t c = 0;
    if (source.column_stride == 1 && odd != nullptr) {
      for (; c + kPanel <= columns; c += kPanel) {
        const auto a = hn::LoadU(d, even + c), b = hn::LoadU(d, odd + c);
        float* to = packed + c / kPanel * panel_stride;
        hn::StoreU(hn::BitCast(words, hn::InterleaveWholeLower(d, a, b)), words, to);
        hn::StoreU(hn::BitCast(words, hn::InterleaveWholeUpper(d, a, b)), words, to + kLanes);
      }
    }
    for (; c < padded; ++c) {
      const std::uint32_t low = c < columns ? even[c * source.column_stride] : 0U;
      const std::uint32_t high = c < columns && odd != nullptr ? odd[c * source.column_stride] : 0U;
      const std::uint32_t word = low | high << 16;
      std::memcpy(packed + c / kPanel * panel_stride + c % kPanel, &word, sizeof word);
    }
  }
}
#endif

/// True when every element is finite.
template <class T>
bool IsFinite(const Matrix& source) {
  const Floats d;
  Vector poison = hn::Zero(d);  // x * 0 is 0 for finite x and NaN for the rest
  float rest_poison = 0.0f;
  for (std::int64_t r = 0; r < source.rows; ++r) {
    const T* from = source.row<T>(r);
    std::int64_t c = 0;
    if (source.column_stride == 1) {
      for (; c + kLanes <= source.columns; c += kLanes) {
        poison = hn::MulAdd(Load(from + c), hn::Zero(d), poison);
      }
    }
    for (; c < source.columns; ++c) {
      rest_poison += static_cast<float>(from[c * source.column_stride]) * 0.0f;
    }
  }
  return rest_poison == 0.0f && hn::AllTrue(d, hn::Eq(poison, hn::Zero(d)));
}

}  // namespace regard::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
