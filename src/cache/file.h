// src/cache/file.h - files that are there whole or not at all, and files that are read at places.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace regard::cache {

/// Written beside `path`, flushed to the disk and renamed to it by commit(); without that, gone.
/// Readable by its owner alone. Errors are std::runtime_error: "PATH: WHAT".
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void commit();

 private:
  void flush();
  [[noreturn]] void fail(const char* doing) const;

  std::filesystem::path path_, temporary_;
  std::vector<std::byte> buffer_;
  int fd_ = -1;
};

/// Opened for reading; the same errors.
class ReadFile {
 public:
  explicit ReadFile(std::filesystem::path path);
  ~ReadFile();
  ReadFile(const ReadFile&) = delete;
  ReadFile& operator=(const ReadFile&) = delete;

  std::uint64_t size() const { return size_; }
  std::uint64_t at() const { return at_; }
  std::uint64_t left() const { return size_ - at_; }
  /// The next bytes. What: for the error of a file that is too short.
  void read(const char* what, std::span<std::byte> out);
  [[noreturn]] void fail(const std::string& what) const;

 private:
  std::filesystem::path path_;
  std::uint64_t size_ = 0, at_ = 0;
  int fd_ = -1;
};

}  // namespace regard::cache
