// src/api/c_attention.cc - C: attention in one call, plans, states.
#include <algorithm>
#include <cstring>

#include "api/c_support.h"
#include "api/state.h"
#include "regard/plan.h"

// NOLINTBEGIN(readability-identifier-naming): C's names
struct regard_plan {
  regard_plan(const regard::AttentionShape& shape, const regard_options* given)
      : options(given), plan(shape, options.get()) {}
  regard::api::HostOptions options;  // the plan uses its allocator
  regard::Plan plan;
};

struct regard_state {
  regard::AttentionState state;
};
// NOLINTEND(readability-identifier-naming)

namespace regard::api {
namespace {

AttentionShape shape_of(const regard_shape* given) {
  constexpr const char* kWhat = "attention: shape";
  const regard_shape c = versioned(kWhat, &required(kWhat, given));
  return {.batch = c.batch,
          .num_heads = c.num_heads,
          .num_kv_heads = c.num_kv_heads,
          .q_len = c.q_len,
          .kv_len = c.kv_len,
          .head_dim = c.head_dim,
          .value_dim = c.value_dim,
          .query_dtype = dtype_of_c("attention: query", c.query_dtype),
          .key_dtype = dtype_of_c("attention: key", c.key_dtype),
          .value_dtype = dtype_of_c("attention: value", c.value_dtype),
          .out_dtype = dtype_of_c("attention: out", c.out_dtype)};
}

std::unique_ptr<regard_state> handle_of(AttentionState state) {
  return std::make_unique<regard_state>(regard_state{std::move(state)});
}

AttentionState checked_empty_state(const AttentionShape& shape) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  check_range("regard_state_create: batch", shape.batch, 0, kMost);
  check_range("regard_state_create: num_heads", shape.num_heads, 0, kMost);
  check_range("regard_state_create: q_len", shape.q_len, 0, kMost);
  check_range("regard_state_create: value_dim", shape.value_dim, 0, kMost);
  check_elements("regard_state_create: batch * num_heads * q_len * value_dim",
                 {shape.batch, shape.num_heads, shape.q_len, shape.value_dim});
  return empty_state(shape);
}

}  // namespace
}  // namespace regard::api

using namespace regard;  // the C functions are outside of it
using namespace regard::api;

regard_status regard_attention(const regard_input* query, const regard_input* key,
                               const regard_input* value, const regard_output* out,
                               const regard_options* options, const regard_run_options* run) {
  return guarded([&] {
    const HostOptions host(options);
    attention(input_of("attention: query", query), input_of("attention: key", key),
              input_of("attention: value", value), output_of("attention: out", out), host.get(),
              run_options_of(run));
  });
}

regard_status regard_plan_create(const regard_shape* shape, const regard_options* options,
                                 regard_plan** plan) {
  return create("regard_plan_create: plan", plan,
                [&] { return std::make_unique<regard_plan>(shape_of(shape), options); });
}

regard_status regard_plan_run(const regard_plan* plan, const regard_input* query,
                              const regard_input* key, const regard_input* value,
                              const regard_output* out, const regard_run_options* run) {
  return guarded([&] {
    required("regard_plan_run: plan", plan)
        .plan.run(input_of("attention: query", query), input_of("attention: key", key),
                  input_of("attention: value", value), output_of("attention: out", out),
                  run_options_of(run));
  });
}

int64_t regard_plan_workspace_bytes(const regard_plan* plan) {
  return plan == nullptr ? 0 : plan->plan.workspace_bytes();
}

const char* regard_plan_explain(const regard_plan* plan) {
  thread_local std::string text;
  const regard_status status =
      guarded([&] { text = required("regard_plan_explain: plan", plan).plan.explain(); });
  return status == REGARD_OK ? text.c_str() : nullptr;
}

void regard_plan_free(regard_plan* plan) { delete plan; }

regard_status regard_partial_attention(const regard_input* query, const regard_input* key,
                                       const regard_input* value, const regard_options* options,
                                       const regard_run_options* run, regard_state** state) {
  return create("regard_partial_attention: state", state, [&] {
    const HostOptions host(options);
    return handle_of(
        partial_attention(input_of("attention: query", query), input_of("attention: key", key),
                          input_of("attention: value", value), host.get(), run_options_of(run)));
  });
}

regard_status regard_state_create(int64_t batch, int64_t num_heads, int64_t q_len,
                                  int64_t value_dim, regard_state** state) {
  return create("regard_state_create: state", state, [&] {
    return handle_of(checked_empty_state(
        {.batch = batch, .num_heads = num_heads, .q_len = q_len, .value_dim = value_dim}));
  });
}

regard_status regard_state_get(regard_state* state, regard_state_view* view) {
  return guarded([&] {
    AttentionState& from = required("regard_state_get: state", state).state;
    regard_state_view& to = required("regard_state_get: view", view);
    const std::size_t size = checked_size("regard_state_get: view", &to);
    const regard_state_view all{size,           from.batch,      from.num_heads,  from.q_len,
                                from.value_dim, from.max.data(), from.sum.data(), from.out.data()};
    std::memcpy(&to, &all, std::min(size, sizeof(all)));  // as much as the caller's version has
  });
}

regard_status regard_state_merge(const regard_state* left, regard_state* right) {
  return guarded([&] {
    AttentionState& from = required("regard_state_merge: right", right).state;
    from = merge(required("regard_state_merge: left", left).state, from);
  });
}

regard_status regard_state_finish(const regard_state* state, const regard_output* out,
                                  const regard_lse* lse, const regard_floats* sinks) {
  return guarded([&] {
    finish(required("regard_state_finish: state", state).state, output_of("finish: out", out),
           lse_of(lse),
           sinks == nullptr ? std::span<const float>() : span_of("finish: sinks", *sinks));
  });
}

void regard_state_free(regard_state* state) { delete state; }
