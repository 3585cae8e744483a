// src/model/input_file.h - a regular file that is read at places, whatever happens to it meanwhile.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace regard::model {

/// Opened for reading. Errors are std::runtime_error: "PATH: WHAT". Reading is thread safe; a file
/// that shrinks meanwhile is an error, and not a signal as with memory that is mapped.
class InputFile {
 public:
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(InputFile&&) noexcept;
  InputFile& operator=(InputFile&&) noexcept;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  /// Bytes [begin, begin + bytes).
  void read(std::uint64_t begin, void* out, std::uint64_t bytes) const;
  [[noreturn]] void fail(const std::string& what) const;

 private:
  std::filesystem::path path_;
  std::uint64_t size_ = 0;
  int fd_ = -1;
};

}  // namespace regard::model
