// cli/output.cc - standard output, or a file that is there whole or not at all.
#include "cli/output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace regard::cli {
namespace {

constexpr std::size_t kBufferBytes = 1 << 16;

// Names of unfinished files, for the signal handler: plain memory, because little else is safe
// there.
struct Slot {
  volatile std::sig_atomic_t used = 0;
  char path[PATH_MAX] = {};
};
std::array<Slot, 8> unfinished;

void remove_unfinished_and_end(int signal) {
  for (const Slot& slot : unfinished) {
    if (slot.used != 0) ::unlink(slot.path);
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

int remember(const std::string& path) {
  for (std::size_t i = 0; path.size() < PATH_MAX && i < unfinished.size(); ++i) {
    Slot& slot = unfinished[i];
    if (slot.used != 0) continue;
    std::memcpy(slot.path, path.c_str(), path.size() + 1);
    slot.used = 1;
    return static_cast<int>(i);
  }
  return -1;
}

void forget(int slot) {
  if (slot >= 0) unfinished[static_cast<std::size_t>(slot)].used = 0;
}

}  // namespace

Output::Output(std::string path) : path_(std::move(path)) {
  buffer_.reserve(kBufferBytes);
  if (path_ == "-") {
    fd_ = STDOUT_FILENO;
  } else {
    open_target();
  }
}

Output::~Output() {
  if (fd_ > STDERR_FILENO) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  forget(slot_);
}

void Output::open_target() {
  if (path_.empty()) throw std::runtime_error("an output file has no name, expected a path or -");
  struct stat status{};
  const bool exists = ::stat(path_.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) fail(EISDIR);
  if (exists && !S_ISREG(status.st_mode)) {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd_ < 0) fail(errno);
    return;
  }
  if (exists && ::access(path_.c_str(), W_OK) != 0) fail(errno);
  std::error_code error;
  target_ = std::filesystem::weakly_canonical(path_, error).string();
  if (error) fail(error.value());
  open_temporary(exists ? status.st_mode & 07777 : 0);
}

void Output::open_temporary(unsigned mode) {
  const auto folder = std::filesystem::path(target_).parent_path();
  for (int attempt = 0; attempt < 100 && fd_ < 0; ++attempt) {
    const std::string name =
        (folder / (".regard-" + std::to_string(::getpid()) + "-" + std::to_string(attempt)))
            .string();
    slot_ = remember(name);
    fd_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    const int error = errno;
    if (fd_ >= 0) {
      temporary_ = name;
      if (mode != 0) ::fchmod(fd_, mode);
      return;
    }
    forget(slot_);
    slot_ = -1;
    if (error != EEXIST) fail(error);
  }
  fail(EEXIST);
}

void Output::write(std::string_view text) {
  if (buffer_.size() + text.size() > kBufferBytes) flush();
  buffer_ += text;
}

void Output::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t written = ::write(fd_, rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {  // somebody made our standard output non-blocking
      pollfd ready{.fd = fd_, .events = POLLOUT, .revents = 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      fail(errno);
    }
  }
  buffer_.clear();
}

void Output::commit() {
  flush();
  if (fd_ == STDOUT_FILENO)
    return;  // closed by the system at exit, with nothing of ours left in it
  // Some file systems report a full disk only here.
  if (!temporary_.empty() && ::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) fail(errno);
  const int closed = ::close(fd_);
  fd_ = -1;
  if (closed != 0) fail(errno);
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail(errno);
  temporary_.clear();
}

void Output::fail(int error) const {
  if (error == EPIPE) throw ClosedPipe{};
  const std::string name = path_ == "-" ? "standard output" : path_;
  throw std::runtime_error("cannot write " + name + ": " + std::strerror(error));
}

OutputStream::Buffer::int_type OutputStream::Buffer::overflow(int_type c) {
  if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
  const char byte = traits_type::to_char_type(c);
  output.write({&byte, 1});
  return c;
}

std::streamsize OutputStream::Buffer::xsputn(const char* text, std::streamsize size) {
  output.write({text, static_cast<std::size_t>(size)});
  return size;
}

void prepare_process() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // Opened the wrong way round: using it still fails.
    if (::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) std::_Exit(1);
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action{};
    ::sigaction(signal, nullptr, &action);
    if (action.sa_handler == SIG_IGN) continue;  // nohup
    action.sa_handler = remove_unfinished_and_end;
    action.sa_flags = 0;
    ::sigfillset(&action.sa_mask);
    ::sigaction(signal, &action, nullptr);
  }
}

}  // namespace regard::cli
