// tests/support/random_cache.h - sequences of random keys and values.
#pragma once

#include <cstdint>

#include "regard/kv_cache.h"
#include "support/dense.h"

namespace regard::test {

/// (G, count, columns), of random numbers.
struct RandomRows {
  Dense<float> rows;
  RandomRows(std::int64_t heads, std::int64_t count, std::int64_t columns, Rng& rng)
      : rows({1, heads, count, columns}, rng) {}
  InputView<3> view() const {
    return TensorView<const float, 3>(rows.data.data(),
                                      {rows.shape[1], rows.shape[2], rows.shape[3]});
  }
};

/// `count` more tokens of random numbers, in all layers.
inline void append_random(PagedKvCache& cache, PagedKvCache::Sequence sequence, std::int64_t count,
                          Rng& rng) {
  const KvCacheShape& shape = cache.shape();
  const std::int64_t at = cache.extend(sequence, count);
  for (std::int64_t layer = 0; layer < shape.num_layers; ++layer) {
    const RandomRows key(shape.num_kv_heads, count, shape.head_dim, rng);
    const RandomRows value(shape.num_kv_heads, count, shape.value_dim, rng);
    cache.write(layer, sequence, at, key.view(), value.view());
  }
}

}  // namespace regard::test
