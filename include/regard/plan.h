// include/regard/plan.h - what will run, decided before any data is touched.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "regard/attention.h"

namespace regard {

/// How many tiles (row block x key tile) of a problem are computed, and how.
struct TileCounts {
  std::int64_t full = 0;     ///< computed without a mask
  std::int64_t partial = 0;  ///< computed, then masked
  std::int64_t empty = 0;    ///< skipped: no query sees any of its keys
};

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

  /// Bytes of scratch memory of one run, for all threads together.
  std::int64_t workspace_bytes() const;

  /// Tiles that run() will compute and skip, over all batch entries and heads. Walks the mask, not
  /// the data.
  TileCounts count_tiles() const;

  /// The kernel table (an instruction set's name, see isa.h).
  std::string isa() const;

  /// A few lines for people: shape, kernel table, blocking, tiles, FLOPs, memory.
  std::string explain() const;

  struct Impl;

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace regard
