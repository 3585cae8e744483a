// src/api/call.h - the shape and the data of a call, from its views.
#pragma once

#include "exec/attend.h"
#include "regard/attention.h"

namespace regard::api {

/// The shape that the views have; they are checked against it later.
inline AttentionShape shape_of(const InputView<4>& query, const InputView<4>& key,
                               const InputView<4>& value, DType out_dtype) {
  return {.batch = query.shape[0],
          .num_heads = query.shape[1],
          .num_kv_heads = key.shape[1],
          .q_len = query.shape[2],
          .kv_len = key.shape[2],
          .head_dim = query.shape[3],
          .value_dim = value.shape[3],
          .query_dtype = query.dtype,
          .key_dtype = key.dtype,
          .value_dtype = value.dtype,
          .out_dtype = out_dtype};
}

/// Without an output: that, or a state, is for the caller to add.
inline exec::Call call_of(const InputView<4>& query, const InputView<4>& key,
                          const InputView<4>& value, const RunOptions& options) {
  return {.query = query,
          .key = key,
          .value = value,
          .out = {},
          .lse = options.lse,
          .state = nullptr,
          .probe = options.probe,
          .cancel = options.cancel,
          .q_offsets = options.q_offsets.empty() ? nullptr : options.q_offsets.data(),
          .kv_lens = options.kv_lens.empty() ? nullptr : options.kv_lens.data()};
}

}  // namespace regard::api
