// tests/support/kv_cache.h - tokens into a cache, attention out of it and out of the same tensors.
#pragma once

#include <gtest/gtest.h>

#include "regard/attention.h"
#include "regard/kv_cache.h"
#include "support/dense.h"

namespace regard::test {

/// The tokens [begin, end) of one batch entry.
template <class T>
InputView<3> tokens(const Dense<T>& x, std::int64_t begin, std::int64_t end) {
  const InputView<4> view = x.rows(begin, end);
  return {view.data,
          view.dtype,
          {view.shape[1], view.shape[2], view.shape[3]},
          {view.strides[1], view.strides[2], view.strides[3]}};
}

/// Appends tokens [begin, end) of key and value, the same in every layer.
template <class T>
void append(PagedKvCache& cache, PagedKvCache::Sequence s, const Dense<T>& key,
            const Dense<T>& value, std::int64_t begin, std::int64_t end) {
  const std::int64_t at = cache.extend(s, end - begin);
  ASSERT_EQ(at, begin);
  for (std::int64_t layer = 0; layer < cache.shape().num_layers; ++layer)
    cache.write(layer, s, at, tokens(key, begin, end), tokens(value, begin, end));
}

/// Attention of queries [begin, end) over what the cache has, of the last layer.
inline Dense<float> from_pages(const Dense<float>& query, const PagedKvCache& cache,
                               PagedKvCache::Sequence s, std::int64_t begin, std::int64_t end,
                               AttentionOptions options) {
  Dense<float> out({1, query.shape[1], end - begin, cache.shape().value_dim});
  options.q_offset = begin;
  PagedView view = cache.view(s);
  attention(query.rows(begin, end), view.layer(cache.shape().num_layers - 1),
            out.rows(0, end - begin), options);
  return out;
}

/// The same over the keys and values [0, end) of tensors.
template <class T>
Dense<float> from_tensors(const Dense<float>& query, const Dense<T>& key, const Dense<T>& value,
                          std::int64_t begin, std::int64_t end, AttentionOptions options) {
  Dense<float> out({1, query.shape[1], end - begin, value.shape[3]});
  options.q_offset = begin;
  attention(query.rows(begin, end), key.rows(0, end), value.rows(0, end), out.rows(0, end - begin),
            options);
  return out;
}

}  // namespace regard::test
