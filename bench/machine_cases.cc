// bench/machine_cases.cc - what do two threads bring, and how much memory does a long sequence
// take?
#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>

#include "bench/cases.h"
#include "bench/clock.h"
#include "bench/peak.h"

namespace regard::bench {
namespace {

ProblemShape long_shape(std::int64_t heads, std::int64_t length, std::int64_t head_dim,
                        bool causal) {
  const auto n = static_cast<double>(length);
  ProblemShape shape{.num_heads = heads,
                     .num_kv_heads = heads,
                     .q_len = length,
                     .kv_len = length,
                     .head_dim = head_dim,
                     .pairs = causal ? n * (n + 1) / 2 : n * n};
  if (causal) shape.mask = CausalMask{};
  return shape;
}

/// Seconds on one thread over seconds on two, against the same of the FMA peak; clock on the wall.
Prepared prepare_two_threads(const ProblemShape& shape) {
  if (default_num_threads() < 2) throw std::runtime_error("this process may use one CPU only");
  const std::shared_ptr<Executor> pool = make_thread_pool(2);
  const auto one = std::make_shared<Problem>(shape);
  const auto two = std::make_shared<Problem>(shape, *pool);
  one->run();
  two->run();
  return {.turn = [=]() -> Pair {
            const auto seconds = [](Problem& p) {
              return seconds_of(wall_seconds, kLeastSeconds, [&] { p.run(); });
            };
            const double speedup = seconds(*one) / seconds(*two);
            return {speedup, peak_flops(*pool) / peak_flops(serial_executor())};
          },
          .predicted =
              [=](const MachineLimits& limits, double speedup) {
                // Two cores bring what they bring to the peak, which on a shared machine is less
                // than 2.
                return speedup / 2 * one->plan().predict(limits).seconds /
                       two->plan().predict(limits).seconds;
              }};
}

Case two_threads_case(std::int64_t length, bool causal) {
  return {
      .name = "threads2.prefill.fp32.d128.n" + std::to_string(length) + (causal ? ".causal" : ""),
      .unit = "x",
      .prepare = [shape = long_shape(4, length, 128, causal)](const Context&) {
        return prepare_two_threads(shape);
      }};
}

/// Peak resident memory of this process in MiB since the last reset (Linux).
double peak_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  }
  throw std::runtime_error("/proc/self/status does not tell the peak of resident memory");
}

void reset_peak() {
  std::ofstream reset("/proc/self/clear_refs");
  if (!(reset << 5).flush()) throw std::runtime_error("cannot write /proc/self/clear_refs");
}

/// MiB that one call takes on all threads beyond inputs and output: what the system saw, or what
/// the plan says, whichever is more. Causal, because the whole square would take twice the time.
Prepared prepare_memory(const Context& context, std::int64_t length, std::int64_t heads) {
  const std::shared_ptr<Executor> pool = make_thread_pool(default_num_threads());
  const auto problem = std::make_shared<Problem>(long_shape(heads, length, 64, true), *pool);
  pool->parallel_for(pool->num_threads(), [](std::int64_t, int) {});  // its stacks are not ours
  return {[problem, pool, &stop = context.stop]() -> Pair {           // the plan needs its pool
    ::malloc_trim(0);  // what other cases freed must not be used unseen
    reset_peak();
    const double before = peak_mib();
    problem->run({.cancel = &stop});
    const double planned = static_cast<double>(problem->plan().workspace_bytes()) / (1 << 20);
    return {std::max(peak_mib() - before, planned), 64};
  }};
}

Case memory_case(std::int64_t length, std::int64_t heads) {
  return {.name = "memory.fp32.n" + std::to_string(length) + ".h" + std::to_string(heads),
          .unit = "MiB",
          .prepare = [=](const Context& context) { return prepare_memory(context, length, heads); },
          .takes_a_minute = true};
}

}  // namespace

void add_machine_cases(std::vector<Case>& cases) {
  for (const bool causal : {false, true}) cases.push_back(two_threads_case(4096, causal));
  cases.push_back(memory_case(65536, 8));
}

}  // namespace regard::bench
