// src/api/attention.cc - attention in one call: a plan, run once.
#include "regard/attention.h"

#include "regard/plan.h"

namespace regard {

// NOLINTNEXTLINE(readability-function-size): four tensors are one operand each, as everywhere
void attention(TensorView<const float, 4> query, TensorView<const float, 4> key,
               TensorView<const float, 4> value, TensorView<float, 4> out,
               const AttentionOptions& options, std::optional<TensorView<float, 3>> lse,
               Probe* probe) {
  const Plan plan({.batch = query.shape[0],
                   .num_heads = query.shape[1],
                   .num_kv_heads = key.shape[1],
                   .q_len = query.shape[2],
                   .kv_len = key.shape[2],
                   .head_dim = query.shape[3],
                   .value_dim = value.shape[3]},
                  options);
  plan.run(query, key, value, out, lse, probe);
}

}  // namespace regard
