// bench/window_cases.cc - does a sliding window cost what its pairs cost, at any length?
#include <memory>
#include <string>

#include "bench/cases.h"

namespace regard::bench {
namespace {

ProblemShape one_head(std::int64_t length) {
  const auto n = static_cast<double>(length);
  return {.q_len = length, .kv_len = length, .head_dim = 128, .pairs = n * n};
}

/// Useful FLOP/s, allowed pairs only, against those of full attention over 4,096 keys.
Case window_case(std::int64_t window, std::int64_t length) {
  ProblemShape shape = one_head(length);
  const auto w = static_cast<double>(window), n = static_cast<double>(length);
  shape.pairs = n * (w + 1) - w * (w + 1) / 2;
  shape.mask = WindowMask{.left = window, .right = 0};
  const auto prepare = [shape](const Context&) -> Prepared {
    const auto windowed = std::make_shared<Problem>(shape);
    const auto full = std::make_shared<Problem>(one_head(4096));
    windowed->run();
    full->run();
    return {.turn = [=]() -> Pair {
              const auto rate = [](Problem& p) {
                return p.shape().flops() / run_seconds(p) * kGiga;
              };
              return {rate(*windowed), rate(*full)};
            },
            .predicted =
                [=](const MachineLimits& limits, double) {
                  return shape.flops() / windowed->plan().predict(limits).seconds * kGiga;
                }};
  };
  return {.name = "window.fp32.w" + std::to_string(window) + ".n" + std::to_string(length),
          .unit = "GFLOP/s",
          .prepare = prepare};
}

}  // namespace

void add_window_cases(std::vector<Case>& cases) {
  for (const std::int64_t n : {4096, 16384, 65536}) cases.push_back(window_case(256, n));
}

}  // namespace regard::bench
