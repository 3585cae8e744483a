// src/model/safetensors_header.cc - what a safetensors header says, checked before anybody believes
// it.
#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>
#include <utility>

#include "model/json.h"
#include "regard/model/safetensors.h"

namespace regard::model {
namespace {

constexpr std::array<std::pair<std::string_view, std::uint64_t>, 16> kDtypeBytes{{
    {"BOOL", 1},
    {"U8", 1},
    {"I8", 1},
    {"F8_E4M3", 1},
    {"F8_E5M2", 1},
    {"F8_E8M0", 1},
    {"U16", 2},
    {"I16", 2},
    {"F16", 2},
    {"BF16", 2},
    {"U32", 4},
    {"I32", 4},
    {"F32", 4},
    {"U64", 8},
    {"I64", 8},
    {"F64", 8},
}};

/// Reads one entry of the header; every error names the file and the tensor.
class EntryReader {
 public:
  EntryReader(std::string_view file, const std::string& tensor, const Json& entry)
      : where_(std::string(file) + ": tensor " + in_quotes(tensor) + ": "), entry_(entry) {
    if (!entry.is_object()) fail(std::string("is ") + entry.type_name() + ", expected an object");
  }

  TensorInfo read(std::uint64_t data_begin, std::uint64_t data_bytes) const {
    TensorInfo tensor;
    const std::uint64_t element_bytes = read_dtype(tensor.dtype);
    const std::uint64_t bytes = read_shape(tensor.shape, element_bytes);
    const auto [begin, end] = read_offsets();
    if (begin > end || end > data_bytes) {
      fail("data_offsets are [" + std::to_string(begin) + ", " + std::to_string(end) +
           "], expected an ascending pair of at most " + std::to_string(data_bytes) +
           " (bytes of data in the file)");
    }
    if (end - begin != bytes) {
      fail("data_offsets span " + std::to_string(end - begin) + " bytes, expected " +
           std::to_string(bytes) + " (its shape and dtype)");
    }
    tensor.begin = data_begin + begin;
    tensor.end = data_begin + end;
    return tensor;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw std::runtime_error(where_ + what); }

  const Json& field(const char* key) const {
    const auto found = entry_.find(key);
    if (found == entry_.end()) fail(std::string(key) + " is missing");
    return *found;
  }

  /// Returns the bytes of one element.
  std::uint64_t read_dtype(std::string& dtype) const {
    const Json& value = field("dtype");
    if (!value.is_string())
      fail(std::string("dtype is ") + value.type_name() + ", expected a string");
    dtype = value.get<std::string>();
    for (const auto& [name, bytes] : kDtypeBytes) {
      if (name == dtype) return bytes;
    }
    fail("dtype is " + in_quotes(dtype) + ", expected one of the format's, such as \"F32\"");
  }

  /// Returns the bytes of all elements. A product with a zero in it must not overflow on the way
  /// there either.
  std::uint64_t read_shape(std::vector<std::int64_t>& shape, std::uint64_t element_bytes) const {
    const Json& value = field("shape");
    if (!value.is_array())
      fail(std::string("shape is ") + value.type_name() + ", expected an array");
    std::uint64_t bytes = element_bytes;
    for (const Json& extent : value) {
      constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
      if (!extent.is_number_unsigned() || extent.get<std::uint64_t>() > std::uint64_t{kMost}) {
        fail("shape holds " + extent.dump().substr(0, 40) +
             ", expected integers from 0 to 2^63 - 1");
      }
      shape.push_back(extent.get<std::int64_t>());
      if (__builtin_mul_overflow(bytes, extent.get<std::uint64_t>(), &bytes)) {
        fail("shape has more than 2^64 bytes, expected what the file holds");
      }
    }
    return bytes;
  }

  std::pair<std::uint64_t, std::uint64_t> read_offsets() const {
    const Json& value = field("data_offsets");
    if (!value.is_array() || value.size() != 2 || !value[0].is_number_unsigned() ||
        !value[1].is_number_unsigned()) {
      fail("data_offsets are not what is expected, two integers from 0 on");
    }
    return {value[0].get<std::uint64_t>(), value[1].get<std::uint64_t>()};
  }

  std::string where_;
  const Json& entry_;
};

/// Tensors lie end to end from data_begin to file_bytes: no overlap, no hole, nothing left over.
void check_layout(const TensorMap& tensors, std::uint64_t data_begin, std::uint64_t file_bytes,
                  std::string_view name) {
  std::vector<const TensorMap::value_type*> by_place;
  for (const auto& tensor : tensors) by_place.push_back(&tensor);
  std::ranges::sort(by_place, {}, [](const auto* tensor) {
    return std::pair(tensor->second.begin, tensor->second.end);
  });
  std::uint64_t expected = data_begin;
  for (const auto* tensor : by_place) {
    const auto& [title, info] = *tensor;
    if (info.begin != expected) {
      throw std::runtime_error(std::string(name) + ": tensor " + in_quotes(title) +
                               " begins at data byte " + std::to_string(info.begin - data_begin) +
                               ", expected " + std::to_string(expected - data_begin) +
                               " (the end of the tensor before it" +
                               (info.begin < expected ? ": they overlap)" : ": there is a hole)"));
    }
    expected = info.end;
  }
  if (expected != file_bytes) {
    throw std::runtime_error(std::string(name) + ": tensors end at byte " +
                             std::to_string(expected) + ", expected " + std::to_string(file_bytes) +
                             " (the end of the file)");
  }
}

}  // namespace

TensorMap parse_safetensors_header(std::string_view header, std::uint64_t file_bytes,
                                   std::string_view name) {
  const std::uint64_t data_begin = sizeof(std::uint64_t) + header.size();
  if (data_begin > file_bytes) {
    throw std::runtime_error(std::string(name) + ": header ends at byte " +
                             std::to_string(data_begin) + ", expected at most " +
                             std::to_string(file_bytes) + " (the file's length)");
  }
  const Json json = parse_json(header, std::string(name) + ": header");
  if (!json.is_object()) {
    throw std::runtime_error(std::string(name) + ": header is " + json.type_name() +
                             ", expected an object");
  }
  TensorMap tensors;
  for (const auto& [title, entry] : json.items()) {
    if (title == "__metadata__") continue;
    const EntryReader reader(name, title, entry);
    tensors.emplace(title, reader.read(data_begin, file_bytes - data_begin));
  }
  check_layout(tensors, data_begin, file_bytes, name);
  return tensors;
}

}  // namespace regard::model
