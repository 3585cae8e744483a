// bench/prefill_bench.cc - which share of the machine's FMA peak does attention over a whole prompt
// reach, on one thread?
#include <random>
#include <vector>

#include "bench/peak.h"
#include "regard/regard.h"

namespace regard::bench {
namespace {

std::vector<float> random_numbers(std::int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& v : x) v = normal(generator);
  return x;
}

/// Arguments: head_dim, length, causal. FLOPs are the useful ones: 4 D per pair that the mask
/// allows.
void prefill(benchmark::State& state) {
  const std::int64_t head_dim = state.range(0), length = state.range(1),
                     heads = length < 1024 ? 8 : 2;
  const bool causal = state.range(2) != 0;
  const std::int64_t size = heads * length * head_dim;
  const std::vector<float> query = random_numbers(size, 1), key = random_numbers(size, 2);
  const std::vector<float> value = random_numbers(size, 3);
  std::vector<float> out(static_cast<std::size_t>(size));
  const std::array<std::int64_t, 4> shape{1, heads, length, head_dim};

  AttentionOptions options;
  if (causal) options.mask = CausalMask{};
  options.executor = &serial_executor();
  const Plan plan({.batch = 1,
                   .num_heads = heads,
                   .num_kv_heads = heads,
                   .q_len = length,
                   .kv_len = length,
                   .head_dim = head_dim,
                   .value_dim = head_dim},
                  options);
  const double pairs = static_cast<double>(causal ? length * (length + 1) / 2 : length * length);
  against_fma_peak(state, 4.0 * pairs * static_cast<double>(head_dim * heads), [&] {
    plan.run({query.data(), shape}, {key.data(), shape}, {value.data(), shape},
             {out.data(), shape});
    benchmark::DoNotOptimize(out.data());
  });
  state.SetLabel(plan.isa());
}

BENCHMARK(prefill)
    ->ArgNames({"d", "n", "causal"})
    ->ArgsProduct({{32, 64, 128}, {128, 512, 2048}, {0, 1}})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace regard::bench
