// tests/support/allocations.h - counts what the program allocates, and lets it fail.
#pragma once

#include <atomic>
#include <cstdint>

namespace regard::test {

/// False under sanitizers, which bring their own allocator: then nothing is counted or fails.
extern const bool kCountsAllocations;

extern std::atomic<std::int64_t> allocations;      ///< by operator new, on any thread
extern std::atomic<std::int64_t> allocated_bytes;  ///< and not freed yet

/// So many allocations succeed, then all fail; -1: none does.
extern std::atomic<std::int64_t> allocations_left;

/// Counts an allocation that operator new does not make; throws std::bad_alloc when it is to fail.
void count_allocation();

}  // namespace regard::test
