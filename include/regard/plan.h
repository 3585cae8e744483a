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

  /// Computes; see attention() for shapes and meaning. Throws std::invalid_argument when a view
  /// does not have the plan's shape, std::bad_alloc when workspace_bytes() cannot be had; either
  /// way before anything is written.
  void run(TensorView<const float, 4> query, TensorView<const float, 4> key,
           TensorView<const float, 4> value, TensorView<float, 4> out,
           std::optional<TensorView<float, 3>> lse = {}, Probe* probe = nullptr) const;

  /// Bytes that run() allocates beside inputs and outputs, for all threads together.
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
