// cli/plan_options.h - the arguments of regard plan, checked.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "regard/attention.h"
#include "regard/cost.h"

namespace regard::cli {

struct PlanOptions {
  AttentionShape shape;
  AnyMask mask;
  std::optional<std::int64_t> q_offset;
  int threads = 1;
  bool table = false;
  std::optional<MachineLimits> limits;  ///< given by hand
  std::string json;

  /// False when help was asked for and has been printed. Throws UsageError.
  bool parse(std::span<const char* const> arguments);
};

}  // namespace regard::cli
