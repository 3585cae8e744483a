// src/plan/plan.h - a checked problem turned into what exec needs.
#pragma once

#include <atomic>
#include <memory_resource>
#include <mutex>
#include <span>
#include <string>

#include "exec/attend.h"
#include "plan/tile_map.h"
#include "plan/work.h"
#include "regard/plan.h"

namespace regard {

struct Plan::Impl {
  Impl(const AttentionShape& shape, const AttentionOptions& options);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  TileCounts count_tiles() const;
  PlanCost cost() const;
  Prediction predict(const MachineLimits& limits) const;
  /// With the predicted time where limits are given.
  std::string explain(const MachineLimits* limits) const;
  /// The call has been checked. Throws Cancelled.
  void run(const exec::Call& call, std::span<std::byte> workspace) const;

  Executor& executor;
  exec::Setup setup;
  plan::TileMap masks;  // setup points to it
  std::int64_t workspace_bytes;

 private:
  /// Counted when first asked for: at most a second's worth of asking the mask.
  const plan::Work& work() const;
  void compute(const exec::Call& call, std::span<std::byte> workspace) const;

  std::pmr::memory_resource& memory_;
  // The plan's own workspace, taken for the length of a run.
  mutable std::atomic<void*> workspace_{nullptr};
  mutable std::once_flag counted_;
  mutable plan::Work work_;
};

}  // namespace regard
