// cli/bench_report.h - what regard bench found, for people and for programs.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/bench.h"
#include "cli/terminal.h"

namespace regard::cli {

struct BenchReport {
  std::vector<bench::Row> rows;
  std::vector<std::pair<std::string, std::string>> left_out;  // case, reason
};

/// The CPU's name and its limits, with the line's end.
std::string machine_line(const MachineLimits& limits);

/// Cases of the same work together, each with its share of the limit and whether that is enough.
std::string bench_text(const BenchReport& report, const bench::Machine& machine,
                       const Terminal& terminal);

/// Schema regard.bench/1 (docs/bench.schema.json).
std::string bench_json(const BenchReport& report, const bench::Machine& machine);

/// "21.3 of 25.1 GB/s"
std::string bench_value(const bench::Row& row);

}  // namespace regard::cli
