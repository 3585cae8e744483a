// tests/api/kv_cache_test.cc - a paged cache gives attention the bits of contiguous keys and
// values, whatever its pages and whatever happened to them.
#include "regard/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/isa.h"
#include "support/kv_cache.h"

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

/// Numbers for one sequence of a cache with 2 KV heads, and attention over them.
struct Text {
  explicit Text(std::uint64_t seed, std::int64_t least = 70, std::int64_t most = 500)
      : rng(seed),
        n(rng.integer(least, most)),
        shape(small_shape(DType::kF32, rng.pick({16, 32, 48, 64, 256}))),
        query({1, 2 * rng.integer(1, 3), n, shape.head_dim}, rng),
        key({1, 2, n, shape.head_dim}, rng),
        value({1, 2, n, shape.value_dim}, rng) {
    options.mask = CausalMask{};
  }
  void expect_same(const PagedKvCache& cache, Sequence s, std::int64_t begin,
                   std::int64_t end) const {
    EXPECT_TRUE(from_pages(query, cache, s, begin, end, options) ==
                from_tensors(query, key, value, begin, end, options))
        << "page size " << shape.page_size << ", tokens " << begin << ".." << end;
  }

  Rng rng;
  std::int64_t n;
  KvCacheShape shape;
  Dense<float> query, key, value;
  AttentionOptions options;
};

TEST(KvCache, ForksHaveTheBitsOfCachesOfTheirOwn) {
  for (const std::uint64_t seed : trial_seeds(12)) {
    REGARD_TRIAL(seed);
    Text a(seed);
    Text b = a;  // other tokens from where it leaves
    const std::int64_t common = a.rng.integer(0, a.n - 1);
    for (const std::int64_t head : {0, 1}) {
      for (std::int64_t i = common; i < a.n; ++i) {
        b.key.data[static_cast<std::size_t>((head * a.n + i) * a.shape.head_dim)] += 1;
        b.value.data[static_cast<std::size_t>((head * a.n + i) * a.shape.value_dim)] -= 1;
      }
    }
    REGARD_FOR_EACH_ISA(isa) {
      PagedKvCache cache(a.shape);
      const Sequence first = cache.create();
      append(cache, first, a.key, a.value, 0, common);
      const Sequence second = cache.fork(first);
      for (std::int64_t at = common; at < a.n;) {
        const std::int64_t end = std::min(a.n, at + a.rng.pick({1, 7, 40}));
        append(cache, first, a.key, a.value, at, end);
        append(cache, second, b.key, b.value, at, end);
        a.expect_same(cache, first, at, end);
        b.expect_same(cache, second, at, end);
        at = end;
      }
    }
  }
}

TEST(KvCache, WhatWasRolledBackWasNeverThere) {
  for (const std::uint64_t seed : trial_seeds(12)) {
    REGARD_TRIAL(seed);
    Text text(seed);
    const Dense<float> wrong_key({1, 2, text.n + 40, text.shape.head_dim}, text.rng),
        wrong_value({1, 2, text.n + 40, text.shape.value_dim}, text.rng);
    REGARD_FOR_EACH_ISA(isa) {
      PagedKvCache cache(text.shape);
      const Sequence s = cache.create();
      for (std::int64_t at = 0; at < text.n;) {
        append(cache, s, wrong_key, wrong_value, at, at + text.rng.integer(1, 40));
        const Sequence copy = text.rng.chance(0.3) ? cache.fork(s) : s;  // so that pages are shared
        cache.truncate(s, at);
        if (copy != s && text.rng.chance(0.5)) cache.release(copy);
        const std::int64_t end = std::min(text.n, at + text.rng.pick({1, 5, 30}));
        append(cache, s, text.key, text.value, at, end);
        text.expect_same(cache, s, at, end);
        at = end;
      }
    }
  }
}

TEST(KvCache, EvictedSequencesHaveTheBitsOfTheMask) {
  for (const std::uint64_t seed : trial_seeds(16)) {
    REGARD_TRIAL(seed);
    Text text(seed, 70, 900);
    const std::int64_t sinks = text.rng.integer(0, 40), window = text.rng.integer(1, 100);
    text.options.mask = CausalMask{} & (PrefixMask{sinks} | WindowMask{window - 1, 0});
    REGARD_FOR_EACH_ISA(isa) {
      PagedKvCache cache(text.shape);
      const Sequence s = cache.create();
      std::int64_t most = 0;
      for (std::int64_t at = 0; at < text.n;) {
        const std::int64_t end = std::min(text.n, at + text.rng.pick({1, 3, 30}));
        append(cache, s, text.key, text.value, at, end);
        text.expect_same(cache, s, at, end);
        cache.evict(s, sinks, window - 1);  // the next query sees itself too
        most = std::max(most, cache.stats().used_pages);
        at = end;
      }
      const std::int64_t slack = 2 * 96 + 2 * text.shape.page_size;  // whole tiles and pages
      EXPECT_LE(most * text.shape.page_size, sinks + window + slack);
    }
  }
}

