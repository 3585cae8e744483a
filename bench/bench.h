// bench/bench.h - regard bench: cases and limits measured in turns, one row for each case.
#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <string>

#include "bench/bars.h"
#include "bench/cases.h"

namespace regard::bench {

/// How far a predicted time may be from the measured one.
inline constexpr double kPredictionError = 0.3;

/// The turn whose ratio is the median of all turns of a case.
struct Row {
  std::string name, unit;
  double value = 0, limit = 0;
  Bar bar = {};
  std::string note = {};
  double predicted = 0;  ///< value, by the plan and the machine's limits; 0: it does not say

  double ratio() const { return value / limit; }
  bool met() const { return bar.met(ratio()); }
  /// Predicted time over measured time, the other way round for a speed-up.
  double predicted_ratio() const { return value / predicted; }
  bool is_predicted_well() const {
    return predicted_ratio() >= 1 - kPredictionError && predicted_ratio() <= 1 + kPredictionError;
  }
};

struct Options {
  double seconds = 3;           ///< to measure one case; preparing it comes on top
  bool leave_out_long = false;  ///< cases that take a minute
};

/// Told as it happens.
struct Observer {
  std::function<void(const Case&)> begins = [](const Case&) {};
  std::function<void(const Row&)> measured = [](const Row&) {};
  /// The engine refuses the problem, the machine has not what it takes, or it takes too long.
  std::function<void(const Case&, const std::string& reason)> left_out = [](const Case&,
                                                                            const std::string&) {};
};

/// Measures the cases one after the other until `stop` becomes true; the case that is then under
/// way counts if it had a turn.
void run(std::span<const Case> cases, const Options& options, const Context& context,
         const Observer& observer);

}  // namespace regard::bench
