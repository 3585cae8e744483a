// cli/bench_report.cc - what regard bench found, for people and for programs.
#include "cli/bench_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/numbers.h"
#include "cli/unicode.h"
#include "regard/executor.h"
#include "regard/isa.h"

namespace regard::cli {
namespace {

using Json = nlohmann::ordered_json;
using bench::Row;

constexpr int kValueEnd = 49, kLimitEnd = 57, kRatioEnd = 64, kBarEnd = 71;  // columns of the table

std::string row_line(const Row& row, const Terminal& terminal) {
  const bool surpassed = row.met() && row.bar.surpassed(row.ratio());
  Line line(terminal);
  line.add("  " + row.name).add_right(number(row.value), kValueEnd);
  line.add_right(number(row.limit), kLimitEnd);
  line.add_right(number(row.ratio(), 2), kRatioEnd, Style::kBold);
  line.add_right(number(row.bar.bar, 2), kBarEnd);
  line.add(surpassed   ? "  beyond"
           : row.met() ? "  met"
                       : "  missed",
           row.met() ? Style::kPlain : Style::kBar);
  return line.str() + (row.note.empty() ? "" : "    (" + row.note + ")\n");
}

/// How well the plan knew: all that it missed, by name.
std::string prediction_lines(const BenchReport& report) {
  std::int64_t predicted = 0, well = 0;
  std::string missed;
  for (const Row& row : report.rows) {
    if (row.predicted <= 0) continue;
    ++predicted;
    well += row.is_predicted_well() ? 1 : 0;
    if (!row.is_predicted_well()) {
      missed += "  " + row.name + ": predicted " + number(row.predicted) + ", came " +
                number(row.value) + " " + row.unit + "\n";
    }
  }
  if (predicted == 0) return "";
  return "regard plan predicts the time of " + std::to_string(well) + " of " +
         std::to_string(predicted) + " cases within 30%\n" + missed;
}

}  // namespace

std::string machine_line(const MachineLimits& limits) {
  std::string line = printable(bench::cpu_name()) + ", " + active_isa() + ", " +
                     std::to_string(default_num_threads()) +
                     " threads; one core: " + number(limits.fma_flops * bench::kGiga) +
                     " GFLOP/s fp32";
  if (limits.dot_flops > 0) line += ", " + number(limits.dot_flops * bench::kGiga) + " bf16";
  line += ", reads " + number(limits.read_bytes_per_second * bench::kGiga) + " GB/s";
  if (limits.shared_read_bytes_per_second > 0)
    line += "; all read " + number(limits.shared_read_bytes_per_second * bench::kGiga);
  return line + "\n";
}

std::string bench_value(const Row& row) {
  return number(row.value) + " of " + number(row.limit) + " " + row.unit + ", " +
         number(row.ratio(), 2);
}

std::string bench_text(const BenchReport& report, const bench::Machine& machine,
                       const Terminal& terminal) {
  std::string text = machine_line(machine.limits());
  Line head(terminal);
  head.add_right("value", kValueEnd).add_right("limit", kLimitEnd).add_right("ratio", kRatioEnd);
  text += head.add_right("bar", kBarEnd).str();
  std::string work;
  for (const bench::Bar& bar : bench::bars()) {
    if (bar.work == work) continue;
    work = bar.work;
    std::string lines, unit;
    for (const Row& row : report.rows) {
      if (row.bar.work != work) continue;
      lines += row_line(row, terminal);
      unit = row.unit;
    }
    if (!lines.empty()) text += work + " (" + unit + ")\n" + lines;
  }
  for (const auto& [name, reason] : report.left_out) {
    text += "left out: " + name + ": " + printable(reason) + "\n";
  }
  const auto met = std::ranges::count_if(report.rows, &Row::met);
  text += prediction_lines(report);
  return text + std::to_string(met) + " of " + std::to_string(report.rows.size()) +
         " bars are met\n";
}

std::string bench_json(const BenchReport& report, const bench::Machine& machine) {
  Json rows = Json::array();
  for (const Row& row : report.rows) {
    Json json{{"case", row.name},   {"value", row.value},   {"unit", row.unit},
              {"limit", row.limit}, {"ratio", row.ratio()}, {"bar", row.bar.bar},
              {"met", row.met()}};
    if (row.predicted > 0) {
      json["predicted"] = row.predicted;
      json["predicted_ratio"] = row.predicted_ratio();
    }
    rows.push_back(std::move(json));
  }
  const auto dot = machine.median_dot();
  const Json json{{"schema", "regard.bench/1"},
                  {"machine",
                   {{"cpu", bench::cpu_name()},
                    {"isa", active_isa()},
                    {"threads", default_num_threads()},
                    {"fma_fp32_gflops", machine.median_fma() * bench::kGiga},
                    {"dot_bf16_gflops", dot ? Json(*dot * bench::kGiga) : Json(nullptr)},
                    {"read_gbs", machine.median_read() * bench::kGiga}}},
                  {"rows", rows}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace regard::cli
