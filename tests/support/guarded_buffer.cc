// tests/support/guarded_buffer.cc - mmap, with a page taken away at both ends.
#include "support/guarded_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace regard::test {

GuardedBuffer::GuardedBuffer(std::size_t size, Flush flush, std::size_t offset,
                             std::size_t element_bytes)
    : size_(size) {
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t bytes = (size + offset) * element_bytes;
  const std::size_t inner = (bytes + page - 1) / page * page;
  map_bytes_ = inner + 2 * page;
  map_ = mmap(nullptr, map_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map_ == MAP_FAILED) throw std::bad_alloc();
  char* const begin = static_cast<char*>(map_) + page;
  if (inner > 0 && mprotect(begin, inner, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
  begin_ = flush == Flush::kEnd ? begin + inner - bytes : begin + offset * element_bytes;
}

GuardedBuffer::~GuardedBuffer() { munmap(map_, map_bytes_); }

}  // namespace regard::test
