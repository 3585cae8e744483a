// cli/plan.cc - regard plan: what an attention computation costs, before it runs.
#include "regard/plan.h"

#include <optional>

#include "bench/limits.h"
#include "cli/bench_report.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/plan_options.h"
#include "cli/plan_report.h"

namespace regard::cli {
namespace {

constexpr std::int64_t kTableLengths[] = {1 << 10, 1 << 12, 1 << 14, 1 << 15, 1 << 16, 1 << 17};

/// So many threads that nobody starts.
class Imagined final : public Executor {
 public:
  explicit Imagined(int num_threads) : num_threads_(num_threads) {}
  int num_threads() const override { return num_threads_; }
  void parallel_for(std::int64_t num_tasks, const Task& task) override {
    serial_executor().parallel_for(num_tasks, task);
  }

 private:
  int num_threads_;
};

class Planner {
 public:
  Planner(const PlanOptions& options, const MachineLimits& limits)
      : options_(options), limits_(limits), executor_(options.threads) {}

  /// Queries are the last ones of the keys unless the command line says otherwise.
  std::int64_t q_offset(const AttentionShape& shape) const {
    return options_.q_offset.value_or(shape.kv_len - shape.q_len);
  }
  Plan plan(const AttentionShape& shape) {
    AttentionOptions attention;
    attention.mask = options_.mask;
    attention.q_offset = q_offset(shape);
    attention.executor = &executor_;
    return Plan(shape, attention);
  }
  Planned planned(const AttentionShape& shape, const Plan& plan) const {
    return {shape, options_.mask.describe(), q_offset(shape), plan.cost(), plan.predict(limits_)};
  }
  Planned planned(const AttentionShape& shape) { return planned(shape, plan(shape)); }

  TableRow row(std::int64_t tokens) {
    AttentionShape shape = options_.shape;
    shape.q_len = shape.kv_len = tokens;
    const Planned prompt = planned(shape);
    shape.q_len = 1;
    const auto n = static_cast<double>(tokens);
    return {prompt, planned(shape), n * (n + 1) / 2};
  }

 private:
  const PlanOptions& options_;
  const MachineLimits& limits_;
  Imagined executor_;
};

/// Where the queries lie, when nobody said it and it is not plain.
std::string position_note(const PlanOptions& options, std::int64_t q_offset) {
  const AttentionShape& s = options.shape;
  if (options.q_offset || options.mask.is_full() || s.q_len == s.kv_len) return "";
  return "positions: queries begin at " + std::to_string(q_offset) +
         ", so that they end where the keys do; --q-offset moves them\n";
}

struct Report {
  std::vector<Planned> plans;
  std::string text;
};

Report report_table(Planner& planner) {
  Report report;
  std::vector<TableRow> rows;
  for (const std::int64_t tokens : kTableLengths) {
    rows.push_back(planner.row(tokens));
    report.plans.push_back(rows.back().prompt);
    report.plans.push_back(rows.back().step);
  }
  report.text = plan_table(rows, standard_output());
  return report;
}

Report report_one(const PlanOptions& options, Planner& planner, const MachineLimits& limits) {
  const Plan plan = planner.plan(options.shape);
  return {{planner.planned(options.shape, plan)},
          plan.explain(limits) + position_note(options, planner.q_offset(options.shape))};
}

}  // namespace

void plan(std::span<const char* const> arguments) {
  PlanOptions options;
  if (!options.parse(arguments)) return;
  std::optional<Output> json;
  if (!options.json.empty()) json.emplace(options.json);
  const MachineLimits limits =
      options.limits ? *options.limits : bench::measure_limits(options.threads);
  Planner planner(options, limits);
  const Report report =
      options.table ? report_table(planner) : report_one(options, planner, limits);
  if (json) {
    json->write(plan_json(report.plans, limits));
    json->commit();
  }
  if (options.json == "-") return;
  print((options.limits ? "" : machine_line(limits)) + report.text);
}

}  // namespace regard::cli
