// bench/read_loops.h - how fast this machine reads memory at best.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace regard::bench {

using Bytes = std::span<const std::byte>;

/// Reads every byte of some buffers once, by the fastest of several loops: one, two or four streams
/// at a time, without prefetches and with them at several distances.
class ReadLoops {
 public:
  /// Tries all loops. The buffers (64-byte aligned; what is left of a multiple of 1 KiB is not
  /// read) must outlive this.
  explicit ReadLoops(std::vector<Bytes> buffers);
  /// Tries nothing: by the loops that won for other buffers.
  ReadLoops(std::vector<Bytes> buffers, const ReadLoops& winners);

  /// Bytes/s on the calling thread now, of the better of the two loops that won at construction.
  double bytes_per_second() const;

 private:
  struct Loop {
    int streams;
    std::size_t prefetch_bytes;  // 0: none
  };
  double run(Loop loop) const;

  std::vector<Bytes> buffers_;
  std::vector<Loop> best_;
};

}  // namespace regard::bench
