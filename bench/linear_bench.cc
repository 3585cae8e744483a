// bench/linear_bench.cc - which share of the FMA peak does a linear layer reach on the score
// kernel, on one thread, and which OpenBLAS?
#include <dlfcn.h>

#include <cstdlib>
#include <vector>

#include "bench/peak.h"
#include "regard/regard.h"

namespace regard::bench {
namespace {

struct Sizes {
  std::int64_t rows, in, out;
  double flops() const { return 2.0 * static_cast<double>(rows * in * out); }
};

Sizes sizes(const benchmark::State& state) {
  return {state.range(0), state.range(1), state.range(2)};
}

std::vector<float> ramp(std::int64_t n) {
  std::vector<float> x(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 251) * 0.01f - 1.0f;
  return x;
}

void linear(benchmark::State& state) {
  const Sizes s = sizes(state);
  const std::vector<float> x = ramp(s.rows * s.in), weight = ramp(s.in * s.out);
  std::vector<float> y(static_cast<std::size_t>(s.rows * s.out));
  const Linear layer({weight.data(), {s.out, s.in}}, {});
  against_fma_peak(state, s.flops(), [&] {
    layer.run({x.data(), {s.rows, s.in}}, {y.data(), {s.rows, s.out}}, &serial_executor());
    benchmark::DoNotOptimize(y.data());
  });
}

/// The same product by the scipy-openblas32 wheel's library, when REGARD_OPENBLAS names it.
void openblas(benchmark::State& state) {
  using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int,
                         float, float*, int);
  const char* path = std::getenv("REGARD_OPENBLAS");
  void* library = path != nullptr ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (library == nullptr)
    return state.SkipWithMessage("REGARD_OPENBLAS does not name libscipy_openblas.so");
  const auto sgemm = reinterpret_cast<Sgemm>(dlsym(library, "scipy_cblas_sgemm"));
  const auto set_threads =
      reinterpret_cast<void (*)(int)>(dlsym(library, "scipy_openblas_set_num_threads"));
  if (sgemm == nullptr || set_threads == nullptr)
    return state.SkipWithError("not a scipy-openblas32 library");
  set_threads(1);
  const Sizes s = sizes(state);
  const int rows = static_cast<int>(s.rows), in = static_cast<int>(s.in),
            out = static_cast<int>(s.out);
  const std::vector<float> x = ramp(s.rows * s.in), weight = ramp(s.in * s.out);
  std::vector<float> y(static_cast<std::size_t>(s.rows * s.out));
  constexpr int kRowMajor = 101, kNoTrans = 111, kTrans = 112;
  against_fma_peak(state, s.flops(), [&] {
    sgemm(kRowMajor, kNoTrans, kTrans, rows, out, in, 1.0f, x.data(), in, weight.data(), in, 0.0f,
          y.data(), out);
    benchmark::DoNotOptimize(y.data());
  });
}

void model_sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"rows", "in", "out"})->UseManualTime()->Unit(benchmark::kMillisecond);
  for (const std::int64_t rows : {16, 128, 512}) {
    b->Args({rows, 384, 384})->Args({rows, 384, 1536})->Args({rows, 1536, 384});
  }
}
BENCHMARK(linear)->Apply(model_sizes);
BENCHMARK(openblas)->Apply(model_sizes);

}  // namespace
}  // namespace regard::bench
