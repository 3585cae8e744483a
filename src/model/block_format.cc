// src/model/block_format.cc - the types of GGUF tensors: numbers in blocks, and what they stand
// for. Layouts: ggml-common.h of ggml (MIT), as its numpy reader in PyPI's gguf has them.
#include "model/block_format.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace regard::model {
namespace {

constexpr std::array<BlockFormatInfo, 9> kFormats{{
    {BlockFormat::kF32, "F32", 1, 4},
    {BlockFormat::kF16, "F16", 1, 2},
    {BlockFormat::kQ40, "Q4_0", 32, 18},
    {BlockFormat::kQ41, "Q4_1", 32, 20},
    {BlockFormat::kQ50, "Q5_0", 32, 22},
    {BlockFormat::kQ80, "Q8_0", 32, 34},
    {BlockFormat::kQ4K, "Q4_K", 256, 144},
    {BlockFormat::kQ6K, "Q6_K", 256, 210},
    {BlockFormat::kBf16, "BF16", 1, 2},
}};

/// ggml's names of its types, "" where a number is not used.
constexpr std::array<std::string_view, 40> kGgmlNames{
    "F32",     "F16",    "Q4_0",    "Q4_1",  "",       "",      "Q5_0",  "Q5_1",
    "Q8_0",    "Q8_1",   "Q2_K",    "Q3_K",  "Q4_K",   "Q5_K",  "Q6_K",  "Q8_K",
    "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS",
    "I8",      "I16",    "I32",     "I64",   "F64",    "IQ1_M", "BF16",  "",
    "",        "",       "TQ1_0",   "TQ2_0", "",       "",      "",      "MXFP4"};

/// The bytes of one block, read from its beginning.
class Block {
 public:
  explicit Block(const std::byte* at) : at_(at) {}
  std::uint32_t byte(std::int64_t i) const { return std::to_integer<std::uint32_t>(at_[i]); }
  std::int32_t signed_byte(std::int64_t i) const { return static_cast<std::int8_t>(byte(i)); }
  float half(std::int64_t i) const {
    f16 half;
    std::memcpy(&half.bits, at_ + i, 2);
    return static_cast<float>(half);
  }

 private:
  const std::byte* at_;
};

constexpr std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

/// Where a block's numbers go: q from its first element on, scale and offset from its first group.
struct Target {
  std::span<std::int8_t> q;
  std::span<float> scale, offset;
};

/// 32 numbers of 4 bits: the low halves of 16 bytes, then the high ones.
void nibbles(const Block& b, std::int64_t begin, std::span<std::int8_t> q) {
  for (std::size_t i = 0; i < 16; ++i) {
    const std::uint32_t both = b.byte(begin + static_cast<std::int64_t>(i));
    q[i] = static_cast<std::int8_t>(both & 15U);
    q[i + 16] = static_cast<std::int8_t>(both >> 4);
  }
}

void q4_0(const Block& b, const Target& to) {
  nibbles(b, 2, to.q);
  to.scale[0] = b.half(0);
  to.offset[0] = -8 * b.half(0);
}

void q4_1(const Block& b, const Target& to) {
  nibbles(b, 4, to.q);
  to.scale[0] = b.half(0);
  to.offset[0] = b.half(2);
}

void q5_0(const Block& b, const Target& to) {
  nibbles(b, 6, to.q);
  for (std::int64_t i = 0; i < 32; ++i) {
    const std::uint32_t fifth = b.byte(2 + i / 8) >> i % 8 & 1U;
    to.q[at(i)] = static_cast<std::int8_t>(to.q[at(i)] + static_cast<int>(fifth << 4) - 16);
  }
  to.scale[0] = b.half(0);
}

void q8_0(const Block& b, const Target& to) {
  for (std::int64_t i = 0; i < 32; ++i)
    to.q[at(i)] = static_cast<std::int8_t>(b.signed_byte(2 + i));
  to.scale[0] = b.half(0);
}

/// 8 groups of 32; 12 bytes hold a 6-bit scale and a 6-bit minimum for each.
void q4_k(const Block& b, const Target& to) {
  for (std::int64_t g = 0; g < 8; ++g) {
    const std::uint32_t low = b.byte(4 + g % 4), high = b.byte(8 + g % 4),
                        rest = b.byte(12 + g % 4);
    const std::uint32_t scale = g < 4 ? low & 63U : (rest & 15U) | (low >> 6 << 4);
    const std::uint32_t least = g < 4 ? high & 63U : rest >> 4 | (high >> 6 << 4);
    to.scale[at(g)] = b.half(0) * static_cast<float>(scale);
    to.offset[at(g)] = -(b.half(2) * static_cast<float>(least));
    for (std::int64_t i = 0; i < 32; ++i) {
      const std::uint32_t both = b.byte(16 + g / 2 * 32 + i);
      to.q[at(g * 32 + i)] = static_cast<std::int8_t>(g % 2 == 0 ? both & 15U : both >> 4);
    }
  }
}

/// 16 groups of 16: 4 low bits of each, then 2 high bits of each, then the groups' scales.
void q6_k(const Block& b, const Target& to) {
  constexpr std::int64_t kHigh = 128, kScales = 192, kAll = 208;
  for (std::int64_t i = 0; i < 256; ++i) {
    const std::int64_t half = i / 128, in_half = i % 128, quarter = in_half / 32, j = in_half % 32;
    const std::uint32_t both = b.byte(half * 64 + quarter % 2 * 32 + j);
    const std::uint32_t low = quarter < 2 ? both & 15U : both >> 4;
    const std::uint32_t high = b.byte(kHigh + half * 32 + j) >> 2 * quarter & 3U;
    to.q[at(i)] = static_cast<std::int8_t>(static_cast<int>(low | high << 4) - 32);
  }
  for (std::int64_t g = 0; g < 16; ++g)
    to.scale[at(g)] = b.half(kAll) * static_cast<float>(b.signed_byte(kScales + g));
}

void read_block(BlockFormat format, const Block& b, const Target& to) {
  switch (format) {
    case BlockFormat::kQ40:
      return q4_0(b, to);
    case BlockFormat::kQ41:
      return q4_1(b, to);
    case BlockFormat::kQ50:
      return q5_0(b, to);
    case BlockFormat::kQ80:
      return q8_0(b, to);
    case BlockFormat::kQ4K:
      return q4_k(b, to);
    case BlockFormat::kQ6K:
      return q6_k(b, to);
    case BlockFormat::kF32:
    case BlockFormat::kF16:
    case BlockFormat::kBf16:
      return;  // no blocks
  }
}

template <class T>
void widen(std::span<const std::byte> from, std::span<float> row) {
  for (std::size_t i = 0; i < row.size(); ++i) {
    T x;
    std::memcpy(&x, from.data() + i * sizeof(T), sizeof(T));
    row[i] = static_cast<float>(x);
  }
}

bool has_offset(BlockFormat format) {
  return format == BlockFormat::kQ40 || format == BlockFormat::kQ41 || format == BlockFormat::kQ4K;
}

}  // namespace

