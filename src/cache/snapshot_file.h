// src/cache/snapshot_file.h - a cache's file, opened and held to what it says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cache/file.h"
#include "cache/snapshot_format.h"

namespace regard::cache {

/// The rows of a block's tokens, as for_each_row() has them.
struct Record {
  std::uint32_t block;
  std::uint32_t tokens;  ///< a bit for each of its 16
  std::span<const std::byte> bytes;
};

/// A file whose header and table are right and fit the cache. Everything that is wrong is a
/// std::runtime_error that says where.
class SnapshotFile {
 public:
  SnapshotFile(const std::filesystem::path& path, const KvCacheShape& shape);

  const SavedTable& table() const { return table_; }
  /// Calls f(Record) for each block in the file's order, when its record has been verified.
  template <class F>
  void for_each_record(F f) const {
    Place at{sizeof(FileHeader) + header_.table_bytes + kChecksumBytes, crc_};
    for (std::uint32_t block = 0; block < table_.tokens.size(); ++block) {
      const std::vector<std::byte> bytes = read_record(block, at);
      f(Record{block, table_.tokens[block], bytes});
    }
  }

 private:
  /// Where reading has got to, and the checksum of all before.
  struct Place {
    std::uint64_t byte;
    std::uint32_t crc;
  };
  void read_header(Place& at);
  void check_shape() const;
  void read_table(Place& at);
  void check_size() const;
  std::vector<std::byte> read_record(std::uint32_t block, Place& at) const;
  void check_scales(const Record& record, std::uint64_t begin) const;
  /// So many bytes, which their checksum follows.
  std::vector<std::byte> read_checked(std::uint64_t bytes, const std::string& what,
                                      Place& at) const;

  OldFile file_;
  const KvCacheShape& shape_;
  FileHeader header_;
  SavedTable table_;
  std::uint32_t crc_ = 0;  // of the header and the table
};

}  // namespace regard::cache
