// cli/plan_report.h - what regard plan found, for people and for programs.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/terminal.h"
#include "regard/attention.h"
#include "regard/cost.h"

namespace regard::cli {

/// A computation that was planned and not run.
struct Planned {
  AttentionShape shape;
  std::string mask;  ///< as it describes itself
  std::int64_t q_offset = 0;
  PlanCost cost;
  Prediction predicted;

  /// Of one head of one sequence.
  double per_head(double x) const { return x / static_cast<double>(shape.batch * shape.num_heads); }
};

/// A prompt of so many tokens, and the step that adds the last of them to a cache of all others.
struct TableRow {
  Planned prompt, step;
  double causal_pairs;  ///< of one head, were the mask causal
};

/// A line for each prompt, below 80 columns, and what the mask and grouped heads save.
std::string plan_table(std::span<const TableRow> rows, const Terminal& terminal);

/// Schema regard.plan/1 (docs/plan.schema.json).
std::string plan_json(std::span<const Planned> plans, const MachineLimits& limits);

}  // namespace regard::cli
