// bench/problem.cc - one attention computation to be measured: inputs, plan, and what it costs.
#include "bench/problem.h"

#include <array>

namespace regard::bench {
namespace {

AttentionShape attention_shape(const ProblemShape& s) {
  return {.batch = 1,
          .num_heads = s.num_heads,
          .num_kv_heads = s.num_kv_heads,
          .q_len = s.q_len,
          .kv_len = s.kv_len,
          .head_dim = s.head_dim,
          .value_dim = s.head_dim,
          .query_dtype = s.dtype,
          .key_dtype = s.dtype,
          .value_dtype = s.dtype,
          .out_dtype = s.dtype};
}

AttentionOptions attention_options(const ProblemShape& s, Executor& executor) {
  AttentionOptions options;
  options.mask = s.mask;
  options.q_offset = s.kv_len - s.q_len;
  options.executor = &executor;
  return options;
}

/// Row-major (1, heads, length, dim).
struct Layout {
  std::array<std::int64_t, 4> shape, strides;
  Layout(std::int64_t heads, std::int64_t length, std::int64_t dim)
      : shape{1, heads, length, dim}, strides{heads * length * dim, length * dim, dim, 1} {}
};

}  // namespace

Problem::Problem(const ProblemShape& shape, Executor& executor, std::int64_t num_copies)
    : shape_(shape),
      plan_(attention_shape(shape), attention_options(shape, executor)),
      query_(random_numbers(shape.dtype, shape.num_heads * shape.q_len * shape.head_dim)),
      out_(random_numbers(shape.dtype, shape.num_heads * shape.q_len * shape.head_dim)) {
  const std::int64_t size = shape.num_kv_heads * shape.kv_len * shape.head_dim;
  for (std::int64_t i = 0; i < num_copies; ++i) {
    caches_.push_back({random_numbers(shape.dtype, size), random_numbers(shape.dtype, size)});
  }
}

void Problem::run_all_copies() {
  for (const Cache& cache : caches_) run_copy(cache, {});
}

void Problem::run_copy(const Cache& cache, const RunOptions& options) {
  const Layout rows(shape_.num_heads, shape_.q_len, shape_.head_dim);
  const Layout keys(shape_.num_kv_heads, shape_.kv_len, shape_.head_dim);
  plan_.run({query_.bytes().data(), shape_.dtype, rows.shape, rows.strides},
            {cache.key.bytes().data(), shape_.dtype, keys.shape, keys.strides},
            {cache.value.bytes().data(), shape_.dtype, keys.shape, keys.strides},
            {out_.data(), shape_.dtype, rows.shape, rows.strides}, options);
}

std::vector<Bytes> Problem::cache() const {
  std::vector<Bytes> all;
  for (const Cache& cache : caches_) {
    all.push_back(cache.key.bytes());
    all.push_back(cache.value.bytes());
  }
  return all;
}

}  // namespace regard::bench
