// tests/model/gguf_writer.h - the bytes of small GGUF files.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace regard::model::testing {

/// Keys and float32 tensors in the order in which they are said.
class GgufWriter {
 public:
  void text(std::string_view name, std::string_view value) {
    key(name, kText);
    put(keys_, value);
  }
  void boolean(std::string_view name, bool value) {
    key(name, kBool);
    append(keys_, static_cast<std::uint8_t>(value));
  }
  void integer(std::string_view name, std::uint32_t value) {
    key(name, kUint32);
    append(keys_, value);
  }
  void real(std::string_view name, float value) {
    key(name, kFloat32);
    append(keys_, value);
  }
  void texts(std::string_view name, const std::vector<std::string>& values) {
    array(name, kText, values.size());
    for (const std::string& value : values) put(keys_, value);
  }
  void integers(std::string_view name, const std::vector<std::int32_t>& values) {
    array(name, kInt32, values.size());
    for (const std::int32_t value : values) append(keys_, value);
  }
  void reals(std::string_view name, const std::vector<float>& values) {
    array(name, kFloat32, values.size());
    for (const float value : values) append(keys_, value);
  }
  /// Row-major.
  void tensor(std::string_view name, std::span<const std::int64_t> shape,
              std::span<const float> numbers) {
    put(tensors_, name);
    append(tensors_, static_cast<std::uint32_t>(shape.size()));
    for (std::size_t i = shape.size(); i > 0; --i)
      append(tensors_, static_cast<std::uint64_t>(shape[i - 1]));
    append(tensors_, std::uint32_t{0});  // F32
    append(tensors_, std::uint64_t{data_.size()});
    for (const float number : numbers) append(data_, number);
    data_.resize((data_.size() + kAlignment - 1) / kAlignment * kAlignment);
    ++num_tensors_;
  }

  std::string file() const {
    std::string bytes = "GGUF";
    append(bytes, std::uint32_t{3});
    append(bytes, num_tensors_);
    append(bytes, num_keys_);
    bytes += keys_ + tensors_;
    if (num_tensors_ > 0) bytes.resize((bytes.size() + kAlignment - 1) / kAlignment * kAlignment);
    return bytes + data_;
  }

 private:
  static constexpr std::uint32_t kUint32 = 4, kInt32 = 5, kFloat32 = 6, kBool = 7, kText = 8,
                                 kArray = 9;
  static constexpr std::size_t kAlignment = 32;

  template <class T>
  static void append(std::string& to, T x) {
    to.append(reinterpret_cast<const char*>(&x), sizeof x);
  }
  static void put(std::string& to, std::string_view x) {
    append(to, std::uint64_t{x.size()});
    to += x;
  }
  void key(std::string_view name, std::uint32_t type) {
    put(keys_, name);
    append(keys_, type);
    ++num_keys_;
  }
  void array(std::string_view name, std::uint32_t type, std::size_t size) {
    key(name, kArray);
    append(keys_, type);
    append(keys_, std::uint64_t{size});
  }

  std::string keys_, tensors_, data_;
  std::uint64_t num_keys_ = 0, num_tensors_ = 0;
};

}  // namespace regard::model::testing
