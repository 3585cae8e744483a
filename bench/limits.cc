// bench/limits.cc - a machine's limits in half a second, for a prediction.
#include "bench/limits.h"

#include <algorithm>
#include <vector>

#include "bench/buffer.h"
#include "bench/machine.h"
#include "bench/peak.h"
#include "bench/read_loops.h"

namespace regard::bench {
namespace {

constexpr std::int64_t kMostBytes = std::int64_t{256} << 20;

/// Bytes/s of `num_threads` threads that read at the same time, each its own part, as `loops` does.
double shared_read(const Buffer& memory, const ReadLoops& loops, int num_threads) {
  const auto threads = static_cast<std::size_t>(num_threads);
  const std::size_t part = memory.bytes().size() / threads / 128 * 64;
  std::vector<double> rates(threads);
  make_thread_pool(num_threads)->parallel_for(num_threads, [&](std::int64_t task, int) {
    const std::size_t i = static_cast<std::size_t>(task), begin = 2 * i * part;
    const ReadLoops own(
        {memory.bytes().subspan(begin, part), memory.bytes().subspan(begin + part, part)}, loops);
    rates[i] = own.bytes_per_second();
  });
  double sum = 0;
  for (const double rate : rates) sum += rate;
  return sum;
}

}  // namespace

MachineLimits measure_limits(int num_threads) {
  const std::int64_t bytes = std::min(beyond_cache_bytes(), kMostBytes);
  const Buffer memory = random_numbers(DType::kF32, bytes / 4);
  const auto half = memory.bytes().size() / 2;
  const ReadLoops loops({memory.bytes().first(half), memory.bytes().subspan(half)});
  MachineLimits limits{.fma_flops = peak_flops(DType::kF32),
                       .dot_flops = has_bf16_dot() ? peak_flops(DType::kBf16) : 0,
                       .read_bytes_per_second = loops.bytes_per_second()};
  // More threads than CPUs are another machine's, whose memory we do not know.
  if (num_threads > 1 && num_threads <= default_num_threads())
    limits.shared_read_bytes_per_second =
        std::max(limits.read_bytes_per_second, shared_read(memory, loops, num_threads));
  return limits;
}

}  // namespace regard::bench
