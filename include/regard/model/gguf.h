// include/regard/model/gguf.h - metadata and tensors of a GGUF file, every byte of its header
// distrusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace regard::model {

/// A metadata value: numbers and truth values as int64 or double, strings, and arrays of them.
using GgufValue = std::variant<std::int64_t, double, bool, std::string, std::vector<std::int64_t>,
                               std::vector<double>, std::vector<std::string>>;

/// A tensor of the file. Offsets are bytes from the start of the file, half-open.
struct GgufTensor {
  std::uint32_t type = 0;           ///< ggml's number; one that is read
  std::vector<std::int64_t> shape;  ///< row-major, so (rows, columns): the file says it backwards
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// An open GGUF file (version 2 or 3, little-endian), its header checked: lengths and counts within
/// the file, no nested arrays, no key or tensor twice, types known, tensors inside of the file, not
/// overlapping, aligned. Immutable; thread safe. Errors are std::runtime_error: one line with the
/// path, the thing, what came and what was wanted.
class GgufFile {
 public:
  explicit GgufFile(const std::filesystem::path& path);
  ~GgufFile();
  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;

  const std::filesystem::path& path() const;
  const std::map<std::string, GgufValue, std::less<>>& metadata() const;
  const std::map<std::string, GgufTensor, std::less<>>& tensors() const;

  /// A metadata value of the type asked for. find: nothing when there is no such key; a value of
  /// another type is an error. at: the key must be there.
  template <class T>
  const T* find(std::string_view key) const;
  template <class T>
  const T& at(std::string_view key) const;
  /// A number in [least, most]; `otherwise` when the key is not there, which is an error without
  /// it.
  std::int64_t integer(std::string_view key, std::int64_t least, std::int64_t most,
                       std::optional<std::int64_t> otherwise = {}) const;
  /// A finite number.
  double real(std::string_view key, std::optional<double> otherwise = {}) const;

  bool has_tensor(std::string_view name) const { return tensors().find(name) != tensors().end(); }
  /// The tensor, which must be there and have exactly this shape.
  const GgufTensor& tensor(std::string_view name, std::span<const std::int64_t> shape) const;
  /// Bytes [begin, end) of the file.
  void read(std::uint64_t begin, std::span<std::byte> out) const;
  /// The tensor as finite float32 numbers.
  std::vector<float> read_f32(std::string_view name, std::span<const std::int64_t> shape) const;

  [[noreturn]] void fail(const std::string& what) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace regard::model
