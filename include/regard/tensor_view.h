// include/regard/tensor_view.h - a strided view of somebody else's numbers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "regard/dtype.h"

namespace regard {

/// Element (i0, i1, ...) lies at data[i0 * strides[0] + i1 * strides[1] + ...]; strides count
/// elements, not bytes. Strides may be 0 (broadcast) or negative. The view owns nothing; `data` may
/// be null when an extent is 0.
template <class T, std::size_t Rank>
struct TensorView {
  T* data = nullptr;
  std::array<std::int64_t, Rank> shape{};
  std::array<std::int64_t, Rank> strides{};

  constexpr TensorView() = default;
  constexpr TensorView(T* data_, std::array<std::int64_t, Rank> shape_,
                       std::array<std::int64_t, Rank> strides_)
      : data(data_), shape(shape_), strides(strides_) {}

  /// Row-major: the last dimension is contiguous.
  constexpr TensorView(T* data_, std::array<std::int64_t, Rank> shape_)
      : data(data_), shape(shape_) {
    std::int64_t step = 1;
    for (std::size_t i = Rank; i-- > 0;) {
      strides[i] = step;
      step *= shape[i];
    }
  }

  /// A view of mutable numbers reads as a view of constant ones.
  template <class U>
    requires(std::is_same_v<const U, T> && !std::is_same_v<U, T>)
  constexpr TensorView(const TensorView<U, Rank>& other)  // NOLINT(google-explicit-constructor)
      : data(other.data), shape(other.shape), strides(other.strides) {}

  template <class... Index>
    requires(sizeof...(Index) == Rank)
  constexpr T& operator()(Index... index) const {
    std::size_t i = 0;
    std::int64_t offset = 0;
    ((offset += static_cast<std::int64_t>(index) * strides[i++]), ...);
    return data[offset];
  }

  constexpr std::int64_t size() const {
    std::int64_t n = 1;
    for (const std::int64_t extent : shape) n *= extent;
    return n;
  }
};

/// A view whose element type is known at run time: what attention reads. Any TensorView of float,
/// bf16 or f16, const or not, is one.
template <std::size_t Rank>
struct InputView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  std::array<std::int64_t, Rank> shape{};
  std::array<std::int64_t, Rank> strides{};  ///< in elements

  constexpr InputView() = default;
  constexpr InputView(const void* data_, DType dtype_, std::array<std::int64_t, Rank> shape_,
                      std::array<std::int64_t, Rank> strides_)
      : data(data_), dtype(dtype_), shape(shape_), strides(strides_) {}
  template <class T>
  constexpr InputView(const TensorView<T, Rank>& view)  // NOLINT(google-explicit-constructor)
      : InputView(view.data, dtype_of<T>, view.shape, view.strides) {}
  /// Row-major.
  template <class T>
  constexpr InputView(const T* data_, std::array<std::int64_t, Rank> shape_)
      : InputView(TensorView<const T, Rank>(data_, shape_)) {}

  constexpr std::int64_t size() const {
    return TensorView<const float, Rank>{nullptr, shape, strides}.size();
  }
};

/// The same for what attention writes.
template <std::size_t Rank>
struct OutputView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  std::array<std::int64_t, Rank> shape{};
  std::array<std::int64_t, Rank> strides{};  ///< in elements

  constexpr OutputView() = default;
  constexpr OutputView(void* data_, DType dtype_, std::array<std::int64_t, Rank> shape_,
                       std::array<std::int64_t, Rank> strides_)
      : data(data_), dtype(dtype_), shape(shape_), strides(strides_) {}
  template <class T>
    requires(!std::is_const_v<T>)
  constexpr OutputView(const TensorView<T, Rank>& view)  // NOLINT(google-explicit-constructor)
      : OutputView(view.data, dtype_of<T>, view.shape, view.strides) {}
  /// Row-major.
  template <class T>
    requires(!std::is_const_v<T>)
  constexpr OutputView(T* data_, std::array<std::int64_t, Rank> shape_)
      : OutputView(TensorView<T, Rank>(data_, shape_)) {}

  constexpr std::int64_t size() const {
    return TensorView<const float, Rank>{nullptr, shape, strides}.size();
  }
};

}  // namespace regard
