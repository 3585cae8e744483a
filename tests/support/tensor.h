// tests/support/tensor.h - tensors in guarded memory with any memory order, gaps, direction and
// broadcast.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "regard/tensor_view.h"
#include "support/guarded_buffer.h"
#include "support/random.h"

namespace regard::test {

/// Where the elements of a tensor lie.
template <std::size_t Rank>
struct Layout {
  std::array<std::size_t, Rank> order;   ///< axes from the outermost in memory to the innermost
  std::array<std::int64_t, Rank> gap{};  ///< unused elements after each step along the axis
  std::array<bool, Rank> reversed{};     ///< negative stride
  std::array<bool, Rank> broadcast{};    ///< stride 0
  Flush flush = Flush::kEnd;
  std::size_t offset = 0;  ///< floats between numbers and guard page

  Layout() { std::iota(order.begin(), order.end(), std::size_t{0}); }
};

/// Often row-major, often with two axes swapped as libraries do, else anything.
template <std::size_t Rank>
Layout<Rank> random_layout(Rng& rng, bool may_broadcast) {
  Layout<Rank> layout;
  layout.flush = rng.pick({Flush::kEnd, Flush::kStart});
  if (rng.chance(0.4)) return layout;
  layout.offset = static_cast<std::size_t>(rng.integer(0, 15));
  if (rng.chance(0.5)) std::swap(layout.order[Rank - 2], layout.order[Rank - 3]);  // (B, N, H, D)
  if (rng.chance(0.4)) return layout;
  for (std::size_t i = Rank - 1; i > 0; --i) {
    std::swap(layout.order[i],
              layout.order[static_cast<std::size_t>(rng.integer(0, static_cast<std::int64_t>(i)))]);
  }
  for (std::size_t i = 0; i < Rank; ++i) {
    layout.gap[i] = rng.chance(0.3) ? rng.integer(1, 5) : 0;
    layout.reversed[i] = rng.chance(0.2);
    layout.broadcast[i] = may_broadcast && rng.chance(0.1);
  }
  return layout;
}

/// Owns the memory of one view of f32, bf16 or f16. Every element in it, gaps too, starts as a NaN
/// filler: reading it shows, and overwriting it is found by gaps_untouched().
template <std::size_t Rank>
class Tensor {
 public:
  static constexpr std::uint32_t kFiller = 0x7FC0BEEF;
  static constexpr std::uint16_t kFiller16 = 0x7FCD;  // a NaN in both 16-bit types

  Tensor() = default;
  explicit Tensor(const std::array<std::int64_t, Rank>& shape, const Layout<Rank>& layout = {},
                  DType dtype = DType::kF32)
      : dtype_(dtype) {
    view_.shape = shape;
    std::int64_t span = 1, step = 1;
    for (std::size_t n = Rank; n-- > 0;) {
      const std::size_t axis = layout.order[n];
      step += layout.gap[axis];
      const std::int64_t extent = std::max<std::int64_t>(shape[axis], 1);
      const std::int64_t stride = layout.broadcast[axis] ? 0 : step;
      span += (extent - 1) * stride;
      if (layout.reversed[axis]) first_ += (extent - 1) * stride;
      view_.strides[axis] = layout.reversed[axis] ? -stride : stride;
      if (!layout.broadcast[axis]) step *= extent;
    }
    const std::size_t size = view_.size() == 0 ? 0 : static_cast<std::size_t>(span);
    if (size == 0) first_ = 0;
    buffer_ = std::make_shared<GuardedBuffer>(size, layout.flush, layout.offset, size_of(dtype));
    for (std::size_t i = 0; i < size; ++i) {
      if (dtype == DType::kF32) floats()[i] = std::bit_cast<float>(kFiller);
      if (dtype != DType::kF32) halves()[i] = kFiller16;
    }
    if (dtype == DType::kF32) view_.data = floats() + first_;
  }

  DType dtype() const { return dtype_; }
  const std::array<std::int64_t, Rank>& shape() const { return view_.shape; }

