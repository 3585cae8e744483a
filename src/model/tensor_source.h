// src/model/tensor_source.h - weights from a GGUF file or from safetensors, as layers of the
// engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/block_format.h"
#include "model/layers.h"
#include "model/projection.h"
#include "regard/linear.h"
#include "regard/model/gguf.h"

namespace regard::model {

/// A tensor as it lies in a file.
struct RawTensor {
  BlockFormat format;
  std::vector<std::int64_t> shape;
  std::function<void(std::uint64_t offset, std::span<std::byte> out)> read;  ///< from its begin on
};

/// model.safetensors, or the files that model.safetensors.index.json names, in the order of their
/// names. Throws std::runtime_error for an index that is none.
std::vector<std::filesystem::path> weight_files(const std::filesystem::path& folder);

/// Tensors by name, wherever they are. Errors name the file and the tensor.
class TensorSource {
 public:
  using Find = std::function<std::optional<RawTensor>(std::string_view name)>;

  using Progress = std::function<void(std::int64_t done, std::int64_t all)>;

  /// `name` stands for the file in errors. `progress` (may be empty) gets the bytes read so far, of
  /// `all`.
  TensorSource(std::string name, Find find, std::int64_t all, Progress progress);

  /// What is in a GGUF file.
  static TensorSource of(const GgufFile& file, Progress progress);
  /// What is in the folder's weight_files().
  static TensorSource of_folder(const std::filesystem::path& folder, Progress progress);

  bool has(std::string_view name) const { return find_(name).has_value(); }

  /// Numbers of any format as float32, finite.
  std::vector<float> numbers(const std::string& name, std::span<const std::int64_t> shape) const;
  /// NAME.weight, and NAME.bias where there is one.
  Norm norm(const std::string& name, std::int64_t features, double eps) const;

  /// One of the matrices side by side: NAME.weight (out, in), and NAME.bias (out) where there is
  /// one.
  struct Matrix {
    std::string name;
    std::int64_t out;
  };
  Linear linear(const std::string& name, std::int64_t out, std::int64_t in) const;
  Projection projection(const std::vector<Matrix>& matrices, std::int64_t in) const;

  /// Digest of names, shapes, formats and the first and last 4 KiB of every tensor that was read.
  std::string digest() const;

 private:
  RawTensor expect(const std::string& name, std::span<const std::int64_t> shape) const;
  Linear join(std::span<const Matrix> matrices, std::int64_t in) const;
  Linear join_blocks(std::span<const RawTensor> tensors, std::int64_t in,
                     std::span<const float> bias) const;
  [[noreturn]] void fail(const std::string& what) const;
  void note(const std::string& name, const RawTensor& tensor) const;

  std::string name_;
  Find find_;
  std::int64_t all_;
  Progress progress_;
  mutable std::int64_t read_ = 0;
  mutable std::string seen_;  // what the digest is of
};

}  // namespace regard::model
