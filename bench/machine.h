// bench/machine.h - this machine: its names, its sizes, and its limits as they were measured.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/read_loops.h"
#include "regard/cost.h"
#include "regard/dtype.h"

namespace regard::bench {

/// "AMD EPYC 9654", or "unknown CPU".
std::string cpu_name();

/// Bytes of the last-level cache; 32 MiB where the system does not say.
std::int64_t last_level_cache_bytes();

/// What is larger than the cache: 4 times it, at most 1 GiB.
std::int64_t beyond_cache_bytes();

/// Measures limits on one core and remembers what it saw: the medians are the machine's.
class Machine {
 public:
  /// Measures each limit a few times, for rates that no case asks for: 1 s, beyond_cache_bytes() of
  /// memory for a moment.
  Machine();

  double flops(DType dtype);                  ///< FLOP/s now, see peak_flops()
  double bytes(const ReadLoops& read_loops);  ///< bytes/s now

  double median_fma() const;
  std::optional<double> median_dot() const;  ///< absent where the CPU does not multiply bf16 pairs
  double median_read() const;
  /// The medians, for Plan::predict.
  MachineLimits limits() const;

 private:
  std::vector<double> fma_, dot_, read_;
};

/// The middle one, the lower of two. `values` is not empty.
double median(std::vector<double> values);

}  // namespace regard::bench
