// src/api/check.h - argument errors in one wording: what came, what was wanted.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>

#include "regard/tensor_view.h"

namespace regard::api {

/// "attention: key.shape[3] is 64, expected 128 (query head_dim)"
[[noreturn]] inline void refuse(const std::string& what, const std::string& came,
                                const std::string& wanted) {
  throw std::invalid_argument(what + " is " + came + ", expected " + wanted);
}

// Names are made only when there is something to say: a call on small tensors takes less time than
// a string.
template <class What>
void check_range(const What& what, std::int64_t came, std::int64_t least, std::int64_t most) {
  if (came >= least && came <= most) return;
  const std::string to =
      most == std::numeric_limits<std::int64_t>::max() ? " or more" : ".." + std::to_string(most);
  refuse(what, std::to_string(came), std::to_string(least) + to);
}

template <class What>
void check_equal(const What& what, std::int64_t came, std::int64_t wanted, const char* why) {
  if (came != wanted) refuse(what, std::to_string(came), std::to_string(wanted) + " (" + why + ")");
}

/// The number of elements of a tensor; so bounded, no product of its extents overflows.
inline void check_elements(const char* what, std::initializer_list<std::int64_t> extents) {
  constexpr std::int64_t kMost = std::int64_t{1} << 56;
  std::int64_t size = 1;
  for (const std::int64_t extent : extents) {
    const bool overflows = __builtin_mul_overflow(size, std::max<std::int64_t>(extent, 1), &size);
    if (overflows || size > kMost) refuse(what, "too large", "at most 2^56 elements");
  }
}

/// A tensor has no scales for its rows.
template <class What>
void refuse_int8(const What& what, DType dtype, const char* but = "") {
  if (dtype == DType::kI8) refuse(what, "int8", std::string("f32, bf16 or f16") + but);
}

inline void check_aligned(const char* what, const void* data, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(data) % bytes != 0)
    refuse(what, "not aligned", "an address that is a multiple of " + std::to_string(bytes));
}

inline void check_page_size(const char* what, std::int64_t page_size) {
  if (page_size >= 16 && page_size % 16 == 0 && page_size <= std::int64_t{1} << 40) return;
  refuse(what, std::to_string(page_size), "a multiple of 16");
}

/// Every element's address can be computed: strides times extents do not overflow, nor leave the
/// address space.
template <class View>
void check_strides(const char* what, const View& view, std::int64_t element_bytes) {
  std::int64_t span = 0;
  for (std::size_t i = 0; i < view.shape.size(); ++i) {
    std::int64_t bytes = 0;
    if (view.shape[i] <= 1) continue;
    const bool overflows =
        view.strides[i] == std::numeric_limits<std::int64_t>::min() ||
        __builtin_mul_overflow(view.shape[i] - 1,
                               view.strides[i] < 0 ? -view.strides[i] : view.strides[i], &bytes) ||
        __builtin_mul_overflow(bytes, element_bytes, &bytes) ||
        __builtin_add_overflow(span, bytes, &span) || span > std::int64_t{1} << 56;
    if (overflows) {
      refuse(std::string(what) + ".strides[" + std::to_string(i) + "]",
             std::to_string(view.strides[i]), "a view that fits into memory");
    }
  }
}

/// A view's shape, element type, and data where there is something to point to. names: what each
/// extent is.
template <class View, std::size_t Rank = std::tuple_size_v<decltype(View::shape)>>
void check_view(const char* what, const View& view,
                const std::type_identity_t<std::array<std::int64_t, Rank>>& shape,
                const std::type_identity_t<std::array<const char*, Rank>>& names,
                DType dtype = DType::kF32) {
  for (std::size_t i = 0; i < Rank; ++i) {
    if (view.shape[i] == shape[i]) continue;
    check_equal(std::string(what) + ".shape[" + std::to_string(i) + "]", view.shape[i], shape[i],
                names[i]);
  }
  if constexpr (requires { view.dtype; }) {
    if (view.dtype != dtype)
      refuse(std::string(what) + ".dtype", name_of(view.dtype),
             std::string(name_of(dtype)) + " (the plan's)");
  }
  const std::size_t element = size_of(dtype);
  check_strides(what, view, static_cast<std::int64_t>(element));
  if (view.size() == 0) return;
  if (view.data == nullptr)
    refuse(std::string(what) + ".data", "null", "a pointer to its elements");
  if (reinterpret_cast<std::uintptr_t>(view.data) % element != 0)
    check_aligned((std::string(what) + ".data").c_str(), view.data, element);
}

}  // namespace regard::api
