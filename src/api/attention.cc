// src/api/attention.cc - attention in one call: a plan, run once.
#include "regard/attention.h"

#include "regard/plan.h"

namespace regard {

void attention(InputView<4> query, InputView<4> key, InputView<4> value, OutputView<4> out,
               const AttentionOptions& options, const RunOptions& run) {
  const Plan plan({.batch = query.shape[0],
                   .num_heads = query.shape[1],
                   .num_kv_heads = key.shape[1],
                   .q_len = query.shape[2],
                   .kv_len = key.shape[2],
                   .head_dim = query.shape[3],
                   .value_dim = value.shape[3],
                   .query_dtype = query.dtype,
                   .key_dtype = key.dtype,
                   .value_dtype = value.dtype,
                   .out_dtype = out.dtype},
                  options);
  plan.run(query, key, value, out, run);
}

}  // namespace regard
