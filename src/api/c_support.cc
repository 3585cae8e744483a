// src/api/c_support.cc - what the C functions share: errors as codes, versioned structs, views.
#include "api/c_support.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace regard::api {
namespace {

constexpr std::size_t kMessageBytes = 1024;
thread_local std::array<char, kMessageBytes> last_error{};

template <std::size_t Rank>
std::array<std::int64_t, Rank> array_of(const std::int64_t (&numbers)[Rank]) {
  return std::to_array(numbers);
}

/// Of an input or output.
template <class View, class Given>
View view_of(const char* what, const Given* given) {
  const Given& view = required(what, given);
  check_equal(std::string(what) + ".reserved", view.reserved, 0, "for later versions");
  return {view.data, dtype_of_c(what, view.dtype), array_of(view.shape), array_of(view.strides)};
}

template <class Numbers>
auto checked_span(const char* what, const Numbers& numbers) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  check_range(std::string(what) + ".count", numbers.count, 0, kMost);
  if (numbers.count > 0 && numbers.data == nullptr)
    refuse(std::string(what) + ".data", "null", "a pointer to its numbers");
  return std::span(numbers.data, static_cast<std::size_t>(numbers.count));
}

}  // namespace

regard_status fail(regard_status status, const char* message) noexcept {
  const std::size_t length = std::min(std::strlen(message), kMessageBytes - 1);
  std::memcpy(last_error.data(), message, length);
  last_error[length] = '\0';
  return status;
}

std::size_t checked_size(const char* what, const void* versioned) {
  constexpr std::size_t kMost = 4096;  // of any version: what is larger was never set
  std::size_t size = 0;
  std::memcpy(&size, versioned, sizeof(size));
  if (size < sizeof(size) || size > kMost || size % sizeof(size) != 0)
    refuse(std::string(what) + ".size", std::to_string(size), "sizeof the struct");
  return size;
}

void copy_versioned(const char* what, const void* given, void* known, std::size_t known_size) {
  const std::size_t size = checked_size(what, given);
  const auto* bytes = static_cast<const std::byte*>(given);
  std::memcpy(known, bytes, std::min(size, known_size));
  if (size <= known_size) return;
  if (std::any_of(bytes + known_size, bytes + size, [](std::byte b) { return b != std::byte{}; })) {
    refuse(std::string(what) + ".size", std::to_string(size),
           std::to_string(known_size) + ", or zeros beyond: this library is older than the header");
  }
}

DType dtype_of_c(const std::string& what, regard_dtype dtype) {
  switch (dtype) {
    case REGARD_F32:
      return DType::kF32;
    case REGARD_BF16:
      return DType::kBf16;
    case REGARD_F16:
      return DType::kF16;
    default:
      refuse(what + ".dtype", std::to_string(dtype), "REGARD_F32, REGARD_BF16 or REGARD_F16");
  }
}

InputView<4> input_of(const char* what, const regard_input* view) {
  return view_of<InputView<4>>(what, view);
}

OutputView<4> output_of(const char* what, const regard_output* view) {
  return view_of<OutputView<4>>(what, view);
}

std::optional<TensorView<float, 3>> lse_of(const regard_lse* view) {
  if (view == nullptr) return {};
  return TensorView<float, 3>(view->data, array_of(view->shape), array_of(view->strides));
}

std::span<const std::int64_t> span_of(const char* what, const regard_ints& numbers) {
  return checked_span(what, numbers);
}

std::span<const float> span_of(const char* what, const regard_floats& numbers) {
  return checked_span(what, numbers);
}

}  // namespace regard::api

const char* regard_last_error(void) { return regard::api::last_error.data(); }
