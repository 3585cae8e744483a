// tests/support/allocations.cc - operator new and delete of the whole program.
#include "support/allocations.h"

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <new>

// Sanitizers bring their own allocator and check that new and delete are its pair.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define REGARD_COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define REGARD_COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef REGARD_COUNTS_ALLOCATIONS
#define REGARD_COUNTS_ALLOCATIONS 1
#endif

namespace regard::test {

constexpr bool kCounts = REGARD_COUNTS_ALLOCATIONS != 0;
const bool kCountsAllocations = kCounts;
std::atomic<std::int64_t> allocations{0};
std::atomic<std::int64_t> allocated_bytes{0};
std::atomic<std::int64_t> allocations_left{-1};

void count_allocation() {
  ++allocations;
  if (allocations_left.load() < 0) return;
  if (allocations_left.load() == 0) throw std::bad_alloc();
  --allocations_left;
}

}  // namespace regard::test

#if REGARD_COUNTS_ALLOCATIONS
namespace {

void* counted(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  regard::test::allocated_bytes += static_cast<std::int64_t>(malloc_usable_size(memory));
  return memory;
}

void release(void* memory) {
  regard::test::allocated_bytes -= static_cast<std::int64_t>(malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace

// Not inlined: the compiler would think free() a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  regard::test::count_allocation();
  return counted(std::malloc(std::max<std::size_t>(size, 1)));
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  regard::test::count_allocation();
  const auto align = static_cast<std::size_t>(alignment);
  return counted(std::aligned_alloc(align, (size + align - 1) / align * align));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { release(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { release(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  release(memory);
}
#endif
