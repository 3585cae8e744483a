// cli/bench.cc - regard bench: the engine against this machine's own limits, measured in turns.
#include "bench/bench.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <optional>

#include "cli/bench_report.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/suggest.h"
#include "cli/unicode.h"

namespace regard::cli {
namespace {

constexpr const char* kFooter = R"(
A ratio is what the engine did over what this machine can do, both measured one
right after the other, on one thread by its CPU time: multiply-adds in
registers, the same with pairs of bf16, or the fastest of several loops that
read the case's own keys and values. docs/benchmarks.md says more; so does
./dev bench --peers, which puts other libraries beside regard.
All cases take some six minutes and up to 2 GiB. Ctrl-C ends with what there is.

Examples:
  regard bench
  regard bench --quick --case "decode.*"
  regard bench --case "prefill.fp32.d128.*" --case "rows.*" --json bench.json
)";
constexpr double kQuickSeconds = 0.3;
constexpr double kMostSeconds = 3600;

struct BenchOptions {
  std::vector<std::string> patterns;
  std::string json;
  bool list = false;
  bench::Options measuring;

  bool parse(std::span<const char* const> arguments);
};

double seconds_from(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || !(value > 0 && value <= kMostSeconds)) {
    throw UsageError("--seconds is \"" + printable(text) +
                     "\", expected a number above 0, at most 3600");
  }
  return value;
}

bool BenchOptions::parse(std::span<const char* const> arguments) {
  CLI::App app{"Measure the engine against this machine's own limits.", "regard bench"};
  app.footer(kFooter);
  std::string seconds;
  app.add_option("--case", patterns, "Only these cases, a pattern of --list: \"decode.bf16.*\"")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  app.add_flag("--quick", measuring.leave_out_long,
               "A tenth of the time, without what takes a minute");
  app.add_option("--seconds", seconds, "Time to measure each case: 3, or 0.3 with --quick")
      ->type_name("S");
  app.add_option("--json", json, "Write JSON too; - is standard output, alone")->type_name("FILE");
  app.add_flag("--list", list, "Print the names of the cases and measure nothing");
  if (!cli::parse(app, arguments)) return false;
  if (measuring.leave_out_long) measuring.seconds = kQuickSeconds;
  if (!seconds.empty()) measuring.seconds = seconds_from(seconds);
  return true;
}

/// The cases that some pattern names, all without patterns.
std::vector<bench::Case> choose(const std::vector<std::string>& patterns) {
  std::vector<bench::Case> cases = bench::all_cases();
  std::vector<std::string> names;
  for (const bench::Case& each : cases) names.push_back(each.name);
  for (const std::string& pattern : patterns) {
    const auto fits = [&](const auto& name) { return bench::matches(pattern.c_str(), name); };
    if (std::ranges::any_of(names, fits)) continue;
    const std::string meant = did_you_mean(pattern, names);
    throw UsageError("--case " + printable(pattern) + " is no case" +
                     (meant.empty() ? "; regard bench --list prints all" : meant));
  }
  if (patterns.empty()) return cases;
  std::erase_if(cases, [&](const bench::Case& each) {
    return std::ranges::none_of(patterns, [&](const std::string& pattern) {
      return bench::matches(pattern.c_str(), each.name);
    });
  });
  return cases;
}

std::atomic<bool> interrupted{false};
void (*previous_handler)(int) = SIG_DFL;

/// The first Ctrl-C ends the measuring, a second one the command.
class StopOnInterrupt {
 public:
  StopOnInterrupt() {
    previous_handler = std::signal(SIGINT, [](int) {
      interrupted = true;
      std::signal(SIGINT, previous_handler);
    });
  }
  ~StopOnInterrupt() { std::signal(SIGINT, previous_handler); }
  StopOnInterrupt(const StopOnInterrupt&) = delete;
  StopOnInterrupt& operator=(const StopOnInterrupt&) = delete;
};

/// Progress on standard error: one line that changes on a terminal, a line for each case elsewhere.
class Progress {
 public:
  explicit Progress(std::size_t count) : count_(count) {}
  ~Progress() {
    if (terminal_) std::fputs("\r\033[K", stderr);
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void begins(const bench::Case& each) {
    ++number_;
    if (terminal_) std::fprintf(stderr, "\r\033[K%zu/%zu %s", number_, count_, each.name.c_str());
  }
  void ends(const std::string& name, const std::string& what) const {
    if (terminal_) return;
    std::fprintf(stderr, "%zu/%zu %s: %s\n", number_, count_, name.c_str(),
                 printable(what).c_str());
  }

 private:
  bool terminal_ = ::isatty(STDERR_FILENO) != 0;
  std::size_t count_, number_ = 0;
};

BenchReport measure(std::span<const bench::Case> cases, const bench::Options& options,
                    bench::Machine& machine) {
  BenchReport report;
  const StopOnInterrupt stop;
  Progress progress(cases.size());
  bench::Observer observer;
  observer.begins = [&](const bench::Case& each) { progress.begins(each); };
  observer.measured = [&](const bench::Row& row) {
    progress.ends(row.name, bench_value(row));
    report.rows.push_back(row);
  };
  observer.left_out = [&](const bench::Case& each, const std::string& reason) {
    progress.ends(each.name, "left out: " + reason);
    report.left_out.emplace_back(each.name, reason);
  };
  bench::run(cases, options, {machine, interrupted}, observer);
  return report;
}

}  // namespace

void bench(std::span<const char* const> arguments) {
  BenchOptions options;
  if (!options.parse(arguments)) return;
  const std::vector<bench::Case> cases = choose(options.patterns);
  if (options.list) {
    std::string names;
    for (const bench::Case& each : cases) names += each.name + "\n";
    return print(names);
  }
  std::optional<Output> json;
  if (!options.json.empty()) json.emplace(options.json);
  bench::Machine machine;
  const BenchReport report = measure(cases, options.measuring, machine);
  if (json) {
    json->write(bench_json(report, machine));
    json->commit();
  }
  if (options.json != "-") print(bench_text(report, machine, standard_output()));
  if (interrupted) {
    throw std::runtime_error("interrupted after " + std::to_string(report.rows.size()) + " of " +
                             std::to_string(cases.size()) + " cases");
  }
}

}  // namespace regard::cli
