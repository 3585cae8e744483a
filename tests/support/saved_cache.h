// tests/support/saved_cache.h - files of caches, and files changed on purpose (without gtest, for
// fuzzing).
#pragma once

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "regard/kv_cache.h"

namespace regard::test {

/// A folder of the test's own, removed with all that is in it.
class TempFolder {
 public:
  /// In `parent`, which may be where nothing goes to a disk.
  explicit TempFolder(const std::filesystem::path& parent = std::filesystem::temp_directory_path());
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::filesystem::path operator/(const char* name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }
  /// Names in it, sorted.
  std::vector<std::string> names() const;

 private:
  std::filesystem::path path_;
};

std::string read_bytes(const std::filesystem::path& path);
void write_bytes(const std::filesystem::path& path, const std::string& bytes);

/// What f throws as std::runtime_error, or "nothing thrown".
template <class F>
std::string failure(F f) {
  try {
    f();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "nothing thrown";
}

/// Length, evicted range and every bit of every token that is there, scales included.
std::string contents(const PagedKvCache& cache, PagedKvCache::Sequence sequence);

/// Every checksum and the length that the header says made right again, as far as the file is to be
/// understood: what somebody would do who means harm.
std::string with_right_checksums(std::string bytes, const KvCacheShape& shape);

}  // namespace regard::test
