// bench/peak.h - the machine's own limit, measured beside every figure.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <vector>

#include "kernels/kernels.h"

namespace regard::bench {

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// CPU seconds of this thread: what a neighbour takes from a single-threaded measurement does not
/// count.
inline double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// FLOP/s of register-resident multiply-adds on one core, best kernel table, over about `budget`
/// seconds.
inline double measure_fma_peak(double budget) {
  const kernels::KernelTable& table = *kernels::supported_tables().front();
  double best = 0;
  for (const double end = cpu_seconds() + budget; cpu_seconds() < end;) {
    const double begin = cpu_seconds();
    const double flops = table.f32->peak(20'000);
    best = std::max(best, flops / (cpu_seconds() - begin));
  }
  return best;
}

/// Times `work` (`flops` operations, one thread) and the FMA peak in turns, so that a noisy
/// neighbour or a clock that moves hits both; reports medians: gflops, peak_gflops, and ratio, the
/// median of the pairs' ratios.
template <class Work>
void against_fma_peak(benchmark::State& state, double flops, Work work) {
  std::vector<double> rates, peaks, ratios;
  work();  // caches and pages warm
  for (auto _ : state) {
    const double peak = measure_fma_peak(0.003);
    const double begin = cpu_seconds();
    work();
    const double time = cpu_seconds() - begin;
    state.SetIterationTime(time);
    rates.push_back(flops / time);
    peaks.push_back(peak);
    ratios.push_back(flops / time / peak);
  }
  const auto median = [](std::vector<double>& v) {
    std::ranges::sort(v);
    return v[v.size() / 2];
  };
  state.counters["gflops"] = median(rates) * 1e-9;
  state.counters["peak_gflops"] = median(peaks) * 1e-9;
  state.counters["ratio"] = median(ratios);
}

}  // namespace regard::bench
