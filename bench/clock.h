// bench/clock.h - the two clocks of a measurement.
#pragma once

#include <algorithm>
#include <chrono>
#include <ctime>
#include <limits>

namespace regard::bench {

inline double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// CPU seconds of this thread: what a neighbour takes from a single-threaded measurement does not
/// count.
inline double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

using Clock = double (*)();

/// Seconds of one call of `work`: the mean over as many calls as take `least` seconds.
template <class Work>
double seconds_of(Clock clock, double least, const Work& work) {
  const double begin = clock();
  double elapsed = 0;
  int calls = 0;
  do {
    work();
    ++calls;
    elapsed = clock() - begin;
  } while (elapsed < least);
  return elapsed / calls;
}

/// The same for a limit, which is what the machine does at best: the fastest call.
template <class Work>
double fastest_of(Clock clock, double least, const Work& work) {
  double best = std::numeric_limits<double>::infinity();
  for (const double end = clock() + least; clock() < end;) {
    best = std::min(best, seconds_of(clock, 0, work));
  }
  return best;
}

}  // namespace regard::bench
