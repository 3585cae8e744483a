// tests/api/kv_cache_test.cc - a paged cache gives attention the bits of contiguous keys and
// values, whatever its pages; sequences share, copy, forget and give back what they should.
#include "regard/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "regard/plan.h"
#include "support/dense.h"
#include "support/isa.h"
#include "support/refusal.h"

namespace regard::test {
namespace {

using Sequence = PagedKvCache::Sequence;

KvCacheShape small_shape(DType dtype = DType::kF32, std::int64_t page_size = 16) {
  return {.num_layers = 2,
          .num_kv_heads = 2,
          .head_dim = 24,
          .value_dim = 32,
          .dtype = dtype,
          .page_size = page_size,
          .budget_bytes = std::int64_t{1} << 24};
}

/// The tokens [begin, end) of one batch entry.
template <class T>
InputView<3> tokens(const Dense<T>& x, std::int64_t begin, std::int64_t end) {
  const InputView<4> view = x.rows(begin, end);
  return {view.data,
          view.dtype,
          {view.shape[1], view.shape[2], view.shape[3]},
          {view.strides[1], view.strides[2], view.strides[3]}};
}

/// Appends tokens of both layers; layer 1 holds the negated numbers' views of another tensor.
template <class T>
void append(PagedKvCache& cache, Sequence s, const Dense<T>& key, const Dense<T>& value,
            std::int64_t begin, std::int64_t end) {
  const std::int64_t at = cache.extend(s, end - begin);
  ASSERT_EQ(at, begin);
  for (std::int64_t layer = 0; layer < cache.shape().num_layers; ++layer)
    cache.write(layer, s, at, tokens(key, begin, end), tokens(value, begin, end));
}

/// Attention of queries [begin, end) over what the cache has, of layer 1.
Dense<float> from_pages(const Dense<float>& query, const PagedKvCache& cache, Sequence s,
                        std::int64_t begin, std::int64_t end, AttentionOptions options) {
  Dense<float> out({1, query.shape[1], end - begin, cache.shape().value_dim});
  options.q_offset = begin;
  PagedView view = cache.view(s);
  attention(query.rows(begin, end), view.layer(1), out.rows(0, end - begin), options);
  return out;
}

template <class T>
Dense<float> from_tensors(const Dense<float>& query, const Dense<T>& key, const Dense<T>& value,
                          std::int64_t begin, std::int64_t end, AttentionOptions options) {
  Dense<float> out({1, query.shape[1], end - begin, value.shape[3]});
  options.q_offset = begin;
  attention(query.rows(begin, end), key.rows(0, end), value.rows(0, end), out.rows(0, end - begin),
            options);
  return out;
}

/// D5 and D4: pages of any size, filled in any order between other sequences, read by prefill, a
/// few rows, and one.
template <class T>
void same_bits_as_tensors(std::uint64_t seed) {
  Rng rng(seed);
  const std::int64_t n = rng.integer(40, 600), group = rng.integer(1, 4);
  KvCacheShape shape = small_shape(dtype_of<T>, rng.pick({16, 32, 48, 64, 256, 1024}));
  shape.head_dim = rng.pick({8, 24, 64, 70});
  shape.value_dim = rng.pick({8, 32, 64, 70});
  Dense<float> query({1, 2 * group, n, shape.head_dim}, rng);
  Dense<T> key({1, 2, n, shape.head_dim}, rng), value({1, 2, n, shape.value_dim}, rng);
  AttentionOptions options;
  options.mask = rng.chance(0.5)
                     ? AnyMask(CausalMask{})
                     : CausalMask{} & (PrefixMask{5} | WindowMask{rng.integer(0, 90), 0});
  REGARD_FOR_EACH_ISA(isa) {
    PagedKvCache cache(shape);
    const Sequence other = cache.create(), s = cache.create();
    for (std::int64_t at = 0; at < n;) {
      const std::int64_t end = std::min(n, at + rng.pick({1, 3, 16, 50, 300}));
      append(cache, s, key, value, at, end);
      cache.extend(other, rng.integer(0, 40));  // so that pages of s are not neighbours
      EXPECT_TRUE(from_pages(query, cache, s, at, end, options) ==
                  from_tensors(query, key, value, at, end, options))
          << "page size " << shape.page_size << ", tokens " << at << ".." << end;
      at = end;
    }
    EXPECT_TRUE(from_pages(query, cache, s, 0, n, options) ==
                from_tensors(query, key, value, 0, n, options));
  }
}

TEST(KvCache, D5AnyPagesTheBitsOfTensors) {
  for (const std::uint64_t seed : trial_seeds(12)) {
    REGARD_TRIAL(seed);
    same_bits_as_tensors<float>(seed);
    same_bits_as_tensors<bf16>(seed + 1000);
    same_bits_as_tensors<f16>(seed + 2000);
  }
}

}  // namespace
}  // namespace regard::test
