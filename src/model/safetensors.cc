// src/model/safetensors.cc - an open safetensors file: its length, its header, reading tensors.
#include "regard/model/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "model/block_format.h"
#include "model/input_file.h"
#include "model/json.h"
#include "model/layers.h"

namespace regard::model {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

constexpr std::uint64_t kLengthBytes = 8;
/// The types that are read, and as what.
constexpr std::array<std::pair<std::string_view, BlockFormat>, 3> kFormats{
    {{"F32", BlockFormat::kF32}, {"F16", BlockFormat::kF16}, {"BF16", BlockFormat::kBf16}}};
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

std::string shape_text(std::span<const std::int64_t> shape) {
  constexpr std::size_t kShown = 8;  // a hostile shape may have millions of extents
  std::string text = "(";
  for (std::size_t i = 0; i < std::min(shape.size(), kShown); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + (shape.size() > kShown ? ", ...)" : ")");
}

TensorMap read_header(const InputFile& file) {
  if (file.size() < kLengthBytes) {
    file.fail("is " + std::to_string(file.size()) +
              " bytes, expected at least 8 (the header's length)");
  }
  std::uint64_t header_bytes = 0;
  file.read(0, &header_bytes, kLengthBytes);
  const std::uint64_t most = std::min(file.size() - kLengthBytes, kMaxHeaderBytes);
  if (header_bytes > most) {
    file.fail("header length is " + std::to_string(header_bytes) + ", expected at most " +
              std::to_string(most) +
              (most < kMaxHeaderBytes ? " (what the file holds)" : " (the format's limit)"));
  }
  std::string header(header_bytes, '\0');
  file.read(kLengthBytes, header.data(), header_bytes);
  return parse_safetensors_header(header, file.size(), file.path().string());
}

const auto* find_format(std::string_view dtype) {
  return std::ranges::find(kFormats, dtype, &decltype(kFormats)::value_type::first);
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(std::make_unique<InputFile>(path)), tensors_(read_header(*file_)) {}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

const std::filesystem::path& SafetensorsFile::path() const { return file_->path(); }

const TensorInfo& SafetensorsFile::expect(std::string_view name,
                                          std::span<const std::int64_t> shape) const {
  const std::string wanted = "expected F32, F16 or BF16 " + shape_text(shape);
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) file_->fail("tensor " + in_quotes(name) + " is missing, " + wanted);
  const TensorInfo& tensor = found->second;
  if (find_format(tensor.dtype) == kFormats.end() || !std::ranges::equal(tensor.shape, shape)) {
    file_->fail("tensor " + in_quotes(name) + " is " + tensor.dtype + " " +
                shape_text(tensor.shape) + ", " + wanted);
  }
  return tensor;
}

void SafetensorsFile::read(std::uint64_t begin, std::span<std::byte> out) const {
  file_->read(begin, out.data(), out.size());
}

void SafetensorsFile::read_f32(std::string_view name, std::span<const std::int64_t> shape,
                               std::span<float> out) const {
  const TensorInfo& tensor = expect(name, shape);
  const BlockFormatInfo& format = info(find_format(tensor.dtype)->second);
  const std::uint64_t bytes = tensor.end - tensor.begin;
  if (out.size() * static_cast<std::uint64_t>(format.bytes) != bytes) {
    file_->fail("tensor " + in_quotes(name) + " has " + std::to_string(bytes) +
                " bytes, expected " +
                std::to_string(out.size() * static_cast<std::uint64_t>(format.bytes)));
  }
  if (format.format == BlockFormat::kF32) {
    file_->read(tensor.begin, out.data(), bytes);
  } else {
    std::vector<std::byte> raw(bytes);
    file_->read(tensor.begin, raw.data(), bytes);
    dequantize(format.format, raw, out);
  }
  if (!all_finite(out)) {
    const auto bad = std::ranges::find_if_not(out, [](float x) { return std::isfinite(x); });
    file_->fail("tensor " + in_quotes(name) + " holds " + std::to_string(*bad) + " at element " +
                std::to_string(bad - out.begin()) + ", expected finite numbers");
  }
}

std::vector<float> SafetensorsFile::read_f32(std::string_view name,
                                             std::span<const std::int64_t> shape) const {
  const TensorInfo& tensor = expect(name, shape);
  const BlockFormatInfo& format = info(find_format(tensor.dtype)->second);
  std::vector<float> out((tensor.end - tensor.begin) / static_cast<std::uint64_t>(format.bytes));
  read_f32(name, shape, out);
  return out;
}

}  // namespace regard::model
