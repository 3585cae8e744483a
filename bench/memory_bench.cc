// bench/memory_bench.cc - how much memory does a long sequence take beyond inputs and outputs?
#include <fstream>
#include <string>
#include <vector>

#include "bench/peak.h"
#include "regard/regard.h"

namespace regard::bench {
namespace {

/// Peak resident memory of this process in MiB since the last reset (Linux).
double peak_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

/// Arguments: length. 8 heads, head_dim 64, every thread. extra_mib is what the peak grew by during
/// the run; limit_mib is what it may.
void memory(benchmark::State& state) {
  const std::int64_t length = state.range(0), heads = 8, head_dim = 64;
  const std::array<std::int64_t, 4> shape{1, heads, length, head_dim};
  const auto size = static_cast<std::size_t>(heads * length * head_dim);
  const std::vector<float> query(size, 0.01f), key(size, 0.02f), value(size, 0.03f);
  std::vector<float> out(size, 0.0f);
  const double peak = measure_fma_peak(0.1) * default_executor().num_threads();
  double extra = 0;
  for (auto _ : state) {
    std::ofstream("/proc/self/clear_refs") << 5;  // resets the peak
    const double before = peak_mib(), begin = seconds();
    attention({query.data(), shape}, {key.data(), shape}, {value.data(), shape},
              {out.data(), shape});
    state.SetIterationTime(seconds() - begin);
    extra = std::max(extra, peak_mib() - before);
    state.counters["ratio"] =
        4.0 * static_cast<double>(length * length * heads * head_dim) / (seconds() - begin) / peak;
  }
  state.counters["extra_mib"] = extra;
  state.counters["limit_mib"] = 64;
  state.counters["peak_gflops"] = peak * 1e-9;
}

BENCHMARK(memory)->ArgNames({"n"})->Arg(32768)->Iterations(1)->UseManualTime()->Unit(
    benchmark::kMillisecond);

}  // namespace
}  // namespace regard::bench
