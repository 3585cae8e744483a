// src/api/call.h - the shape and the data of a call, from its views.
#pragma once

#include <algorithm>

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

/// The longest sequence of the view.
inline std::int64_t longest(const PagedView& pages) {
  return pages.kv_lens.empty() ? 0 : std::ranges::max(pages.kv_lens);
}

inline AttentionShape shape_of(const InputView<4>& query, const PagedView& pages, DType out_dtype) {
  return {.batch = query.shape[0],
          .num_heads = query.shape[1],
          .num_kv_heads = pages.num_kv_heads,
          .q_len = query.shape[2],
          .kv_len = longest(pages),
          .head_dim = query.shape[3],
          .value_dim = pages.value_dim,
          .query_dtype = query.dtype,
          .key_dtype = pages.dtype,
          .value_dtype = pages.dtype,
          .out_dtype = out_dtype,
          .page_size = pages.page_size};
}

inline exec::Call call_of(const InputView<4>& query, const PagedView& pages,
                          const RunOptions& options) {
  const auto source = [&](std::int64_t dim, std::int64_t offset, std::int64_t scale_offset) {
    const auto batch = static_cast<std::int64_t>(pages.tables.size());
    exec::KvSource s(InputView<4>(nullptr, pages.dtype,
                                  {batch, pages.num_kv_heads, longest(pages), dim},
                                  {0, pages.page_size * dim, dim, 1}));
    s.tables = pages.tables.data();
    s.page_size = pages.page_size;
    s.offset = offset;
    s.scale_offset = scale_offset;
    return s;
  };
  exec::Call call = call_of(query, InputView<4>(), InputView<4>(), options);
  call.key = source(pages.head_dim, pages.key_offset, pages.key_scale_offset);
  call.value = source(pages.value_dim, pages.value_offset, pages.value_scale_offset);
  call.kv_lens = pages.kv_lens.data();
  return call;
}

}  // namespace regard::api
