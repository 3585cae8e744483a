// tests/fuzz/safetensors_fuzz.cc - any bytes as a safetensors file: read or refused, never a crash.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "regard/model/safetensors.h"

namespace {

using namespace regard::model;

/// What the parser promises of the tensors it lets through.
void check(const TensorMap& tensors, std::uint64_t file_bytes) {
  std::uint64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.begin > tensor.end || tensor.end > file_bytes) std::abort();
    for (const std::int64_t extent : tensor.shape) {
      if (extent < 0) std::abort();
    }
    bytes += tensor.end - tensor.begin;
  }
  if (bytes > file_bytes) std::abort();  // they overlap
}

void read_file(const std::uint8_t* data, std::size_t size) {
  static const int fd = ::memfd_create("fuzz", 0);
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, data, size, 0) != static_cast<ssize_t>(size))
    std::abort();
  const SafetensorsFile file("/proc/self/fd/" + std::to_string(fd));
  check(file.tensors(), size);
  for (const auto& [name, tensor] : file.tensors()) {
    try {
      file.read_f32(name, tensor.shape);
    } catch (const std::runtime_error&) {
    }
  }
}

template <class Run>
void one_line_or_nothing(const Run& run) {
  try {
    run();
  } catch (const std::runtime_error& error) {
    if (std::string(error.what()).find('\n') != std::string::npos) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  one_line_or_nothing([&] { read_file(data, size); });
  // The bytes as a header alone, in a file with room for as much again: the fuzzer need not guess
  // the length.
  const std::string_view header(reinterpret_cast<const char*>(data), size);
  const std::uint64_t file_bytes = 8 + 2 * size;
  one_line_or_nothing(
      [&] { check(parse_safetensors_header(header, file_bytes, "fuzz"), file_bytes); });
  return 0;
}
