// src/api/check_attention.h - what a plan and a run accept.
#pragma once

#include "exec/attend.h"
#include "regard/attention.h"
#include "regard/cost.h"

namespace regard::api {

/// Throws std::invalid_argument naming the argument, what came and what was wanted.
void check_plan(const AttentionShape& shape, const AttentionOptions& options);

/// Empty, or a finite number per head.
void check_sinks(const char* what, std::span<const float> sinks, std::int64_t num_heads);

/// The same for the arguments of a run. `workspace_bytes`: what the plan says.
void check_run(const exec::Setup& setup, const exec::Call& call, const RunOptions& options,
               std::int64_t workspace_bytes);

/// A view of pages that fits the plan.
void check_pages(const exec::Setup& setup, const PagedView& pages, const RunOptions& options);

/// No query may see a key that was evicted.
void check_evicted(const exec::Setup& setup, const exec::Call& call, const PagedView& pages);

/// Rates that time can be divided by.
void check_limits(const MachineLimits& limits);

}  // namespace regard::api
