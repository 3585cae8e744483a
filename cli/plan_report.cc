// cli/plan_report.cc - what regard plan found, for people and for programs.
#include "cli/plan_report.h"

#include <nlohmann/json.hpp>

#include "bench/cases.h"
#include "bench/machine.h"
#include "cli/numbers.h"
#include "cli/unicode.h"
#include "regard/executor.h"
#include "regard/isa.h"

namespace regard::cli {
namespace {

using Json = nlohmann::ordered_json;

// Columns of the table: where each ends.
constexpr int kTokens = 6, kPairs = 13, kCausal = 20, kMask = 27, kFlops = 34, kAllHeads = 43,
              kKvHeads = 52, kStepRead = 61, kPrompt = 70, kStep = 79;

std::string percent(double share) { return number(100 * share, share < 0.0995 ? 1 : 0) + "%"; }

std::string heads(std::int64_t n) { return std::to_string(n) + (n == 1 ? " head" : " heads"); }

std::string table_head(const AttentionShape& s, const Terminal& terminal) {
  Line above(terminal), head(terminal);
  above.add_right("pairs of a head", kMask).add_right("FLOPs", kFlops);
  above.add_right("cache of", kAllHeads).add_right("cache of", kKvHeads);
  above.add_right("a step", kStepRead).add_right("time of", kPrompt).add_right("time of", kStep);
  head.add_right("tokens", kTokens).add_right("all", kPairs).add_right("causal", kCausal);
  head.add_right("masked", kMask).add_right("", kFlops);
  head.add_right(heads(s.num_heads), kAllHeads).add_right(heads(s.num_kv_heads), kKvHeads);
  head.add_right("reads", kStepRead).add_right("prompt", kPrompt).add_right("a step", kStep);
  return above.str() + head.str();
}

double cache_of_all_heads(const Planned& p) {
  const std::int64_t group = p.shape.num_heads / p.shape.num_kv_heads;
  return p.cost.cache_bytes * static_cast<double>(group);
}

std::string table_line(const TableRow& row, const Terminal& terminal) {
  const Planned& prompt = row.prompt;
  Line line(terminal);
  line.add_right(tokens_number(static_cast<double>(prompt.shape.kv_len)), kTokens, Style::kBold);
  line.add_right(tokens_number(prompt.per_head(prompt.cost.pairs)), kPairs);
  line.add_right(tokens_number(row.causal_pairs), kCausal);
  line.add_right(tokens_number(prompt.per_head(prompt.cost.allowed_pairs)), kMask);
  line.add_right(with_prefix(prompt.cost.useful_flops), kFlops);
  line.add_right(bytes_number(cache_of_all_heads(prompt)), kAllHeads);
  line.add_right(bytes_number(prompt.cost.cache_bytes), kKvHeads);
  line.add_right(bytes_number(row.step.cost.read_bytes), kStepRead);
  line.add_right(time_number(prompt.predicted.seconds), kPrompt);
  line.add_right(time_number(row.step.predicted.seconds), kStep);
  return line.str();
}

/// What the last row shows that the others lead to.
std::string savings(const TableRow& last) {
  const PlanCost& cost = last.prompt.cost;
  const AttentionShape& s = last.prompt.shape;
  const std::string at = " at " + tokens_number(static_cast<double>(s.kv_len)) + " tokens";
  const double masked = last.prompt.per_head(cost.allowed_pairs);
  std::string text;
  if (masked < last.causal_pairs)
    text += "the mask leaves " + percent(masked / last.causal_pairs) + " of the causal pairs" + at +
            "\na step then reads " + percent(last.step.cost.read_bytes / cost.cache_bytes) +
            " of the cache\n";
  if (s.num_kv_heads < s.num_heads)
    text += std::to_string(s.num_kv_heads) + " key and value heads instead of " +
            std::to_string(s.num_heads) + " keep " +
            percent(static_cast<double>(s.num_kv_heads) / static_cast<double>(s.num_heads)) +
            " of the cache\n";
  return text;
}

Json problem_json(const Planned& p) {
  const AttentionShape& s = p.shape;
  return {{"batch", s.batch},
          {"heads", s.num_heads},
          {"kv_heads", s.num_kv_heads},
          {"q", s.q_len},
          {"kv", s.kv_len},
          {"q_offset", p.q_offset},
          {"head_dim", s.head_dim},
          {"value_dim", s.value_dim},
          {"dtype", name_of(s.query_dtype)},
          {"kv_dtype", name_of(s.key_dtype)},
          {"mask", p.mask}};
}

Json cost_json(const PlanCost& c) {
  return {
      {"pairs", c.pairs},
      {"allowed_pairs", c.allowed_pairs},
      {"computed_pairs", c.computed_pairs},
      {"tiles", {{"full", c.tiles.full}, {"partial", c.tiles.partial}, {"empty", c.tiles.empty}}},
      {"exact", c.is_exact},
      {"useful_flops", c.useful_flops},
      {"computed_flops", c.computed_flops},
      {"cache_bytes", c.cache_bytes},
      {"read_bytes", c.read_bytes},
      {"workspace_bytes", c.workspace_bytes}};
}

Json planned_json(const Planned& p) {
  return {{"problem", problem_json(p)},
          {"cost", cost_json(p.cost)},
          {"predicted",
           {{"seconds", p.predicted.seconds},
            {"compute_seconds", p.predicted.compute_seconds},
            {"read_seconds", p.predicted.read_seconds},
            {"binds", p.predicted.reading_binds() ? "reading" : "arithmetic"}}}};
}

Json rate(double per_second) {
  return per_second > 0 ? Json(per_second * bench::kGiga) : Json(nullptr);
}

}  // namespace

std::string plan_table(std::span<const TableRow> rows, const Terminal& terminal) {
  const Planned& first = rows.front().prompt;
  const AttentionShape& s = first.shape;
  std::string text = heads(s.num_heads) + " over " + std::to_string(s.num_kv_heads) +
                     ", head_dim " + std::to_string(s.head_dim) + ", " + name_of(s.query_dtype);
  if (s.key_dtype != s.query_dtype) text += std::string(", cache in ") + name_of(s.key_dtype);
  if (s.batch > 1) text += ", " + std::to_string(s.batch) + " sequences";
  text += ", " + std::to_string(first.cost.threads) +
          (first.cost.threads == 1 ? " thread" : " threads") +
          "\nmasked: " + printable(first.mask) + "\n\n" + table_head(s, terminal);
  for (const TableRow& row : rows) text += table_line(row, terminal);
  text +=
      "\nA step adds the last token to a cache of all others. Tokens and pairs: K, M, B\n"
      "are powers of 1024. FLOPs: useful ones, all heads. Times are predicted.\n";
  return text + savings(rows.back());
}

std::string plan_json(std::span<const Planned> plans, const MachineLimits& limits) {
  Json all = Json::array();
  for (const Planned& planned : plans) all.push_back(planned_json(planned));
  const Json json{{"schema", "regard.plan/1"},
                  {"machine",
                   {{"cpu", bench::cpu_name()},
                    {"isa", active_isa()},
                    {"threads", plans.front().cost.threads},
                    {"fma_fp32_gflops", rate(limits.fma_flops)},
                    {"dot_bf16_gflops", rate(limits.dot_flops)},
                    {"read_gbs", rate(limits.read_bytes_per_second)},
                    {"shared_read_gbs", rate(limits.shared_read_bytes_per_second)}}},
                  {"plans", all}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace regard::cli