/// The tile that goes on after a rollback into what was evicted has all of its pages again.
TEST(KvCache, RollbackIntoWhatWasEvicted) {
  for (const std::int64_t page_size : {16, 32, 48, 64}) {
    for (std::int64_t length = 5; length < 230; ++length) {
      Text text(1, 300, 300);
      text.shape.page_size = page_size;
      PagedKvCache cache(text.shape);
      const Sequence s = cache.create();
      append(cache, s, text.key, text.value, 0, 240);
      cache.evict(s, 4, 20);
      cache.truncate(s, length);
      text.options.mask = CausalMask{} & (PrefixMask{4} | WindowMask{9, 0});
      append(cache, s, text.key, text.value, length, length + 10);
      // The last of the ten sees the sinks and the ten.
      EXPECT_TRUE(
          from_pages(text.query, cache, s, length + 9, length + 10, text.options) ==
          from_tensors(text.query, text.key, text.value, length + 9, length + 10, text.options))
          << page_size << " " << length;
      append(cache, s, text.key, text.value, length + 10, length + 60);
      cache.evict(s, 4, 30);
      cache.release(s);
      EXPECT_EQ(cache.stats().used_pages, 0);
    }
  }
}

/// D3: a view of several sequences of any length, also as ragged queries, gives each the bits that
/// it has alone.
TEST(KvCache, D3SequencesTogetherHaveTheBitsOfEachAlone) {
  for (const std::uint64_t seed : trial_seeds(12)) {
    REGARD_TRIAL(seed);
    Text text(seed);
    REGARD_FOR_EACH_ISA(isa) {
      PagedKvCache cache(text.shape);
      std::vector<Sequence> sequences;
      std::vector<std::int64_t> cu_seqlens_q{0}, q_offsets, decode_offsets;
      for (std::int64_t count = text.rng.integer(1, 6); count > 0; --count) {
        const std::int64_t length = text.rng.integer(1, text.n);
        const std::int64_t queries = text.rng.integer(0, std::min<std::int64_t>(length, 30));
        sequences.push_back(cache.create());
        append(cache, sequences.back(), text.key, text.value, 0, length);
        q_offsets.push_back(length - queries);
        decode_offsets.push_back(length - 1);
        cu_seqlens_q.push_back(cu_seqlens_q.back() + queries);
      }
      const std::int64_t heads = text.query.shape[1], batch = std::ssize(sequences);
      Dense<float> packed({1, heads, cu_seqlens_q.back(), text.shape.head_dim});
      Dense<float> decoded({batch, heads, 1, text.shape.head_dim});
      const auto copy = [&](const Dense<float>& from, std::int64_t row, std::int64_t head,
                            float* to) {
        const auto dim = static_cast<std::size_t>(from.shape[3]);
        std::memcpy(to, &from.data[static_cast<std::size_t>(head * from.shape[2] + row) * dim],
                    dim * sizeof(float));
      };
      for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t s = 0; s < batch; ++s) {
          const auto i = static_cast<std::size_t>(s);
          copy(text.query, decode_offsets[i], h,
               &decoded.data[static_cast<std::size_t>((s * heads + h) * text.shape.head_dim)]);
          for (std::int64_t row = cu_seqlens_q[i]; row < cu_seqlens_q[i + 1]; ++row) {
            copy(text.query, q_offsets[i] + row - cu_seqlens_q[i], h,
                 &packed.data[static_cast<std::size_t>((h * packed.shape[2] + row) *
                                                       text.shape.head_dim)]);
          }
        }
      }
      const PagedView view = cache.view(sequences);
      Dense<float> out({1, heads, packed.shape[2], text.shape.value_dim}),
          one({batch, heads, 1, text.shape.value_dim});
      AttentionOptions options = text.options;
      options.q_offsets = decode_offsets;
      attention(decoded.rows(0, 1), view, one.view(), options);
      options.q_offsets = q_offsets;
      options.cu_seqlens_q = cu_seqlens_q;
      attention(packed.rows(0, packed.shape[2]), view, out.view(), options);
      const auto dim = static_cast<std::size_t>(text.shape.value_dim);
      for (std::int64_t s = 0; s < batch; ++s) {
        const auto i = static_cast<std::size_t>(s);
        const std::int64_t end = decode_offsets[i] + 1, queries = end - q_offsets[i];
        const Dense<float> alone =
            from_pages(text.query, cache, sequences[i], q_offsets[i], end, text.options);
        const Dense<float> last =
            from_pages(text.query, cache, sequences[i], end - 1, end, text.options);
        for (std::int64_t h = 0; h < heads; ++h) {
          EXPECT_EQ(
              0, std::memcmp(&one.data[static_cast<std::size_t>(s * heads + h) * dim],
                             &last.data[static_cast<std::size_t>(h) * dim], dim * sizeof(float)));
          if (queries == 0) continue;
          EXPECT_EQ(
              0, std::memcmp(
                     &out.data[static_cast<std::size_t>(h * out.shape[2] + cu_seqlens_q[i]) * dim],
                     &alone.data[static_cast<std::size_t>(h * queries) * dim],
                     static_cast<std::size_t>(queries) * dim * sizeof(float)));
        }
      }
    }
  }
}

TEST(KvCache, NoSequenceIsABatchOfNone) {
  const PagedKvCache cache(small_shape());
  Dense<float> query({0, 2, 1, 24}), out({0, 2, 1, 32});
  EXPECT_NO_THROW(attention(query.view(), cache.view(std::span<const Sequence>()), out.view()));
}

}  // namespace
}  // namespace regard::test
