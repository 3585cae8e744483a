// src/plan/cost.cc - how long work takes: a few constants, each measured once, times a machine's
// limits.
#include "plan/cost.h"

#include <algorithm>
#include <cmath>

#include "exec/run.h"
#include "plan/plan.h"

namespace regard::plan {
namespace {

constexpr CostTable kCosts;

double real(std::int64_t n) { return static_cast<double>(n); }

/// Numbers that are packed (words, where they hold two), and those read where they lie: keys, which
/// become lanes (words), and values, which are widened or paired.
struct Moved {
  double packed, turned, widened;
};

Moved moved_numbers(const exec::Setup& s, const Work& work, double depth, double width) {
  const bool in_place = s.block_rows <= s.strip_rows && s.shape.value_dim == s.out_stride();
  const double word = real(s.arithmetic->word);
  if (!in_place) return {work.packed_keys * (depth + width) / word, 0, 0};
  const bool widened = s.shape.value_dtype != DType::kF32;
  return {0, work.packed_keys * depth / word, widened ? work.packed_keys * width : 0};
}

/// Seconds of one core that never waits for memory.
double core_seconds(const exec::Setup& s, const Work& work, const MachineLimits& limits) {
  const bool by_pairs = s.arithmetic->word == 2 && limits.dot_flops > 0;
  const double fma = limits.fma_flops / 2, product = by_pairs ? limits.dot_flops / 2 : fma;
  const double depth = real(s.arithmetic->words(s.shape.head_dim) * s.arithmetic->word),
               width = real(s.out_stride()), pairs = work.full_pairs + work.partial_pairs;
  const Moved moved = moved_numbers(s, work, depth, width);
  double rows = 0;
  for (const exec::Sequence& sequence : s.sequences)
    rows += real(sequence.q_len * s.shape.num_heads);
  const double beside =
      kCosts.pair * pairs + kCosts.masked_pair * work.partial_pairs + kCosts.pack * moved.packed +
      kCosts.turn * moved.turned + kCosts.widen * moved.widened +
      kCosts.merge * width * pairs / real(exec::kChunkKeys) + kCosts.strip * work.strip_chunks +
      kCosts.row * rows * (depth + width) + kCosts.task * static_cast<double>(s.blocks.size());
  return kCosts.product * work.product_pairs * (depth + width) / product + beside / fma;
}

}  // namespace

double bytes_per_key(const AttentionShape& s) {
  return real(s.head_dim * static_cast<std::int64_t>(size_of(s.key_dtype)) +
              s.value_dim * static_cast<std::int64_t>(size_of(s.value_dtype)));
}

double paid_rows(std::int64_t rows) {
  const std::int64_t whole = rows / exec::kStripRows * exec::kStripRows, rest = rows - whole;
  return real(whole) + (rest == 0 ? 0 : std::max(real(rest), kCosts.least_rows));
}

Prediction predict(const exec::Setup& s, const Work& work, int num_threads,
                   const MachineLimits& limits) {
  const double tasks = std::max(1.0, real(exec::num_tasks(s, num_threads))), threads = num_threads;
  const double rounds = std::ceil(tasks / threads);  // of tasks that take equally long
  const double cores = std::min(tasks / rounds, threads);
  double read = cores * limits.read_bytes_per_second;
  if (limits.shared_read_bytes_per_second > 0)
    read = std::min(read, limits.shared_read_bytes_per_second);
  Prediction p{.compute_seconds = core_seconds(s, work, limits) / cores,
               .read_seconds = work.read_keys * bytes_per_key(s.shape) / read};
  p.seconds = std::pow(
      std::pow(p.compute_seconds, kCosts.overlap) + std::pow(p.read_seconds, kCosts.overlap),
      1 / kCosts.overlap);
  return p;
}

}  // namespace regard::plan

namespace regard {
namespace {

/// Rectangles of one size that are asked for: a second's worth.
constexpr std::int64_t kMostParts = 1 << 14;

std::int64_t whole(double x) {
  constexpr double kMost = 0x1p62;
  return std::llround(std::min(x, kMost));
}

}  // namespace

const plan::Work& Plan::Impl::work() const {
  std::call_once(counted_, [&] { work_ = plan::count_work(setup, masks, kMostParts); });
  return work_;
}

TileCounts Plan::Impl::count_tiles() const {
  const plan::Work work = plan::count_work(setup, masks, plan::kAllParts);
  return {whole(work.full_tiles), whole(work.partial_tiles), whole(work.empty_tiles)};
}

PlanCost Plan::Impl::cost() const {
  const plan::Work& work = this->work();
  const AttentionShape& s = setup.shape;
  const double bytes_per_key = plan::bytes_per_key(s),
               flops_per_pair = 2 * static_cast<double>(s.head_dim + s.value_dim);
  PlanCost cost{
      .tiles = {whole(work.full_tiles), whole(work.partial_tiles), whole(work.empty_tiles)},
      .pairs = work.pairs,
      .allowed_pairs = work.allowed_pairs,
      .computed_pairs = work.full_pairs + work.partial_pairs,
      .useful_flops = flops_per_pair * work.allowed_pairs,
      .computed_flops = flops_per_pair * (work.full_pairs + work.partial_pairs),
      .cache_bytes = 0,
      .read_bytes = bytes_per_key * work.read_keys,
      .workspace_bytes = workspace_bytes,
      .threads = executor.num_threads(),
      .is_exact = work.is_exact};
  for (const exec::Sequence& sequence : setup.sequences)
    cost.cache_bytes += bytes_per_key * static_cast<double>(sequence.kv_len * s.num_kv_heads);
  return cost;
}

Prediction Plan::Impl::predict(const MachineLimits& limits) const {
  return plan::predict(setup, work(), executor.num_threads(), limits);
}

}  // namespace regard
