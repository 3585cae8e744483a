// bench/read_loops.cc - how fast this machine reads memory at best.
#include "bench/read_loops.h"

#include <algorithm>
#include <array>
#include <utility>

#include "bench/clock.h"

namespace regard::bench {
namespace {

// GNU vectors rather than Highway: the loop must not be the kernels' own, and eight loads are all
// it is.
using Line = unsigned __attribute__((vector_size(64), aligned(64), may_alias));
constexpr std::size_t kStep = 4 * sizeof(Line);  // of each stream in turn

/// Exclusive or of all lines of up to four streams of equal length.
template <int kStreams>
[[gnu::always_inline]] inline unsigned read_streams(const std::array<const std::byte*, 4>& streams,
                                                    std::size_t bytes, std::size_t prefetch) {
  Line sum[4] = {};
  for (std::size_t i = 0; i < bytes; i += kStep) {
    for (int s = 0; s < kStreams; ++s) {
      const std::byte* const from = streams[static_cast<std::size_t>(s)] + i;
      if (prefetch != 0) {
        for (std::size_t line = 0; line < 4; ++line) {
          __builtin_prefetch(from + prefetch + 64 * line);
        }
      }
      const Line* const lines = reinterpret_cast<const Line*>(from);
      for (int line = 0; line < 4; ++line) sum[line] ^= lines[line];
    }
  }
  const Line total = (sum[0] ^ sum[1]) ^ (sum[2] ^ sum[3]);
  return total[0];
}

[[gnu::always_inline]] inline unsigned read_any(const std::array<const std::byte*, 4>& streams,
                                                std::size_t bytes, int num_streams,
                                                std::size_t prefetch) {
  if (num_streams == 4) return read_streams<4>(streams, bytes, prefetch);
  if (num_streams == 2) return read_streams<2>(streams, bytes, prefetch);
  return read_streams<1>(streams, bytes, prefetch);
}

using Read = unsigned (*)(const std::array<const std::byte*, 4>&, std::size_t, int, std::size_t);

unsigned read_plain(const std::array<const std::byte*, 4>& streams, std::size_t bytes,
                    int num_streams, std::size_t prefetch) {
  return read_any(streams, bytes, num_streams, prefetch);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] unsigned read_avx2(const std::array<const std::byte*, 4>& streams,
                                           std::size_t bytes, int num_streams,
                                           std::size_t prefetch) {
  return read_any(streams, bytes, num_streams, prefetch);
}

[[gnu::target("avx512f")]] unsigned read_avx512(const std::array<const std::byte*, 4>& streams,
                                                std::size_t bytes, int num_streams,
                                                std::size_t prefetch) {
  return read_any(streams, bytes, num_streams, prefetch);
}

Read widest_read() {
  if (__builtin_cpu_supports("avx512f")) return read_avx512;
  if (__builtin_cpu_supports("avx2")) return read_avx2;
  return read_plain;
}
#else
Read widest_read() { return read_plain; }
#endif

volatile unsigned sink;  // so that the loads are not left out

}  // namespace

ReadLoops::ReadLoops(std::vector<Bytes> buffers) : buffers_(std::move(buffers)) {
  std::vector<std::pair<double, Loop>> tried;
  for (const int streams : {1, 2, 4}) {
    for (const unsigned kib : {0U, 1U, 2U, 4U, 8U, 16U}) {
      const Loop loop{streams, std::size_t{kib} << 10};
      tried.emplace_back(std::max(run(loop), run(loop)), loop);
    }
  }
  std::ranges::sort(tried, std::ranges::greater{}, [](const auto& each) { return each.first; });
  best_ = {tried[0].second, tried[1].second};
}

ReadLoops::ReadLoops(std::vector<Bytes> buffers, const ReadLoops& winners)
    : buffers_(std::move(buffers)), best_(winners.best_) {}

double ReadLoops::bytes_per_second() const { return std::max(run(best_[0]), run(best_[1])); }

/// Streams begin at equal distances in each pair of buffers (keys and values): one of each with two
/// streams, two of each with four.
double ReadLoops::run(Loop loop) const {
  static const Read read = widest_read();
  const auto per_buffer = static_cast<std::size_t>(std::max(1, loop.streams / 2));
  const std::size_t together = loop.streams == 1 ? 1 : 2;
  double total = 0;
  const double begin = cpu_seconds();
  for (std::size_t b = 0; b + together <= buffers_.size(); b += together) {
    std::array<const std::byte*, 4> streams{};
    const std::size_t bytes = buffers_[b].size() / per_buffer / kStep * kStep;
    for (std::size_t s = 0; s < together * per_buffer; ++s) {
      streams[s] = buffers_[b + s / per_buffer].data() + s % per_buffer * bytes;
    }
    sink = read(streams, bytes, loop.streams, loop.prefetch_bytes);
    total += static_cast<double>(bytes * together * per_buffer);
  }
  return total / (cpu_seconds() - begin);
}

}  // namespace regard::bench
