// src/model/tensor_source.cc - weights from a GGUF file or from safetensors, as layers of the
// engine.
#include "model/tensor_source.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>
#include <utility>

#include "model/json_field.h"
#include "model/sha256.h"
#include "regard/model/safetensors.h"

namespace regard::model {
namespace {

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < std::min<std::size_t>(shape.size(), 8); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + ")";
}

std::int64_t row_bytes(const RawTensor& tensor) {
  const BlockFormatInfo& format = info(tensor.format);
  return tensor.shape.back() / format.elements * format.bytes;
}

std::uint64_t all_bytes(const RawTensor& tensor) {
  std::int64_t rows = 1;
  for (std::size_t i = 0; i + 1 < tensor.shape.size(); ++i) rows *= tensor.shape[i];
  return static_cast<std::uint64_t>(rows * row_bytes(tensor));
}

/// Rows of a tensor one after another, read a megabyte at a time.
class RowReader {
 public:
  explicit RowReader(const RawTensor& tensor)
      : tensor_(tensor), bytes_(static_cast<std::uint64_t>(row_bytes(tensor))) {}

  std::span<const std::byte> row(std::int64_t i) {
    const std::uint64_t begin = static_cast<std::uint64_t>(i) * bytes_;
    if (begin < begin_ || begin + bytes_ > begin_ + window_.size()) {
      constexpr std::uint64_t kWindow = 1 << 20;
      const std::uint64_t rows = std::max<std::uint64_t>(1, kWindow / bytes_);
      begin_ = begin;
      window_.resize(std::min(rows * bytes_, all_bytes(tensor_) - begin));
      tensor_.read(begin, window_);
    }
    return std::span(window_).subspan(begin - begin_, bytes_);
  }

 private:
  const RawTensor& tensor_;
  std::uint64_t bytes_, begin_ = 0;
  std::vector<std::byte> window_;
};

constexpr DType dtype_of(BlockFormat format) {
  return format == BlockFormat::kF16    ? DType::kF16
         : format == BlockFormat::kBf16 ? DType::kBf16
                                        : DType::kF32;
}

template <class Tensors>
std::int64_t bytes_of(const Tensors& tensors) {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors)
    bytes += static_cast<std::int64_t>(tensor.end - tensor.begin);
  return bytes;
}

}  // namespace

std::vector<std::filesystem::path> weight_files(const std::filesystem::path& folder) {
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  if (!std::filesystem::exists(index) || std::filesystem::exists(folder / "model.safetensors"))
    return {folder / "model.safetensors"};
  const std::string file = index.string();
  const Json root = parse_json(read_file(file, 64 << 20), file);
  std::set<std::string> names;
  for (const auto& [tensor, name] : JsonField(file, root).at("weight_map").members()) {
    if (name.text().find('/') != std::string::npos) name.fail("a file name");
    names.insert(name.text());
  }
  std::vector<std::filesystem::path> files;
  for (const std::string& name : names) files.push_back(folder / name);
  return files;
}

TensorSource::TensorSource(std::string name, Find find, std::int64_t all, Progress progress)
    : name_(std::move(name)), find_(std::move(find)), all_(all), progress_(std::move(progress)) {}

TensorSource TensorSource::of(const GgufFile& file, Progress progress) {
  return {file.path().string(),
          [&file](std::string_view name) -> std::optional<RawTensor> {
            const auto found = file.tensors().find(name);
            if (found == file.tensors().end()) return std::nullopt;
            const std::uint64_t begin = found->second.begin;
            return RawTensor{static_cast<BlockFormat>(found->second.type), found->second.shape,
                             [&file, begin](std::uint64_t offset, std::span<std::byte> out) {
                               file.read(begin + offset, out);
                             }};
          },
          bytes_of(file.tensors()), std::move(progress)};
}

TensorSource TensorSource::of_folder(const std::filesystem::path& folder, Progress progress) {
  auto files = std::make_shared<std::vector<SafetensorsFile>>();
  std::int64_t all = 0;
  for (const std::filesystem::path& path : weight_files(folder))
    all += bytes_of(files->emplace_back(path).tensors());
  return {folder.string(),
          [files](std::string_view name) -> std::optional<RawTensor> {
            for (const SafetensorsFile& file : *files) {
              if (!file.has(name)) continue;
              const TensorInfo& tensor = file.tensors().find(name)->second;
              const BlockFormat format = tensor.dtype == "F16"    ? BlockFormat::kF16
                                         : tensor.dtype == "BF16" ? BlockFormat::kBf16
                                                                  : BlockFormat::kF32;
              file.expect(name, tensor.shape);  // a type that is read
              return RawTensor{format, tensor.shape,
                               [&file, begin = tensor.begin, files](std::uint64_t offset,
                                                                    std::span<std::byte> out) {
                                 file.read(begin + offset, out);
                               }};
            }
            return std::nullopt;
          },
          all, std::move(progress)};
}

void TensorSource::fail(const std::string& what) const {
  throw std::runtime_error(name_ + ": " + what);
}

