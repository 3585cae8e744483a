// src/model/block_format.h - the types of GGUF tensors: numbers in blocks, and what they stand for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "regard/linear.h"

namespace regard::model {

/// With ggml's numbers.
enum class BlockFormat : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ40 = 2,
  kQ41 = 3,
  kQ50 = 6,
  kQ80 = 8,
  kQ4K = 12,
  kQ6K = 14,
  kBf16 = 30,
};

struct BlockFormatInfo {
  BlockFormat format;
  std::string_view name;  ///< "Q4_1"
  std::int64_t elements;  ///< of a block
  std::int64_t bytes;
};

/// The format of ggml's number, or nothing for one that is not read.
std::optional<BlockFormatInfo> find_format(std::uint32_t ggml_type);
const BlockFormatInfo& info(BlockFormat format);
/// What ggml calls the number, for errors: "IQ2_XS", or "42".
std::string ggml_type_name(std::uint32_t ggml_type);
/// "F32, F16, BF16, ..."
std::string known_formats();

/// A row of `row.size()` numbers, a whole number of blocks, as float32.
void dequantize(BlockFormat format, std::span<const std::byte> blocks, std::span<float> row);

/// Whether linear layers keep the format in blocks; else it is f32, f16 or bf16 numbers.
bool is_quantized(BlockFormat format);
/// How a weight matrix of a quantised format is kept.
BlockShape block_shape(BlockFormat format, std::int64_t out_features, std::int64_t in_features);
/// A row of it.
void read_blocks(BlockFormat format, std::span<const std::byte> blocks, const BlockRow& to);

}  // namespace regard::model
