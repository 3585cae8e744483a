// tests/support/guarded_buffer.h - memory whose first byte too many is a crash.
#pragma once

#include <cstddef>
#include <cstdint>

namespace regard::test {

/// Which end of the numbers touches an inaccessible page.
enum class Flush : std::uint8_t { kEnd, kStart };

/// `size` floats between two PROT_NONE pages, the numbers flush to one of them. Reading or writing
/// past that end faults at the first element; past the other end within a page. `offset` floats are
/// left between numbers and page, for alignments that flushness alone does not give.
class GuardedBuffer {
 public:
  explicit GuardedBuffer(std::size_t size, Flush flush = Flush::kEnd, std::size_t offset = 0);
  ~GuardedBuffer();
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  float* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  void* map_ = nullptr;
  std::size_t map_bytes_ = 0;
  float* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace regard::test
