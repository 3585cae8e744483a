// src/api/state.cc - attention over a part of the keys, and the parts put together.
#include "api/state.h"

#include <algorithm>
#include <limits>

#include "api/call.h"
#include "api/check.h"
#include "api/check_attention.h"
#include "exec/finish.h"
#include "plan/isa.h"
#include "plan/plan.h"

namespace regard {

AttentionState api::empty_state(const AttentionShape& s) {
  AttentionState state{.batch = s.batch,
                       .num_heads = s.num_heads,
                       .q_len = s.q_len,
                       .value_dim = s.value_dim,
                       .max = {},
                       .sum = {},
                       .out = {}};
  const auto rows = static_cast<std::size_t>(s.batch * s.num_heads * s.q_len);
  state.max.assign(rows, -std::numeric_limits<float>::infinity());
  state.sum.assign(rows, 0.0f);
  state.out.assign(rows * static_cast<std::size_t>(s.value_dim), 0.0f);
  return state;
}

namespace {

void check_state(const char* what, const AttentionState& state) {
  const std::string name = what;
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  api::check_range(name + ".batch", state.batch, 0, kMost);
  api::check_range(name + ".num_heads", state.num_heads, 0, kMost);
  api::check_range(name + ".q_len", state.q_len, 0, kMost);
  api::check_range(name + ".value_dim", state.value_dim, 0, kMost);
  api::check_elements(what, {state.batch, state.num_heads, state.q_len, state.value_dim});
  const std::int64_t rows = state.batch * state.num_heads * state.q_len;
  api::check_equal(name + ".max.size()", static_cast<std::int64_t>(state.max.size()), rows, "rows");
  api::check_equal(name + ".sum.size()", static_cast<std::int64_t>(state.sum.size()), rows, "rows");
  api::check_equal(name + ".out.size()", static_cast<std::int64_t>(state.out.size()),
                   rows * state.value_dim, "rows * value_dim");
}

}  // namespace

AttentionState partial_attention(InputView<4> query, InputView<4> key, InputView<4> value,
                                 const AttentionOptions& options, const RunOptions& run) {
  if (!options.sinks.empty())
    api::refuse("partial_attention: sinks", "given", "none: they enter once, in finish()");
  if (run.lse) api::refuse("partial_attention: lse", "given", "none: finish() writes it");
  const AttentionShape shape = api::shape_of(query, key, value, DType::kF32);
  api::check_plan(shape, options);
  const Plan::Impl plan(shape, options);
  AttentionState state = api::empty_state(shape);
  exec::Call call = api::call_of(query, key, value, run);
  call.state = &state;
  api::check_run(plan.setup, call, run, plan.workspace_bytes);
  plan.run(call, run.workspace);
  return state;
}

AttentionState merge(const AttentionState& left, AttentionState right) {
  check_state("merge: left", left);
  check_state("merge: right", right);
  api::check_equal("merge: right.batch", right.batch, left.batch, "left's");
  api::check_equal("merge: right.num_heads", right.num_heads, left.num_heads, "left's");
  api::check_equal("merge: right.q_len", right.q_len, left.q_len, "left's");
  api::check_equal("merge: right.value_dim", right.value_dim, left.value_dim, "left's");
  exec::merge_states(plan::active_table(), left, right);
  return right;
}

void finish(const AttentionState& state, OutputView<4> out, std::optional<TensorView<float, 3>> lse,
            std::span<const float> sinks) {
  check_state("finish: state", state);
  api::refuse_int8("finish: out.dtype", out.dtype);
  api::check_view("finish: out", out, {state.batch, state.num_heads, state.q_len, state.value_dim},
                  {"batch", "num_heads", "q_len", "value_dim"}, out.dtype);
  if (lse) {
    api::check_view("finish: lse", *lse, {state.batch, state.num_heads, state.q_len},
                    {"batch", "num_heads", "q_len"});
  }
  api::check_sinks("finish: sinks", sinks, state.num_heads);
  exec::finish_state(plan::active_table(), state, out, lse, sinks);
}

}  // namespace regard
