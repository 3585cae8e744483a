// src/model/gguf_header.cc - what a GGUF header says, checked before anybody believes it. Format:
// docs/gguf.md of ggml.
#include "model/gguf_header.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "model/block_format.h"
#include "model/json.h"

namespace regard::model {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are little-endian");

/// The types of metadata values, with their numbers in the file.
enum class Type : std::uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};
constexpr std::array<std::uint64_t, 13> kLeastBytes{1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

/// Reads on from the beginning, a window of the file at a time.
class Cursor {
 public:
  explicit Cursor(const GgufBytes& bytes) : bytes_(bytes) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(bytes_.name + ": " + what);
  }
  std::uint64_t at() const { return at_; }
  std::uint64_t left() const { return bytes_.size - at_; }

  template <class T>
  T number(const char* what) {
    T value;
    take(what, {reinterpret_cast<char*>(&value), sizeof value});
    return value;
  }
  std::string text(const std::string& what) {
    const auto length = number<std::uint64_t>(what.c_str());
    if (length > left()) {
      fail("the length of " + what + " is " + std::to_string(length) + ", expected at most " +
           std::to_string(left()) + " (what the file holds)");
    }
    std::string value(length, '\0');
    take(what.c_str(), value);
    return value;
  }
  /// A number of things of `least` bytes or more.
  std::uint64_t count(const std::string& what, std::uint64_t least) {
    const auto number_of = number<std::uint64_t>(what.c_str());
    if (number_of <= left() / least) return number_of;
    fail(what + " is " + std::to_string(number_of) + ", expected at most " +
         std::to_string(left() / least) + " (what the file has room for)");
  }

 private:
  void take(const char* what, std::span<char> to) {
    if (to.size() > left()) fail("ends at byte " + std::to_string(bytes_.size) + " within " + what);
    while (!to.empty()) {
      if (at_ < begin_ || at_ >= begin_ + window_.size()) {
        constexpr std::uint64_t kWindow = 1 << 16;
        window_.resize(std::min(kWindow, left()));
        begin_ = at_;
        bytes_.read(begin_, window_);
      }
      const std::uint64_t in = at_ - begin_;
      const std::size_t some = std::min<std::uint64_t>(to.size(), window_.size() - in);
      std::memcpy(to.data(), window_.data() + in, some);
      to = to.subspan(some);
      at_ += some;
    }
  }

  const GgufBytes& bytes_;
  std::uint64_t at_ = 0, begin_ = 0;
  std::vector<char> window_;
};

Type value_type(Cursor& in, const std::string& what) {
  const auto type = in.number<std::uint32_t>("a value's type");
  if (type >= kLeastBytes.size())
    in.fail("the type of " + what + " is " + std::to_string(type) + ", expected 0..12");
  return static_cast<Type>(type);
}

std::int64_t integer(Cursor& in, Type type, const std::string& what) {
  switch (type) {
    case Type::kUint8:
      return in.number<std::uint8_t>(what.c_str());
    case Type::kInt8:
      return in.number<std::int8_t>(what.c_str());
    case Type::kUint16:
      return in.number<std::uint16_t>(what.c_str());
    case Type::kInt16:
      return in.number<std::int16_t>(what.c_str());
    case Type::kUint32:
      return in.number<std::uint32_t>(what.c_str());
    case Type::kInt32:
      return in.number<std::int32_t>(what.c_str());
    case Type::kBool:
      return in.number<std::uint8_t>(what.c_str()) != 0 ? 1 : 0;
    case Type::kUint64: {
      const auto value = in.number<std::uint64_t>(what.c_str());
      if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        return static_cast<std::int64_t>(value);
      in.fail(what + " is " + std::to_string(value) + ", expected less than 2^63");
    }
    default:
      return in.number<std::int64_t>(what.c_str());
  }
}

double real(Cursor& in, Type type, const std::string& what) {
  if (type == Type::kFloat32) return in.number<float>(what.c_str());
  return in.number<double>(what.c_str());
}

bool is_real(Type type) { return type == Type::kFloat32 || type == Type::kFloat64; }

GgufValue array(Cursor& in, const std::string& what) {
  const Type type = value_type(in, "the elements of " + what);
  if (type == Type::kArray)
    in.fail(what + " is an array of arrays, expected one of numbers or texts");
  const std::uint64_t size =
      in.count("the length of " + what, kLeastBytes[static_cast<std::size_t>(type)]);
  const auto fill = [&]<class T>(std::vector<T> values, auto next) {
    values.reserve(size);
    for (std::uint64_t i = 0; i < size; ++i) values.push_back(next());
    return GgufValue(std::move(values));
  };
  if (type == Type::kString) return fill(std::vector<std::string>(), [&] { return in.text(what); });
  if (is_real(type)) return fill(std::vector<double>(), [&] { return real(in, type, what); });
  return fill(std::vector<std::int64_t>(), [&] { return integer(in, type, what); });
}

GgufValue value(Cursor& in, const std::string& key) {
  const std::string what = in_quotes(key);
  const Type type = value_type(in, what);
  if (type == Type::kArray) return array(in, what);
  if (type == Type::kString) return in.text(what);
  if (type == Type::kBool) return integer(in, type, what) != 0;
  if (is_real(type)) return real(in, type, what);
  return integer(in, type, what);
}

