// include/regard/model/safetensors.h - tensors of a safetensors file, every byte of its header
// distrusted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace regard::model {

/// One tensor of a file. Offsets are bytes from the start of the file, half-open.
struct TensorInfo {
  std::string dtype;  ///< as the file says: "F32", "I64", ...
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// An open safetensors file, its header checked before anything is allocated from what it says:
/// header length within the file and below 100,000,000 bytes, JSON nesting, duplicate keys, dtypes,
/// shapes (products in checked arithmetic), offsets that match them, no overlap, no hole, no byte
/// left over. Errors are std::runtime_error: one line with the path, the thing, what came and what
/// was wanted.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, TensorInfo, std::less<>>& tensors() const { return tensors_; }
  bool has(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }

  /// Reads a float32 tensor that must have exactly this shape.
  std::vector<float> read_f32(std::string_view name, std::span<const std::int64_t> shape) const;

 private:
  std::filesystem::path path_;
  std::map<std::string, TensorInfo, std::less<>> tensors_;
  int fd_ = -1;
};

}  // namespace regard::model
