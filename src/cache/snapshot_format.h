// src/cache/snapshot_format.h - what the bytes of a cache's file mean (docs/kv-cache.md).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cache/file.h"
#include "cache/store.h"
#include "regard/kv_cache.h"

namespace regard::cache {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

/// The beginning of a file. Each checksum is that of everything before it but the other checksums,
/// so that what is whole but in the wrong place is found too.
struct FileHeader {
  static constexpr std::array<char, 8> kMagic{'r', 'e', 'g', 'a', 'r', 'd', 'k', 'v'};
  static constexpr std::uint32_t kVersion = 1;

  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t dtype = 0;        ///< 0 f32, 1 bf16, 2 f16, 3 int8
  std::uint64_t file_bytes = 0;   ///< all of them
  std::uint64_t table_bytes = 0;  ///< of the table, which follows, without its checksum
  std::uint64_t num_layers = 0, num_kv_heads = 0;
  std::uint32_t head_dim = 0, value_dim = 0;
  std::uint32_t num_sequences = 0;
  std::uint32_t checksum = 0;  ///< of the bytes before it
};
static_assert(sizeof(FileHeader) == 64);

/// A table is read as a whole.
constexpr std::uint64_t kMostTableBytes = std::uint64_t{1} << 30;
constexpr std::size_t kChecksumBytes = 4;
/// Of a row's scale.
constexpr std::size_t scale_bytes(DType dtype) { return dtype == DType::kI8 ? sizeof(float) : 0; }

/// Files know no pages but blocks, which pages of any size are made of.
constexpr std::int64_t kBlockTokens = 16;

/// What a file's table says of a sequence.
struct SavedState {
  static constexpr std::uint32_t kNoBlock = 0xFFFFFFFF;

  SequenceOptions options;
  std::int64_t length = 0, evicted_begin = 0, evicted_end = 0;
  std::vector<std::int32_t> ids;
  /// Where tokens [16 i, 16 (i + 1)) are; kNoBlock: nowhere, all of them were evicted.
  std::vector<std::uint32_t> blocks;

  static std::int64_t blocks_for(std::int64_t tokens) {
    return (tokens + kBlockTokens - 1) / kBlockTokens;
  }
  /// Of the tokens of blocks[i] those that the sequence has, a bit for each.
  std::uint32_t tokens_of(std::size_t i) const;
};

/// A file's table. Blocks are numbered in the order in which the sequences first name them.
struct SavedTable {
  std::string fingerprint;
  std::vector<SavedState> sequences;
  /// Of each block the tokens that any sequence has: those that its record holds.
  std::vector<std::uint32_t> tokens;

  void add(SavedState state);
};

/// A row in the record of a block: the key or value of one layer, head and token, and behind it its
/// scale (int8, else 0 bytes).
struct SavedRow {
  Store::Part part;
  std::int64_t layer, head, token;
  std::size_t bytes, scale_bytes;
};

/// Calls f with the rows of a record, in their order.
template <class F>
void for_each_row(const KvCacheShape& shape, std::uint32_t tokens, F f) {
  const std::size_t element = size_of(shape.dtype), scale = scale_bytes(shape.dtype);
  for (std::int64_t layer = 0; layer < shape.num_layers; ++layer) {
    for (const Store::Part part : {Store::Part::kKey, Store::Part::kValue}) {
      const std::int64_t columns = part == Store::Part::kKey ? shape.head_dim : shape.value_dim;
      for (std::int64_t head = 0; head < shape.num_kv_heads; ++head) {
        for (std::int64_t token = 0; token < kBlockTokens; ++token) {
          if ((tokens >> token & 1U) == 0) continue;
          f(SavedRow{part, layer, head, token, static_cast<std::size_t>(columns) * element, scale});
        }
      }
    }
  }
}

/// Bytes of a block's record, without its checksum.
std::uint64_t record_bytes(const KvCacheShape& shape, std::uint32_t tokens);

std::vector<std::byte> encode_table(const SavedTable& table);
/// Throws std::runtime_error unless what the bytes say is possible; memory in proportion to them.
SavedTable decode_table(const std::filesystem::path& path, std::span<const std::byte> bytes,
                        std::uint32_t num_sequences);

}  // namespace regard::cache
