// bench/prefill_cases.cc - which share of the peak does attention over a whole prompt reach?
#include <memory>
#include <string>

#include "bench/cases.h"

namespace regard::bench {
namespace {

ProblemShape prefill_shape(DType dtype, std::int64_t head_dim, std::int64_t length, bool causal) {
  const std::int64_t heads = length < 1024 ? 8 : 2;
  const auto n = static_cast<double>(length);
  ProblemShape shape{.dtype = dtype,
                     .num_heads = heads,
                     .num_kv_heads = heads,
                     .q_len = length,
                     .kv_len = length,
                     .head_dim = head_dim,
                     .pairs = causal ? n * (n + 1) / 2 : n * n};
  if (causal) shape.mask = CausalMask{};
  return shape;
}

/// Useful FLOP/s against the peak of the arithmetic that the storage type allows: pairs of bf16
/// where the CPU multiplies them, else float32.
Prepared prepare(const Context& context, const ProblemShape& shape) {
  const auto problem = std::make_shared<Problem>(shape);
  problem->run();  // caches and pages warm
  return {.turn = [problem, &machine = context.machine]() -> Pair {
            const double limit = machine.flops(problem->shape().dtype);
            return {problem->shape().flops() / run_seconds(*problem) * kGiga, limit * kGiga};
          },
          .predicted =
              [problem](const MachineLimits& limits, double) {
                return problem->shape().flops() / problem->plan().predict(limits).seconds * kGiga;
              }};
}

void add(std::vector<Case>& cases, DType dtype, std::int64_t head_dim, std::int64_t length,
         bool causal) {
  cases.push_back({.name = "prefill." + name_in_case(dtype) + ".d" + std::to_string(head_dim) +
                           ".n" + std::to_string(length) + (causal ? ".causal" : ".full"),
                   .unit = "GFLOP/s",
                   .prepare = [shape = prefill_shape(dtype, head_dim, length, causal)](
                                  const Context& context) { return prepare(context, shape); }});
}

}  // namespace

void add_prefill_cases(std::vector<Case>& cases) {
  for (const std::int64_t head_dim : {64, 128}) {
    for (const std::int64_t n : {128, 384, 1024, 4096}) add(cases, DType::kF32, head_dim, n, false);
    for (const std::int64_t n : {384, 1024, 4096}) add(cases, DType::kF32, head_dim, n, true);
  }
  for (const std::int64_t head_dim : {64, 128}) {
    for (const std::int64_t n : {1024, 4096}) add(cases, DType::kBf16, head_dim, n, false);
    for (const std::int64_t n : {1024, 4096}) add(cases, DType::kBf16, head_dim, n, true);
    for (const std::int64_t n : {1024, 4096}) add(cases, DType::kF16, head_dim, n, false);
  }
}

}  // namespace regard::bench
