// bench/limits.h - a machine's limits in half a second, for a prediction.
#pragma once

#include "regard/cost.h"

namespace regard::bench {

/// One core's, and what the memory gives to so many threads together, 0 where there are fewer CPUs
/// or one thread. Half a second of one core, up to
/// 256 MiB of memory for its time.
MachineLimits measure_limits(int num_threads);

}  // namespace regard::bench
