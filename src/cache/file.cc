// src/cache/file.cc - files that are there whole or not at all, and files that are read at places.
#include "cache/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace regard::cache {
namespace {

constexpr std::size_t kBuffer = 1 << 20;

/// The folder that a file is in, as something that can be opened.
std::filesystem::path folder_of(const std::filesystem::path& path) {
  const auto folder = path.parent_path();
  return folder.empty() ? std::filesystem::path(".") : folder;
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  // A name that nobody else has, even another process with our number on another machine.
  std::string name = (folder_of(path_) / ("." + path_.filename().string() + ".XXXXXX")).string();
  fd_ = ::mkostemp(name.data(), O_CLOEXEC);  // 0600, O_EXCL
  if (fd_ < 0) fail("cannot be written");
  temporary_ = name;
  buffer_.reserve(kBuffer);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* doing) const {
  throw std::runtime_error(path_.string() + ": " + doing + ": " + std::strerror(errno));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (buffer_.size() + bytes.size() > kBuffer) flush();
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void AtomicFile::flush() {
  for (std::size_t done = 0; done < buffer_.size();) {
    const ssize_t some = ::write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (some < 0 && errno == EINTR) continue;
    if (some < 0) fail("cannot be written");
    done += static_cast<std::size_t>(some);
  }
  buffer_.clear();
}

void AtomicFile::commit() {
  flush();
  if (::fsync(fd_) != 0) fail("cannot be flushed to the disk");
  if (::close(std::exchange(fd_, -1)) != 0) fail("cannot be closed");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot be given its name");
  temporary_.clear();
  // The name itself must reach the disk too.
  const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) fail("its folder cannot be opened");
  const bool flushed = ::fsync(folder) == 0 || errno == EINVAL;  // some file systems cannot
  ::close(folder);
  if (!flushed) fail("its folder cannot be flushed to the disk");
}

ReadFile::ReadFile(std::filesystem::path path) : path_(std::move(path)) {
  // O_NONBLOCK: opening a pipe that nobody writes to must not wait.
  const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail(std::string("cannot be opened: ") + std::strerror(errno));
  struct stat status{};
  const bool known = ::fstat(fd, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    const std::string why = known ? "is not a regular file" : std::strerror(errno);
    ::close(fd);
    fail(why);
  }
  fd_ = fd;
  size_ = static_cast<std::uint64_t>(status.st_size);
}

ReadFile::~ReadFile() {
  if (fd_ >= 0) ::close(fd_);
}

void ReadFile::fail(const std::string& what) const {
  throw std::runtime_error(path_.string() + ": " + what);
}

void ReadFile::read(const char* what, std::span<std::byte> out) {
  if (out.size() > left()) {
    fail("ends at byte " + std::to_string(size_) + ", within " + what + " from byte " +
         std::to_string(at_));
  }
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(at_));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(std::string("cannot be read: ") + std::strerror(errno));
    if (got == 0) fail("became shorter while it was read");
    at_ += static_cast<std::uint64_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace regard::cache
