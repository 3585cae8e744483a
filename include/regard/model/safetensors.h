// include/regard/model/safetensors.h - tensors of a safetensors file, every byte of its header
// distrusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace regard::model {

class InputFile;

/// One tensor of a file. Offsets are bytes from the start of the file, half-open.
struct TensorInfo {
  std::string dtype;  ///< as the file says: "F32", "I64", ...
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};
using TensorMap = std::map<std::string, TensorInfo, std::less<>>;

/// The tensors that a header describes. `header` is the JSON text that follows the 8 bytes of its
/// length, `file_bytes` the length of the whole file, `name` stands for the path in errors. Nothing
/// is allocated from what the header only says. Checks: JSON, nesting, duplicate keys, dtypes,
/// shapes (products in checked arithmetic), offsets that match them, no overlap, no hole, no byte
/// left over. Throws std::runtime_error.
TensorMap parse_safetensors_header(std::string_view header, std::uint64_t file_bytes,
                                   std::string_view name);

/// An open safetensors file, its header checked: length within the file and below 100,000,000
/// bytes, then as above. Immutable; thread safe. Errors are std::runtime_error: one line with the
/// path, the thing, what came and what was wanted.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  const std::filesystem::path& path() const;
  const TensorMap& tensors() const { return tensors_; }
  bool has(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }

  /// The tensor, which must be there, be F32, F16 or BF16 and have exactly this shape.
  const TensorInfo& expect(std::string_view name, std::span<const std::int64_t> shape) const;

  /// Reads such a tensor as float32 into `out`, which has one element for each of the tensor's. All
  /// of them must be finite.
  void read_f32(std::string_view name, std::span<const std::int64_t> shape,
                std::span<float> out) const;
  /// The same into a new vector.
  std::vector<float> read_f32(std::string_view name, std::span<const std::int64_t> shape) const;
  /// Bytes of the file from `begin` on.
  void read(std::uint64_t begin, std::span<std::byte> out) const;

 private:
  std::unique_ptr<const InputFile> file_;
  TensorMap tensors_;
};

}  // namespace regard::model
