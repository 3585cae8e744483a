// src/cache/file.h - a file that appears whole or not at all, and one that is read where asked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace regard::cache {

/// Throws std::runtime_error: "PATH: what".
[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what);

/// A file descriptor that is closed.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  /// What close() said: 0 or errno.
  int close();

 private:
  int fd_;
};

/// Written beside `target` under a name of its own, readable by the user alone; commit() flushes it
/// to the disk and gives it target's name. Whenever the process ends, target is what it was or the
/// new file, whole; without commit() it is what it was. A target that is there and no regular file
/// is refused. Errors: std::runtime_error that names target.
class NewFile {
 public:
  explicit NewFile(std::filesystem::path target);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void commit();

 private:
  int make_temporary();
  void flush();
  void put(std::span<const std::byte> bytes);
  [[noreturn]] void fail_errno(int error) const;

  std::filesystem::path target_;
  std::string name_;       // target's, in folder_
  Descriptor folder_;      // so that all names mean the same folder throughout
  std::string temporary_;  // in folder_; "" when there is none
  Descriptor file_;
  std::vector<std::byte> buffer_;
};

/// A regular file, as long as it was when it was opened.
class OldFile {
 public:
  explicit OldFile(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  /// The bytes from `begin` on; there must be so many.
  void read(std::uint64_t begin, std::span<std::byte> to) const;

 private:
  std::filesystem::path path_;
  Descriptor file_;
  std::uint64_t size_ = 0;
};

}  // namespace regard::cache
