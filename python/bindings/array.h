// python/bindings/array.h - arrays of any library as strided views, and results of the caller's
// kind.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "dlpack_exchange.h"
#include "regard/tensor_view.h"

namespace regard::python {

namespace nb = nanobind;

enum class Element : std::uint8_t { kF32, kBf16, kF16, kF64, kBool, kInt32, kInt64, kOther };

/// A view of somebody's array. It holds what keeps the memory there.
struct Array {
  static constexpr std::size_t kMostRank = 8;

  const char* name = "";  ///< for errors: "attention: query"
  nb::object object;
  void* data = nullptr;
  Element element = Element::kOther;
  std::size_t rank = 0;
  std::array<std::int64_t, kMostRank> shape{}, strides{};  ///< strides in elements
  const DlpackExchange* exchange = nullptr;  ///< of the array's library, if it has one
  nb::ndarray<nb::ro> exported;              ///< what keeps the memory, otherwise

  /// "(2, 3, 64)"
  std::string describe_shape() const;
};

/// Any strides, no copy. Throws TypeError for what is no array, lies on another device or tracks
/// gradients, and ValueError for what cannot be written where it is to be.
Array import_array(const char* name, nb::handle object, bool writable = false);

/// f32, bf16 or f16; throws TypeError for others.
DType dtype_of(const Array& array);
Element element_of(DType dtype);

using Axes = std::array<std::int64_t, 4>;

/// The array's axes as the last ones of four; packed (tokens, heads, dim) is (1, heads, tokens,
/// dim).
void set_axes(const Array& array, bool is_packed, Axes& shape, Axes& strides);

/// (B or 1, H or 1, q_len, kv_len) from an array that broadcasts to that, its last axes at the
/// right.
struct ScoreLayout {
  Axes shape, strides;
};
ScoreLayout layout_of_scores(const Array& array, std::int64_t q_len, std::int64_t kv_len);

/// A new array of the library of `like`, row-major, not initialised; finish_array() makes it what
/// the caller is given.
nb::object new_array(const Array& like, Element element, const std::vector<std::int64_t>& shape);
nb::object finish_array(const Array& like, nb::object made);

}  // namespace regard::python
