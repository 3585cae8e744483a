// bench/peak.cc - the arithmetic that this machine can do at best.
#include "bench/peak.h"

#include "kernels/kernels.h"

namespace regard::bench {
namespace {

constexpr std::int64_t kRounds = 20'000;            // some 0.1 ms
constexpr std::int64_t kManyRounds = 50 * kRounds;  // waking a thread takes 1 % of it at most
constexpr double kSeconds = 0.003;

const kernels::Arithmetic& arithmetic(DType dtype) {
  const kernels::KernelTable& table = *kernels::supported_tables().front();
  return dtype == DType::kBf16 && table.bf16 != nullptr ? *table.bf16 : *table.f32;
}

}  // namespace

bool has_bf16_dot() { return &arithmetic(DType::kBf16) != &arithmetic(DType::kF32); }

double peak_flops(DType dtype) {
  const auto peak = arithmetic(dtype).peak;
  double flops = 0;
  const double seconds = fastest_of(cpu_seconds, kSeconds, [&] { flops = peak(kRounds); });
  return flops / seconds;
}

double peak_flops(Executor& executor) {
  const auto peak = arithmetic(DType::kF32).peak;
  const int threads = executor.num_threads();
  const double flops = peak(1) * kManyRounds * threads;
  const double seconds = fastest_of(wall_seconds, 5 * kSeconds, [&] {
    executor.parallel_for(threads, [&](std::int64_t, int) { peak(kManyRounds); });
  });
  return flops / seconds;
}

}  // namespace regard::bench