  /// Of f32; its data is null for the other types.
  TensorView<float, Rank> view() const { return view_; }
  operator TensorView<float, Rank>() const { return view_; }        // NOLINT
  operator TensorView<const float, Rank>() const { return view_; }  // NOLINT
  operator InputView<Rank>() const {                                // NOLINT
    return {begin(), dtype_, view_.shape, view_.strides};
  }
  operator OutputView<Rank>() const {  // NOLINT
    return {begin(), dtype_, view_.shape, view_.strides};
  }

  /// One element, widened; written rounded to the tensor's type.
  template <class... Index>
  float get(Index... index) const {
    return load(offset_of({static_cast<std::int64_t>(index)...}));
  }
  template <class... Index>
  void set(float x, Index... index) const {
    store(offset_of({static_cast<std::int64_t>(index)...}), x);
  }

  /// Calls f(element) for every index, last axis fastest. f may take a float& and change it.
  template <class F>
  void for_each(F f) const {
    const std::int64_t size = view_.size();
    for (std::int64_t n = 0; n < size; ++n) {
      const std::int64_t at = offset_of(index_of(n));
      float x = load(at);
      const std::uint32_t before = std::bit_cast<std::uint32_t>(x);
      f(x);
      if (std::bit_cast<std::uint32_t>(x) != before) store(at, x);
    }
  }

  /// Elements in row-major order of the indices, wherever they lie.
  std::vector<float> values() const {
    std::vector<float> result;
    result.reserve(static_cast<std::size_t>(view_.size()));
    for_each([&](float x) { result.push_back(x); });
    return result;
  }

  /// True when no element that the view does not reach was written.
  bool gaps_untouched() const {
    std::vector<bool> reached(buffer_->size());
    for (std::int64_t n = 0; n < view_.size(); ++n) {
      reached[static_cast<std::size_t>(first_ + offset_of(index_of(n)))] = true;
    }
    for (std::size_t i = 0; i < reached.size(); ++i) {
      if (!reached[i] && !is_filler(i)) return false;
    }
    return true;
  }

 private:
  float* floats() const { return static_cast<float*>(buffer_->begin()); }
  std::uint16_t* halves() const { return static_cast<std::uint16_t*>(buffer_->begin()); }
  void* begin() const {
    return dtype_ == DType::kF32 ? static_cast<void*>(view_.data) : halves() + first_;
  }
  bool is_filler(std::size_t i) const {
    return dtype_ == DType::kF32 ? std::bit_cast<std::uint32_t>(floats()[i]) == kFiller
                                 : halves()[i] == kFiller16;
  }

  std::array<std::int64_t, Rank> index_of(std::int64_t n) const {
    std::array<std::int64_t, Rank> index{};
    for (std::size_t axis = Rank; axis-- > 0;) {
      index[axis] = n % view_.shape[axis];
      n /= view_.shape[axis];
    }
    return index;
  }
  std::int64_t offset_of(const std::array<std::int64_t, Rank>& index) const {
    std::int64_t offset = 0;
    for (std::size_t axis = 0; axis < Rank; ++axis) offset += index[axis] * view_.strides[axis];
    return offset;
  }
  float load(std::int64_t at) const {
    if (dtype_ == DType::kF32) return view_.data[at];
    const std::uint16_t bits = halves()[first_ + at];
    if (dtype_ == DType::kBf16) return static_cast<float>(std::bit_cast<bf16>(bits));
    return static_cast<float>(std::bit_cast<f16>(bits));
  }
  void store(std::int64_t at, float x) const {
    if (dtype_ == DType::kF32) view_.data[at] = x;
    if (dtype_ == DType::kBf16) halves()[first_ + at] = bf16(x).bits;
    if (dtype_ == DType::kF16) halves()[first_ + at] = f16(x).bits;
  }

  std::shared_ptr<GuardedBuffer> buffer_;
  DType dtype_ = DType::kF32;
  std::int64_t first_ = 0;  // where index 0 lies in the buffer
  TensorView<float, Rank> view_;
};

/// True when both hold the same bits, element by element; NaN equals the same NaN, 0 differs from
/// -0.
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) {
    return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y);
  });
}

}  // namespace regard::test
