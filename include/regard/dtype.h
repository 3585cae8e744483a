// include/regard/dtype.h - the types that numbers are stored in. Arithmetic is float32 whatever the
// storage.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace regard {

/// kI8 is for caches alone (kv_cache.h): a number is its 8 bits times a scale that its row has.
enum class DType : std::uint8_t { kF32, kBf16, kF16, kI8 };

/// Bytes of one element.
constexpr std::size_t size_of(DType dtype) {
  return dtype == DType::kF32 ? 4 : dtype == DType::kI8 ? 1 : 2;
}

/// "f32", "bf16", "f16", "int8".
constexpr const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kBf16:
      return "bf16";
    case DType::kF16:
      return "f16";
    case DType::kI8:
      return "int8";
  }
  return "?";
}

/// The upper half of a float32: 8 bits of exponent, 8 of significand (one implied).
struct bf16 {  // NOLINT(readability-identifier-naming): a type of number, as float is
  std::uint16_t bits = 0;

  bf16() = default;
  /// Nearest, ties to even; a NaN stays a (quiet) NaN.
  explicit constexpr bf16(float x) {
    const auto u = std::bit_cast<std::uint32_t>(x);
    const bool is_nan = (u & 0x7FFFFFFFU) > 0x7F800000U;
    bits =
        static_cast<std::uint16_t>(is_nan ? u >> 16 | 0x40U : (u + 0x7FFFU + (u >> 16 & 1U)) >> 16);
  }
  explicit constexpr operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

/// IEEE binary16: 5 bits of exponent, 11 of significand (one implied), subnormals kept.
struct f16 {  // NOLINT(readability-identifier-naming)
  std::uint16_t bits = 0;

  f16() = default;
  /// Nearest, ties to even; beyond 65504 (and half a step) infinity; a NaN stays a (quiet) NaN.
  explicit constexpr f16(float x) {
    const auto u = std::bit_cast<std::uint32_t>(x);
    const std::uint32_t sign = u >> 16 & 0x8000U, size = u & 0x7FFFFFFFU;
    std::uint32_t half = 0;
    if (size > 0x7F800000U) {
      half = 0x7E00U | (size >> 13 & 0x3FFU);
    } else if (size >= 0x477FF000U) {
      half = 0x7C00U;
    } else if (size >= 0x38800000U) {  // normal in binary16
      half = (size - 0x38000000U + 0xFFFU + (size >> 13 & 1U)) >> 13;
    } else if (size >= 0x33000000U) {  // subnormal in binary16: the step is 2^-24
      const std::uint32_t shift = 126U - (size >> 23), significand = (size & 0x7FFFFFU) | 0x800000U;
      const std::uint32_t rest = significand & ((1U << shift) - 1U), tie = 1U << (shift - 1U);
      half = significand >> shift;
      half += rest > tie || (rest == tie && (half & 1U)) ? 1U : 0U;
    }
    bits = static_cast<std::uint16_t>(sign | half);
  }
  explicit constexpr operator float() const {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
    const std::uint32_t exponent = bits >> 10 & 0x1FU, significand = bits & 0x3FFU;
    if (exponent == 0x1FU)
      return std::bit_cast<float>(sign | 0x7F800000U | significand << 13 |
                                  (significand ? 0x400000U : 0U));
    if (exponent != 0)
      return std::bit_cast<float>(sign | (exponent + 112U) << 23 | significand << 13);
    const float size = static_cast<float>(significand) * 0x1p-24F;
    return sign ? -size : size;
  }
};

/// The DType of a storage type, const or not: dtype_of<float>, dtype_of<bf16>, dtype_of<f16>.
template <class T>
inline constexpr DType dtype_of = dtype_of<std::remove_const_t<T>>;
template <>
inline constexpr DType dtype_of<float> = DType::kF32;
template <>
inline constexpr DType dtype_of<bf16> = DType::kBf16;
template <>
inline constexpr DType dtype_of<f16> = DType::kF16;

}  // namespace regard