void TensorSource::note(const std::string& name, const RawTensor& tensor) const {
  constexpr std::uint64_t kEnd = 4096;
  const std::uint64_t bytes = all_bytes(tensor);
  std::vector<std::byte> ends(std::min(bytes, kEnd));
  seen_ += name + " " + shape_text(tensor.shape) + " " + std::string(info(tensor.format).name);
  for (const std::uint64_t begin : {std::uint64_t{0}, bytes - ends.size()}) {
    tensor.read(begin, ends);
    seen_.append(reinterpret_cast<const char*>(ends.data()), ends.size());
  }
  seen_ = sha256_text(seen_);
  read_ += static_cast<std::int64_t>(bytes);
  if (progress_) progress_(read_, all_);
}

std::string TensorSource::digest() const { return seen_; }

RawTensor TensorSource::expect(const std::string& name, std::span<const std::int64_t> shape) const {
  auto tensor = find_(name);
  if (!tensor) fail("tensor " + in_quotes(name) + " is missing, expected " + shape_text(shape));
  if (!std::ranges::equal(tensor->shape, shape)) {
    fail("tensor " + in_quotes(name) + " is " + shape_text(tensor->shape) + ", expected " +
         shape_text(shape));
  }
  note(name, *tensor);
  return std::move(*tensor);
}

std::vector<float> TensorSource::numbers(const std::string& name,
                                         std::span<const std::int64_t> shape) const {
  const RawTensor tensor = expect(name, shape);
  std::vector<std::byte> bytes(all_bytes(tensor));
  tensor.read(0, bytes);
  std::int64_t size = 1;
  for (const std::int64_t extent : shape) size *= extent;
  std::vector<float> numbers(static_cast<std::size_t>(size));
  dequantize(tensor.format, bytes, numbers);
  if (!all_finite(numbers))
    fail("tensor " + in_quotes(name) + " holds a number that is not finite");
  return numbers;
}

Norm TensorSource::norm(const std::string& name, std::int64_t features, double eps) const {
  const std::array shape{features};
  Norm norm{.weight = numbers(name + ".weight", shape), .bias = {}, .eps = eps};
  if (has(name + ".bias")) norm.bias = numbers(name + ".bias", shape);
  return norm;
}

Linear TensorSource::linear(const std::string& name, std::int64_t out, std::int64_t in) const {
  const Matrix matrix{name, out};
  return join(std::span(&matrix, 1), in);
}

Projection TensorSource::projection(const std::vector<Matrix>& matrices, std::int64_t in) const {
  std::vector<Linear> parts;
  for (std::size_t begin = 0, end = 0; begin < matrices.size(); begin = end) {
    const auto format = [&](std::size_t i) {
      const auto tensor = find_(matrices[i].name + ".weight");
      return tensor ? tensor->format : BlockFormat::kF32;
    };
    for (end = begin + 1; end < matrices.size() && format(end) == format(begin); ++end) {
    }
    parts.push_back(join(std::span(matrices).subspan(begin, end - begin), in));
  }
  return Projection(std::move(parts));
}

/// Matrices of one format as one layer.
Linear TensorSource::join(std::span<const Matrix> matrices, std::int64_t in) const {
  std::vector<RawTensor> tensors;
  std::vector<float> bias;
  std::int64_t out = 0;
  for (const Matrix& matrix : matrices) {
    tensors.push_back(expect(matrix.name + ".weight", std::array{matrix.out, in}));
    if (has(matrix.name + ".bias")) {
      bias.resize(static_cast<std::size_t>(out));
      const auto more = numbers(matrix.name + ".bias", std::array{matrix.out});
      bias.insert(bias.end(), more.begin(), more.end());
    }
    out += matrix.out;
  }
  if (!bias.empty()) bias.resize(static_cast<std::size_t>(out));
  try {
    if (is_quantized(tensors[0].format)) return join_blocks(tensors, in, bias);
    std::vector<std::byte> bytes;
    for (const RawTensor& tensor : tensors) {
      const std::size_t before = bytes.size();
      bytes.resize(before + all_bytes(tensor));
      tensor.read(0, std::span(bytes).subspan(before));
    }
    std::vector<float> row(static_cast<std::size_t>(in));
    const auto stride = static_cast<std::size_t>(row_bytes(tensors[0]));
    for (std::size_t i = 0; i < bytes.size(); i += stride) {
      dequantize(tensors[0].format, std::span(bytes).subspan(i, stride), row);
      if (!all_finite(row))
        throw std::invalid_argument("holds a number that is not finite, in row " +
                                    std::to_string(i / stride));
    }
    return {InputView<2>(bytes.data(), dtype_of(tensors[0].format), {out, in}, {in, 1}), bias};
  } catch (const std::invalid_argument& error) {
    fail("tensor " + in_quotes(matrices[0].name + ".weight") + ": " + error.what());
  }
}

Linear TensorSource::join_blocks(std::span<const RawTensor> tensors, std::int64_t in,
                                 std::span<const float> bias) const {
  std::int64_t out = 0;
  for (const RawTensor& tensor : tensors) out += tensor.shape[0];
  std::size_t at = 0;
  std::int64_t first = 0;
  std::optional<RowReader> reader(tensors[0]);
  return {block_shape(tensors[0].format, out, in),
          [&](std::int64_t row, const BlockRow& to) {
            while (row - first >= tensors[at].shape[0]) {
              first += tensors[at].shape[0];
              reader.emplace(tensors[++at]);
            }
            read_blocks(tensors[at].format, reader->row(row - first), to);
          },
          bias};
}

}  // namespace regard::model
