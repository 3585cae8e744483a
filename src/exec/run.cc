// src/exec/run.cc - a computation cut into blocks and handed to an executor.
#include "exec/run.h"

#include <algorithm>
#include <vector>

#include "exec/float_environment.h"

namespace regard::exec {
namespace {

std::int64_t num_blocks(const Setup& s) {
  return (s.rows_per_kv_head() + kBlockRows - 1) / kBlockRows;
}

/// Task 0 takes the last rows: under a causal mask they see the most keys, and long work goes
/// first.
RowBlock block_of(const Setup& s, std::int64_t task) {
  const std::int64_t pairs = s.shape.batch * s.shape.num_kv_heads, pair = task % pairs;
  const std::int64_t begin = (num_blocks(s) - 1 - task / pairs) * kBlockRows;
  return {.batch = pair / s.shape.num_kv_heads,
          .kv_head = pair % s.shape.num_kv_heads,
          .row_begin = begin,
          .row_end = std::min(begin + kBlockRows, s.rows_per_kv_head())};
}

std::int64_t num_tasks(const Setup& s) {
  return num_blocks(s) * s.shape.batch * s.shape.num_kv_heads;
}

int num_workers(const Setup& s, int num_threads) {
  return static_cast<int>(
      std::min<std::int64_t>(num_threads, std::max<std::int64_t>(num_tasks(s), 1)));
}

}  // namespace

std::int64_t workspace_floats(const Setup& setup, int num_threads) {
  return num_workers(setup, num_threads) * Workspace::floats(setup);
}

void run(const Setup& setup, const Tensors& tensors, Executor& executor, float* memory) {
  const std::int64_t tasks = num_tasks(setup), floats = Workspace::floats(setup);
  const int workers = num_workers(setup, executor.num_threads());
  std::vector<Workspace> workspaces;
  workspaces.reserve(static_cast<std::size_t>(workers));
  for (int i = 0; i < workers; ++i) workspaces.emplace_back(setup, memory + i * floats);

  const auto compute = [&](std::int64_t task, int worker) {
    const FloatEnvironment environment;
    // Of few tasks any worker may take any: the executor's index may be beyond the workspaces, the
    // task's is not.
    const std::int64_t place = workers < executor.num_threads() ? task : worker;
    attend(setup, tensors, block_of(setup, task), workspaces[static_cast<std::size_t>(place)]);
  };
  executor.parallel_for(tasks, compute);
}

}  // namespace regard::exec
