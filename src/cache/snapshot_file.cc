// src/cache/snapshot_file.cc - a cache's file, opened and held to what it says.
#include "cache/snapshot_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cache/crc32c.h"
#include "cache/text.h"

namespace regard::cache {
namespace {

std::string range_text(std::uint64_t begin, std::uint64_t bytes) {
  return "bytes " + std::to_string(begin) + ".." + std::to_string(begin + bytes - 1);
}

std::string dtype_text(std::uint32_t dtype) {
  return dtype > static_cast<std::uint32_t>(DType::kI8) ? std::to_string(dtype)
                                                        : name_of(static_cast<DType>(dtype));
}

}  // namespace

SnapshotFile::SnapshotFile(const std::filesystem::path& path, const KvCacheShape& shape)
    : file_(path), shape_(shape) {
  Place at{0, 0};
  read_header(at);
  check_shape();
  read_table(at);
  check_size();
  crc_ = at.crc;
}

void SnapshotFile::read_header(Place& at) {
  constexpr std::size_t kLeast = sizeof(FileHeader) + kChecksumBytes;
  if (file_.size() < kLeast)
    fail(file_.path(), "has " + std::to_string(file_.size()) + " bytes, expected at least " +
                           std::to_string(kLeast));
  file_.read(0, std::as_writable_bytes(std::span(&header_, 1)));
  if (header_.magic != FileHeader::kMagic)
    fail(file_.path(), "byte 0: is no key/value cache, expected \"" +
                           std::string(FileHeader::kMagic.begin(), FileHeader::kMagic.end()) + '"');
  if (header_.version != FileHeader::kVersion)
    fail(file_.path(), "byte " + std::to_string(offsetof(FileHeader, version)) + ": version is " +
                           std::to_string(header_.version) + ", expected " +
                           std::to_string(FileHeader::kVersion));
  read_checked(offsetof(FileHeader, checksum), "the header", at);
  if (header_.file_bytes != file_.size())
    fail(file_.path(), "has " + std::to_string(file_.size()) + " bytes, expected " +
                           std::to_string(header_.file_bytes) + " (its header's)");
}

void SnapshotFile::check_shape() const {
  const auto check = [&](const char* what, std::uint64_t came, std::int64_t wanted) {
    if (came != static_cast<std::uint64_t>(wanted))
      fail(file_.path(), std::string(what) + " is " + std::to_string(came) + ", expected " +
                             std::to_string(wanted) + " (the cache's)");
  };
  if (header_.dtype != static_cast<std::uint32_t>(shape_.dtype))
    fail(file_.path(), "dtype is " + dtype_text(header_.dtype) + ", expected " +
                           name_of(shape_.dtype) + " (the cache's)");
  check("num_layers", header_.num_layers, shape_.num_layers);
  check("num_kv_heads", header_.num_kv_heads, shape_.num_kv_heads);
  check("head_dim", header_.head_dim, shape_.head_dim);
  check("value_dim", header_.value_dim, shape_.value_dim);
}

void SnapshotFile::read_table(Place& at) {
  const std::uint64_t most =
      std::min(kMostTableBytes, file_.size() - sizeof header_ - kChecksumBytes);
  if (header_.table_bytes > most)
    fail(file_.path(), "byte " + std::to_string(offsetof(FileHeader, table_bytes)) +
                           ": table_bytes is " + std::to_string(header_.table_bytes) +
                           ", expected at most " + std::to_string(most));
  const std::vector<std::byte> bytes = read_checked(header_.table_bytes, "the table", at);
  table_ = decode_table(file_.path(), bytes, header_.num_sequences);
  if (table_.fingerprint != shape_.fingerprint)
    fail(file_.path(), "fingerprint is " + in_quotes(table_.fingerprint) + ", expected " +
                           in_quotes(shape_.fingerprint) + " (the cache's)");
}

void SnapshotFile::check_size() const {
  std::uint64_t bytes = sizeof header_ + header_.table_bytes + kChecksumBytes;
  for (const std::uint32_t tokens : table_.tokens) {
    bytes += record_bytes(shape_, tokens) + kChecksumBytes;
    if (bytes > file_.size()) break;  // long before it overflows
  }
  if (bytes != file_.size())
    fail(file_.path(), "has " + std::to_string(file_.size()) + " bytes, expected " +
                           (bytes > file_.size() ? "at least " : "") + std::to_string(bytes) +
                           " (its table's)");
}

std::vector<std::byte> SnapshotFile::read_record(std::uint32_t block, Place& at) const {
  const std::uint64_t begin = at.byte;
  const std::uint32_t tokens = table_.tokens[block];
  std::vector<std::byte> bytes =
      read_checked(record_bytes(shape_, tokens), "block " + std::to_string(block), at);
  if (shape_.dtype == DType::kI8) check_scales({block, tokens, bytes}, begin);
  return bytes;
}

void SnapshotFile::check_scales(const Record& record, std::uint64_t begin) const {
  std::size_t at = 0;
  for_each_row(shape_, record.tokens, [&](const SavedRow& row) {
    float scale = 0;
    at += row.bytes;
    std::memcpy(&scale, record.bytes.data() + at, sizeof scale);
    if (!std::isfinite(scale) || scale < 0)
      fail(file_.path(), "byte " + std::to_string(begin + at) + ": a scale of block " +
                             std::to_string(record.block) + " is " + std::to_string(scale) +
                             ", expected a finite number, 0 or more");
    at += row.scale_bytes;
  });
}

std::vector<std::byte> SnapshotFile::read_checked(std::uint64_t bytes, const std::string& what,
                                                  Place& at) const {
  std::vector<std::byte> got(static_cast<std::size_t>(bytes + kChecksumBytes));
  file_.read(at.byte, got);
  std::uint32_t stored = 0;
  std::memcpy(&stored, got.data() + bytes, sizeof stored);
  got.resize(static_cast<std::size_t>(bytes));
  at.crc = crc32c(got, at.crc);
  if (at.crc != stored)
    fail(file_.path(), range_text(at.byte, bytes + kChecksumBytes) + ": " + what +
                           " is damaged, its checksum is " + std::to_string(at.crc) +
                           ", expected " + std::to_string(stored));
  at.byte += bytes + kChecksumBytes;
  return got;
}

}  // namespace regard::cache
