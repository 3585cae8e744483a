// bench/peers/regard_shim.cc - what peers.py calls by ctypes: a plan, a linear layer, and one run
// of either.
#include <cstring>
#include <exception>
#include <memory>

#include "regard/regard.h"

namespace {

/// Mirrored in regard_peer.py.
struct Problem {
  std::int64_t num_heads, num_kv_heads, q_len, kv_len, head_dim;
  std::int32_t dtype;  // regard::DType, of all four tensors
  std::int32_t causal;
};

struct Prepared {
  std::unique_ptr<regard::Executor> executor;
  std::unique_ptr<regard::Plan> plan;
  std::unique_ptr<regard::Linear> linear;
  Problem problem{};
};

constexpr std::size_t kErrorBytes = 512;

template <class Work>
auto guarded(char* error, Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::exception& e) {
    std::strncpy(error, e.what(), kErrorBytes - 1);
    return {};
  }
}

Prepared* make_attention(const Problem& p, int threads) {
  auto prepared = std::make_unique<Prepared>();
  prepared->executor = regard::make_thread_pool(threads);
  prepared->problem = p;
  const auto dtype = static_cast<regard::DType>(p.dtype);
  regard::AttentionOptions options;
  options.q_offset = p.kv_len - p.q_len;
  options.executor = prepared->executor.get();
  if (p.causal != 0) options.mask = regard::CausalMask{};
  prepared->plan =
      std::make_unique<regard::Plan>(regard::AttentionShape{.num_heads = p.num_heads,
                                                            .num_kv_heads = p.num_kv_heads,
                                                            .q_len = p.q_len,
                                                            .kv_len = p.kv_len,
                                                            .head_dim = p.head_dim,
                                                            .value_dim = p.head_dim,
                                                            .query_dtype = dtype,
                                                            .key_dtype = dtype,
                                                            .value_dtype = dtype,
                                                            .out_dtype = dtype},
                                     options);
  return prepared.release();
}

}  // namespace

extern "C" {

/// Row-major (1, heads, length, dim). Null on error, which is then written (kErrorBytes).
void* regard_attention(const Problem* problem, int threads, char* error) {
  return guarded(error, [&] { return make_attention(*problem, threads); });
}

/// Whether it ran.
bool regard_attention_run(void* handle, const void* query, const void* key, const void* value,
                          void* out, char* error) {
  const auto& prepared = *static_cast<Prepared*>(handle);
  const Problem& p = prepared.problem;
  const auto dtype = static_cast<regard::DType>(p.dtype);
  using Extents = std::array<std::int64_t, 4>;
  const auto strides = [](const Extents& s) {
    return Extents{s[1] * s[2] * s[3], s[2] * s[3], s[3], 1};
  };
  const Extents rows{1, p.num_heads, p.q_len, p.head_dim};
  const Extents keys{1, p.num_kv_heads, p.kv_len, p.head_dim};
  return guarded(error, [&] {
    prepared.plan->run({query, dtype, rows, strides(rows)}, {key, dtype, keys, strides(keys)},
                       {value, dtype, keys, strides(keys)}, {out, dtype, rows, strides(rows)});
    return true;
  });
}

/// weight (out_features, in_features), row-major; copied.
void* regard_linear(const float* weight, std::int64_t out_features, std::int64_t in_features,
                    int threads, char* error) {
  return guarded(error, [&] {
    auto prepared = std::make_unique<Prepared>();
    prepared->executor = regard::make_thread_pool(threads);
    prepared->linear = std::make_unique<regard::Linear>(
        regard::TensorView<const float, 2>(weight, {out_features, in_features}),
        std::span<const float>{});
    return prepared.release();
  });
}

/// x (rows, in_features), y (rows, out_features).
bool regard_linear_run(void* handle, const float* x, std::int64_t rows, float* y, char* error) {
  const auto& prepared = *static_cast<Prepared*>(handle);
  return guarded(error, [&] {
    const regard::Linear& linear = *prepared.linear;
    linear.run({x, {rows, linear.in_features()}}, {y, {rows, linear.out_features()}},
               prepared.executor.get());
    return true;
  });
}

void regard_free(void* handle) { delete static_cast<Prepared*>(handle); }

}  // extern "C"