std::optional<BlockFormatInfo> find_format(std::uint32_t ggml_type) {
  for (const BlockFormatInfo& each : kFormats) {
    if (static_cast<std::uint32_t>(each.format) == ggml_type) return each;
  }
  return std::nullopt;
}

const BlockFormatInfo& info(BlockFormat format) {
  return *std::ranges::find(kFormats, format, &BlockFormatInfo::format);
}

std::string ggml_type_name(std::uint32_t ggml_type) {
  if (ggml_type < kGgmlNames.size() && !kGgmlNames[ggml_type].empty())
    return std::string(kGgmlNames[ggml_type]);
  return std::to_string(ggml_type);
}

std::string known_formats() {
  std::string names;
  for (const BlockFormatInfo& each : kFormats)
    names += (names.empty() ? "" : ", ") + std::string(each.name);
  return names;
}

bool is_quantized(BlockFormat format) { return info(format).elements > 1; }

BlockShape block_shape(BlockFormat format, std::int64_t out_features, std::int64_t in_features) {
  const bool k_quant = info(format).elements == 256;
  return {.out_features = out_features,
          .in_features = in_features,
          .bits = has_offset(format) ? 4 : 8,
          .length = format == BlockFormat::kQ6K ? 16 : 32,
          .scale_dtype = k_quant ? DType::kF32 : DType::kF16};
}

void read_blocks(BlockFormat format, std::span<const std::byte> blocks, const BlockRow& to) {
  const BlockFormatInfo& layout = info(format);
  const auto groups = static_cast<std::int64_t>(
      to.scale.size() * static_cast<std::size_t>(layout.elements) / to.q.size());
  const auto num = static_cast<std::int64_t>(to.q.size()) / layout.elements;
  for (std::int64_t i = 0; i < num; ++i) {
    const auto part = [i](auto numbers, std::int64_t size) {
      return numbers.empty() ? numbers : numbers.subspan(at(i * size), at(size));
    };
    read_block(format, Block(blocks.data() + i * layout.bytes),
               {.q = part(to.q, layout.elements),
                .scale = part(to.scale, groups),
                .offset = part(to.offset, groups)});
  }
}

void dequantize(BlockFormat format, std::span<const std::byte> blocks, std::span<float> row) {
  if (format == BlockFormat::kF32) return widen<float>(blocks, row);
  if (format == BlockFormat::kF16) return widen<f16>(blocks, row);
  if (format == BlockFormat::kBf16) return widen<bf16>(blocks, row);
  const std::size_t length = format == BlockFormat::kQ6K ? 16 : 32;
  std::vector<std::int8_t> q(row.size());
  std::vector<float> scale(row.size() / length), offset(has_offset(format) ? scale.size() : 0);
  read_blocks(format, blocks, {q, scale, offset});
  for (std::size_t i = 0; i < row.size(); ++i) {
    row[i] = scale[i / length] * static_cast<float>(q[i]);
    if (!offset.empty()) row[i] += offset[i / length];
  }
}

}  // namespace regard::model
