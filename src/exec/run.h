// src/exec/run.h - a computation cut into tasks and handed to an executor.
#pragma once

#include "exec/attend.h"
#include "regard/executor.h"

namespace regard::exec {

/// Floats of workspace that run() needs with `num_threads` workers, for calls of at most
/// setup.shape.kv_len keys.
std::int64_t workspace_floats(const Setup& setup, int num_threads);

/// Tasks that run() hands to the executor: blocks of rows, or parts of their keys.
std::int64_t num_tasks(const Setup& setup, int num_threads);

/// Computes the call. memory: workspace_floats(setup, executor.num_threads()) floats, 64-byte
/// aligned. Arguments have been checked. Allocates nothing; throws nothing but what the
/// executor throws. Whether it was cancelled, the caller asks.
void run(const Setup& setup, const Call& call, Executor& executor, float* memory);

}  // namespace regard::exec