/// One entry of the list of tensors; begin is still its offset in the data.
std::pair<std::string, GgufTensor> tensor(Cursor& in) {
  constexpr std::uint32_t kMostDimensions = 4;
  GgufTensor tensor;
  std::string name = in.text("a tensor's name");
  const std::string what = "tensor " + in_quotes(name);
  const auto dimensions = in.number<std::uint32_t>("a tensor's number of dimensions");
  if (dimensions > kMostDimensions)
    in.fail(what + " has " + std::to_string(dimensions) + " dimensions, expected at most 4");
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    const auto extent = in.number<std::uint64_t>("a tensor's extent");
    if (extent == 0 || extent > std::uint64_t{1} << 40 ||
        __builtin_mul_overflow(elements, extent, &elements) || elements > std::uint64_t{1} << 56)
      in.fail(what + " has an extent of " + std::to_string(extent) +
              ", expected 1 or more and at "
              "most 2^56 elements in all");
    tensor.shape.insert(tensor.shape.begin(), static_cast<std::int64_t>(extent));
  }
  tensor.type = in.number<std::uint32_t>("a tensor's type");
  const auto format = find_format(tensor.type);
  if (!format) {
    in.fail(what + " is of type " + ggml_type_name(tensor.type) + ", expected " + known_formats());
  }
  const auto columns = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (columns % format->elements != 0) {
    in.fail(what + " has rows of " + std::to_string(columns) + ", expected a multiple of " +
            std::to_string(format->elements) + " (" + std::string(format->name) + ")");
  }
  tensor.begin = in.number<std::uint64_t>("a tensor's offset");
  tensor.end = elements / static_cast<std::uint64_t>(format->elements) *
               static_cast<std::uint64_t>(format->bytes);
  return {std::move(name), std::move(tensor)};
}

std::uint64_t alignment_of(const Cursor& in, const GgufHeader& header) {
  const auto found = header.metadata.find("general.alignment");
  if (found == header.metadata.end()) return 32;
  const auto* alignment = std::get_if<std::int64_t>(&found->second);
  if (alignment == nullptr || *alignment < 1 || *alignment > 1 << 20 ||
      !std::has_single_bit(static_cast<std::uint64_t>(*alignment)))
    in.fail("\"general.alignment\" is not a power of two up to 2^20, which was expected");
  return static_cast<std::uint64_t>(*alignment);
}

/// Offsets in the data become places in the file: inside of it, aligned, not overlapping.
void place(const Cursor& in, std::uint64_t file_bytes, GgufHeader& header) {
  const std::uint64_t alignment = alignment_of(in, header);
  const std::uint64_t data = (in.at() + alignment - 1) / alignment * alignment;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
  for (auto& [name, tensor] : header.tensors) {
    const std::uint64_t bytes = tensor.end, offset = tensor.begin;
    if (offset % alignment != 0 || data > file_bytes || offset > file_bytes - data ||
        bytes > file_bytes - data - offset) {
      in.fail("tensor " + in_quotes(name) + " has " + std::to_string(bytes) + " bytes at offset " +
              std::to_string(offset) + ", expected a multiple of " + std::to_string(alignment) +
              " and an end within the file's " + std::to_string(file_bytes) + " bytes");
    }
    tensor.begin = data + offset;
    tensor.end = tensor.begin + bytes;
    places.emplace_back(tensor.begin, tensor.end);
  }
  std::ranges::sort(places);
  for (std::size_t i = 1; i < places.size(); ++i) {
    if (places[i].first < places[i - 1].second)
      in.fail("two tensors overlap at byte " + std::to_string(places[i].first));
  }
}

}  // namespace

GgufHeader read_gguf_header(const GgufBytes& bytes) {
  constexpr std::uint64_t kLeastEntry = 8 + 4 + 1, kLeastTensor = 8 + 4 + 4 + 8;
  Cursor in(bytes);
  const auto magic = in.number<std::uint32_t>("the magic number");
  if (magic != 0x46554747U) in.fail("does not begin with GGUF");
  const auto version = in.number<std::uint32_t>("the version");
  if (version != 2 && version != 3) {
    in.fail("is GGUF version " + std::to_string(version) + ", expected 2 or 3" +
            (version >> 24 != 0 && version << 8 == 0 ? " (it is big-endian)" : ""));
  }
  const std::uint64_t tensors = in.count("the number of tensors", kLeastTensor);
  const std::uint64_t entries = in.count("the number of metadata entries", kLeastEntry);
  GgufHeader header;
  for (std::uint64_t i = 0; i < entries; ++i) {
    std::string key = in.text("a key");
    if (header.metadata.contains(key)) in.fail("the key " + in_quotes(key) + " comes twice");
    GgufValue got = value(in, key);
    header.metadata.emplace(std::move(key), std::move(got));
  }
  for (std::uint64_t i = 0; i < tensors; ++i) {
    auto [name, got] = tensor(in);
    if (!header.tensors.emplace(name, std::move(got)).second)
      in.fail("the tensor " + in_quotes(name) + " comes twice");
  }
  place(in, bytes.size, header);
  return header;
}

}  // namespace regard::model
