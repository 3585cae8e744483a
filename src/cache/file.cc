// src/cache/file.cc - a file that appears whole or not at all, and one that is read where asked.
#include "cache/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace regard::cache {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;
/// What killed processes may have left under names that this one could take.
constexpr int kMostStale = 10'000;

int open_folder(const std::filesystem::path& target) {
  const std::filesystem::path folder = target.parent_path();
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail(target, std::string("its folder cannot be opened: ") + std::strerror(errno));
  return fd;
}

int fsync_all(int fd) {
  int done = 0;
  do {
    done = ::fsync(fd);
  } while (done != 0 && errno == EINTR);
  return done;
}

}  // namespace

void fail(const std::filesystem::path& path, const std::string& what) {
  throw std::runtime_error(path.string() + ": " + what);
}

Descriptor::~Descriptor() { close(); }

int Descriptor::close() {
  const int fd = std::exchange(fd_, -1);
  // Interrupted or not, it is closed.
  return fd < 0 || ::close(fd) == 0 || errno == EINTR ? 0 : errno;
}

NewFile::NewFile(std::filesystem::path target)
    : target_(std::move(target)),
      name_(target_.filename().string()),
      folder_(open_folder(target_)),
      file_(make_temporary()) {}

NewFile::~NewFile() {
  if (!temporary_.empty()) ::unlinkat(folder_.get(), temporary_.c_str(), 0);
}

int NewFile::make_temporary() {
  struct stat status{};
  if (name_.empty()) fail(target_, "is no name of a file");
  if (::fstatat(folder_.get(), name_.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
      !S_ISREG(status.st_mode))
    fail(target_, "is there and no regular file");
  static std::atomic<std::uint64_t> counter{0};
  for (int attempt = 0; attempt < kMostStale; ++attempt) {
    std::string name =
        ".regard-" + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1));
    const int fd = ::openat(folder_.get(), name.c_str(),
                            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) continue;  // a killed process with our number left it
    if (fd < 0) fail_errno(errno);
    temporary_ = std::move(name);
    return fd;
  }
  fail_errno(EEXIST);
}

void NewFile::write(std::span<const std::byte> bytes) {
  if (buffer_.size() + bytes.size() > kBufferBytes) flush();
  if (bytes.size() > kBufferBytes) return put(bytes);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void NewFile::flush() {
  put(buffer_);
  buffer_.clear();
}

void NewFile::put(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail_errno(written < 0 ? errno : EIO);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void NewFile::commit() {
  flush();
  if (fsync_all(file_.get()) != 0) fail_errno(errno);
  if (const int error = file_.close(); error != 0) fail_errno(error);
  if (::renameat(folder_.get(), temporary_.c_str(), folder_.get(), name_.c_str()) != 0)
    fail_errno(errno);
  temporary_.clear();
  // Not every file system can flush a folder.
  if (fsync_all(folder_.get()) != 0 && errno != EINVAL)
    fail(target_, std::string("is written, but its folder cannot be flushed to the disk: ") +
                      std::strerror(errno));
}

void NewFile::fail_errno(int error) const {
  fail(target_, std::string("cannot be written: ") + std::strerror(error));
}

OldFile::OldFile(std::filesystem::path path)
    : path_(std::move(path)),
      // A pipe without a writer must not hold us up.
      file_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  struct stat status{};
  if (file_.get() < 0 || ::fstat(file_.get(), &status) != 0)
    fail(path_, std::string("cannot be opened: ") + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(path_, "is not a regular file");
  size_ = static_cast<std::uint64_t>(status.st_size);
}

void OldFile::read(std::uint64_t begin, std::span<std::byte> to) const {
  while (!to.empty()) {
    const ssize_t got = ::pread(file_.get(), to.data(), to.size(), static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path_, std::string("cannot be read: ") + std::strerror(errno));
    if (got == 0) fail(path_, "became shorter while it was read");
    begin += static_cast<std::uint64_t>(got);
    to = to.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace regard::cache
