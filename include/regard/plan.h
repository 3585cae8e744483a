// include/regard/plan.h - what will run, decided before any data is touched.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "regard/attention.h"
#include "regard/cost.h"

namespace regard {

/// A decided computation: checked arguments, kernel table, blocking. Immutable, cheap to copy,
/// usable from several threads at once; reuse it for every call (layer) of the same shape and
/// options.
class Plan {
 public:
  /// Throws std::invalid_argument for shapes or options that cannot be run, with the reason.
  explicit Plan(const AttentionShape& shape, const AttentionOptions& options = {});
  ~Plan();
  Plan(const Plan&);
  Plan(Plan&&) noexcept;
  Plan& operator=(const Plan&);
  Plan& operator=(Plan&&) noexcept;

  /// Computes; see attention() for shapes and meaning. key and value may have fewer keys than the
  /// plan (their common shape[2] is then the call's kv_len), so one plan serves a growing cache:
  /// give the positions that change in RunOptions::q_offsets. Throws std::invalid_argument when a
  /// view does not fit the plan, before anything is written; Cancelled. Allocates nothing: the plan
  /// holds one workspace, which calls take in turn; a call that finds it taken by another thread,
  /// and has none in RunOptions, allocates its own.
  void run(InputView<4> query, InputView<4> key, InputView<4> value, OutputView<4> out,
           const RunOptions& options = {}) const;

  /// The same over pages; the plan's shape has their page_size. The view's kv_lens are the keys of
  /// its sequences, so RunOptions has none.
  void run(InputView<4> query, const PagedView& pages, OutputView<4> out,
           const RunOptions& options = {}) const;

  /// Bytes of scratch memory of one run, for all threads together.
  std::int64_t workspace_bytes() const;

  /// Tiles that run() will compute and skip, over all batch entries and heads. Walks the mask, not
  /// the data.
  TileCounts count_tiles() const;

  /// The kernel table (an instruction set's name, see isa.h).
  std::string isa() const;

  /// What run() costs. Takes a second at most, however large the problem is: see
  /// PlanCost::is_exact.
  PlanCost cost() const;

  /// How long run() takes on a machine with these limits, nearly always within 30 %
  /// (docs/plan.md). Throws std::invalid_argument for limits that are not positive.
  Prediction predict(const MachineLimits& limits) const;

  /// A few lines for people: shape, kernel table, blocking, tiles, FLOPs, bytes, memory, and why.
  std::string explain() const;
  /// The same, with the predicted time and what binds it.
  std::string explain(const MachineLimits& limits) const;

  struct Impl;

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace regard
