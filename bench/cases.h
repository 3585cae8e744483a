// bench/cases.h - what is measured: names, inputs, and one turn of a case and of its limit.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "bench/machine.h"
#include "bench/problem.h"

namespace regard::bench {

/// One turn: what regard did and what the machine did, measured one right after the other.
struct Pair {
  double value, limit;
};

struct Prepared {
  std::function<Pair()> turn;
  std::string note = {};  ///< what a reader of the result must know; "" mostly
  /// The value that the plan predicts for a machine with such limits, where the turn's own limit
  /// was `limit`; empty where it does not.
  std::function<double(const MachineLimits& limits, double limit)> predicted = {};
};

struct Context {
  Machine& machine;
  const std::atomic<bool>& stop;  ///< somebody waits for the end
};

struct Case {
  std::string name;  ///< kind.dtype.sizes, unique
  std::string unit;  ///< of value and limit
  /// Allocates and warms up. Throws what the engine throws for a problem that it refuses.
  std::function<Prepared(const Context&)> prepare;
  bool takes_a_minute = false;
};

/// All cases, in the order of the table of bars.
std::vector<Case> all_cases();

void add_prefill_cases(std::vector<Case>& cases);  // prefill_cases.cc
void add_cache_cases(std::vector<Case>& cases);    // cache_cases.cc: decode, rows
void add_page_cases(std::vector<Case>& cases);     // page_cases.cc: decode from pages, int8
void add_window_cases(std::vector<Case>& cases);   // window_cases.cc
void add_machine_cases(std::vector<Case>& cases);  // machine_cases.cc: threads, memory

constexpr double kGiga = 1e-9;
/// A turn repeats work shorter than this.
constexpr double kLeastSeconds = 0.005;

/// "fp32", "bf16", "fp16": the field's words.
std::string name_in_case(DType dtype);

/// CPU seconds of one run on this thread, all copies once; their mean.
double run_seconds(Problem& problem);

}  // namespace regard::bench
