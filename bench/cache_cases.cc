// bench/cache_cases.cc - one query row, or a few, against a cache of keys and values that is larger
// than the machine's: how near to reading it once?
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "bench/cases.h"

namespace regard::bench {
namespace {

constexpr std::int64_t kKvHeads = 8;
constexpr std::int64_t kHeadDim = 128;

ProblemShape cache_shape(DType dtype, std::int64_t ratio, std::int64_t q_len, std::int64_t kv_len) {
  return {.dtype = dtype,
          .num_heads = kKvHeads * ratio,
          .num_kv_heads = kKvHeads,
          .q_len = q_len,
          .kv_len = kv_len,
          .head_dim = kHeadDim,
          .pairs = static_cast<double>(q_len) * static_cast<double>(kv_len)};
}

std::int64_t copies_beyond_cache(const ProblemShape& shape) {
  const double copies = static_cast<double>(beyond_cache_bytes()) / shape.cache_bytes();
  return std::max(std::int64_t{1}, static_cast<std::int64_t>(std::ceil(copies)));
}

std::string note_of(const Problem& problem) {
  const double times = problem.shape().cache_bytes() * static_cast<double>(problem.num_copies()) /
                       static_cast<double>(last_level_cache_bytes());
  return times >= 4 ? "" : "keys and values are only " + std::to_string(times) + " times the cache";
}

/// What is measured of a cache, with the loops that read it.
struct CacheProblem {
  explicit CacheProblem(const ProblemShape& shape)
      : problem(shape, serial_executor(), copies_beyond_cache(shape)), read_loops(problem.cache()) {
    problem.run_all_copies();
  }

  /// Seconds that the machine needs at best: to read keys and values and, where asked, to do both
  /// products; whichever is slower.
  double roof_seconds(Machine& machine, bool with_products) const {
    const ProblemShape& shape = problem.shape();
    const double reading = shape.cache_bytes() / machine.bytes(read_loops);
    if (!with_products) return reading;
    return std::max(reading, shape.flops() / machine.flops(shape.dtype));
  }

  Problem problem;
  ReadLoops read_loops;
};

/// Bytes/s of keys and values. Up to ratio 4 reading must bind; beyond, the products may.
Case decode_case(DType dtype, std::int64_t ratio, std::int64_t kv_len) {
  const auto prepare = [=](const Context& context) -> Prepared {
    const auto work = std::make_shared<CacheProblem>(cache_shape(dtype, ratio, 1, kv_len));
    const double bytes = work->problem.shape().cache_bytes();
    return {[=, &machine = context.machine]() -> Pair {
              const double roof = work->roof_seconds(machine, ratio > 4);
              return {bytes / run_seconds(work->problem) * kGiga, bytes / roof * kGiga};
            },
            note_of(work->problem),
            [=](const MachineLimits& limits, double) {
              return bytes / work->problem.plan().predict(limits).seconds * kGiga;
            }};
  };
  return {.name = "decode." + name_in_case(dtype) + ".ratio" + std::to_string(ratio) + ".n" +
                  std::to_string(kv_len),
          .unit = "GB/s",
          .prepare = prepare};
}

std::string rows_name(DType dtype, std::int64_t q_len, std::int64_t kv_len) {
  return "rows." + name_in_case(dtype) + ".q" + std::to_string(q_len) + ".n" +
         std::to_string(kv_len);
}

/// Rows/s (a row: one position, all heads) against the roof that binds.
Case rows_case(DType dtype, std::int64_t q_len, std::int64_t kv_len) {
  const auto prepare = [=](const Context& context) -> Prepared {
    const auto work = std::make_shared<CacheProblem>(cache_shape(dtype, 1, q_len, kv_len));
    const auto rows = static_cast<double>(q_len);
    return {[=, &machine = context.machine]() -> Pair {
              const double roof = work->roof_seconds(machine, true);
              return {rows / run_seconds(work->problem), rows / roof};
            },
            note_of(work->problem),
            [=](const MachineLimits& limits, double) {
              return rows / work->problem.plan().predict(limits).seconds;
            }};
  };
  return {.name = rows_name(dtype, q_len, kv_len), .unit = "rows/s", .prepare = prepare};
}

/// Rows/s together against rows/s one at a time.
Case per_row_case(DType dtype, std::int64_t q_len, std::int64_t kv_len) {
  const auto prepare = [=](const Context&) -> Prepared {
    const auto make = [=](std::int64_t rows) {
      const ProblemShape shape = cache_shape(dtype, 1, rows, kv_len);
      const auto problem =
          std::make_shared<Problem>(shape, serial_executor(), copies_beyond_cache(shape));
      problem->run_all_copies();
      return problem;
    };
    const auto few = make(q_len), one = make(1);
    return {[=]() -> Pair {
              const double together = static_cast<double>(q_len) / run_seconds(*few);
              return {together, 1 / run_seconds(*one)};
            },
            note_of(*few),
            [=](const MachineLimits& limits, double) {
              return static_cast<double>(q_len) / few->plan().predict(limits).seconds;
            }};
  };
  return {
      .name = rows_name(dtype, q_len, kv_len) + ".per_row", .unit = "rows/s", .prepare = prepare};
}

}  // namespace

void add_cache_cases(std::vector<Case>& cases) {
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF16}) {
    for (const std::int64_t ratio : {1, 4, 8, 16}) {
      cases.push_back(decode_case(dtype, ratio, 65536));
    }
  }
  for (const DType dtype : {DType::kF32, DType::kBf16}) {
    for (const std::int64_t q_len : {2, 4, 8, 16, 32, 63}) {
      cases.push_back(rows_case(dtype, q_len, 4096));
      cases.push_back(per_row_case(dtype, q_len, 4096));
    }
  }
}

}  // namespace regard::bench
