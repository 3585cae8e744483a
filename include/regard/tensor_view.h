// include/regard/tensor_view.h - a strided view of somebody else's numbers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

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

}  // namespace regard
