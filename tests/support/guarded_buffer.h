// tests/support/guarded_buffer.h - memory whose first byte too many is a crash.
#pragma once

#include <cstddef>
#include <cstdint>

namespace regard::test {

/// Which end of the numbers touches an inaccessible page.
enum class Flush : std::uint8_t { kEnd, kStart };

/// `size` elements between two PROT_NONE pages, flush to one of them. Reading or writing past that
/// end faults at the first element; past the other end within a page. `offset` elements are left
/// between them and the page, for alignments that flushness alone does not give. An element is a
/// float, unless element_bytes says otherwise.
class GuardedBuffer {
 public:
  explicit GuardedBuffer(std::size_t size, Flush flush = Flush::kEnd, std::size_t offset = 0,
                         std::size_t element_bytes = sizeof(float));
  ~GuardedBuffer();
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  float* data() const { return static_cast<float*>(begin_); }
  void* begin() const { return begin_; }
  std::size_t size() const { return size_; }

 private:
  void* map_ = nullptr;
  std::size_t map_bytes_ = 0;
  void* begin_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace regard::test
