// src/exec/run.h - a computation cut into blocks and handed to an executor.
#pragma once

#include "exec/attend.h"
#include "regard/executor.h"

namespace regard::exec {

/// Floats of workspace that run() needs with `num_threads` workers.
std::int64_t workspace_floats(const Setup& setup, int num_threads);

/// Computes out and lse. memory: workspace_floats(setup, executor.num_threads()) floats, 64-byte
/// aligned. Arguments have been checked. Throws nothing but what Workspace's small vectors and the
/// executor throw, before anything is written.
void run(const Setup& setup, const Tensors& tensors, Executor& executor, float* memory);

}  // namespace regard::exec
