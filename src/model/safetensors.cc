// src/model/safetensors.cc - an open safetensors file: its length, its header, reading tensors.
#include "regard/model/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "model/json.h"
#include "model/layers.h"

namespace regard::model {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw std::runtime_error(path.string() + ": " + what);
}

std::string shape_text(std::span<const std::int64_t> shape) {
  constexpr std::size_t kShown = 8;  // a hostile shape may have millions of extents
  std::string text = "(";
  for (std::size_t i = 0; i < std::min(shape.size(), kShown); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + (shape.size() > kShown ? ", ...)" : ")");
}

/// Reads [begin, begin + bytes) of the file.
void read_bytes(int fd, const std::filesystem::path& path, std::uint64_t begin, char* out,
                std::uint64_t bytes) {
  while (bytes > 0) {
    const ssize_t got = ::pread(fd, out, bytes, static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path, std::string("cannot be read: ") + std::strerror(errno));
    if (got == 0) fail(path, "became shorter while it was read");
    begin += static_cast<std::uint64_t>(got);
    out += got;
    bytes -= static_cast<std::uint64_t>(got);
  }
}

std::uint64_t regular_file_size(int fd, const std::filesystem::path& path) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) fail(path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(path, "is not a regular file");
  return static_cast<std::uint64_t>(status.st_size);
}

TensorMap read_header(int fd, const std::filesystem::path& path) {
  const std::uint64_t file_bytes = regular_file_size(fd, path);
  if (file_bytes < kLengthBytes) {
    fail(path,
         "is " + std::to_string(file_bytes) + " bytes, expected at least 8 (the header's length)");
  }
  std::array<char, kLengthBytes> raw{};
  read_bytes(fd, path, 0, raw.data(), raw.size());
  const auto header_bytes = std::bit_cast<std::uint64_t>(raw);
  const std::uint64_t most = std::min(file_bytes - kLengthBytes, kMaxHeaderBytes);
  if (header_bytes > most) {
    fail(path, "header length is " + std::to_string(header_bytes) + ", expected at most " +
                   std::to_string(most) +
                   (most < kMaxHeaderBytes ? " (what the file holds)" : " (the format's limit)"));
  }
  std::string header(header_bytes, '\0');
  read_bytes(fd, path, kLengthBytes, header.data(), header_bytes);
  return parse_safetensors_header(header, file_bytes, path.string());
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path) {
  // O_NONBLOCK: opening a pipe that nobody writes to must not wait. It changes nothing for a
  // regular file.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) fail(path, std::string("cannot be opened: ") + std::strerror(errno));
  try {
    tensors_ = read_header(fd_, path_);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() {
  if (fd_ >= 0) ::close(fd_);
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : path_(std::move(other.path_)),
      tensors_(std::move(other.tensors_)),
      fd_(std::exchange(other.fd_, -1)) {}

SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(tensors_, other.tensors_);
  std::swap(fd_, other.fd_);
  return *this;
}

const TensorInfo& SafetensorsFile::expect_f32(std::string_view name,
                                              std::span<const std::int64_t> shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    fail(path_, "tensor " + in_quotes(name) + " is missing, expected F32 " + shape_text(shape));
  }
  const TensorInfo& tensor = found->second;
  if (tensor.dtype != "F32" || !std::ranges::equal(tensor.shape, shape)) {
    fail(path_, "tensor " + in_quotes(name) + " is " + tensor.dtype + " " +
                    shape_text(tensor.shape) + ", expected F32 " + shape_text(shape));
  }
  return tensor;
}

void SafetensorsFile::read_f32(std::string_view name, std::span<const std::int64_t> shape,
                               std::span<float> out) const {
  const TensorInfo& tensor = expect_f32(name, shape);
  if (out.size_bytes() != tensor.end - tensor.begin) {
    fail(path_, "tensor " + in_quotes(name) + " has " + std::to_string(tensor.end - tensor.begin) +
                    " bytes, expected " + std::to_string(out.size_bytes()));
  }
  read_bytes(fd_, path_, tensor.begin, reinterpret_cast<char*>(out.data()), out.size_bytes());
  if (!all_finite(out)) {
    const auto bad = std::ranges::find_if_not(out, [](float x) { return std::isfinite(x); });
    fail(path_, "tensor " + in_quotes(name) + " holds " + std::to_string(*bad) + " at element " +
                    std::to_string(bad - out.begin()) + ", expected finite numbers");
  }
}

std::vector<float> SafetensorsFile::read_f32(std::string_view name,
                                             std::span<const std::int64_t> shape) const {
  const TensorInfo& tensor = expect_f32(name, shape);
  std::vector<float> out((tensor.end - tensor.begin) / sizeof(float));
  read_f32(name, shape, out);
  return out;
}

}  // namespace regard::model
