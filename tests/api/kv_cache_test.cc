// tests/api/kv_cache_test.cc - a paged cache gives attention the bits of contiguous keys and
// values, whatever its pages and whatever happened to them.
#include "regard/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "regard/probe.h"
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

/// Row i of head h of batch entry b.
const float* row_of(const Dense<float>& x, std::int64_t b, std::int64_t h, std::int64_t i) {
  return &x.data[static_cast<std::size_t>(((b * x.shape[1] + h) * x.shape[2] + i) * x.shape[3])];
}

/// Several sequences, and for each the last `queries` rows of its text.
struct Batch {
  Batch(Text& text, PagedKvCache& cache) {
    for (std::int64_t count = text.rng.integer(1, 6); count > 0; --count) {
      sequences.push_back(cache.create());
      ends.push_back(text.rng.integer(1, text.n));
      queries.push_back(text.rng.integer(0, std::min<std::int64_t>(ends.back(), 30)));
      append(cache, sequences.back(), text.key, text.value, 0, ends.back());
    }
  }
  std::vector<Sequence> sequences;
  std::vector<std::int64_t> ends, queries;
};

/// Rows [0, count) of batch entry b, from row `row` on, are those that the sequence gives alone.
void expect_rows(const Text& text, const PagedKvCache& cache, const Dense<float>& out,
                 std::array<std::int64_t, 2> b_and_row, Sequence s, std::int64_t count) {
  if (count == 0) return;
  const std::int64_t end = cache.length(s);
  const Dense<float> alone = from_pages(text.query, cache, s, end - count, end, text.options);
  for (std::int64_t h = 0; h < out.shape[1]; ++h) {
    EXPECT_EQ(0, std::memcmp(row_of(out, b_and_row[0], h, b_and_row[1]), row_of(alone, 0, h, 0),
                             static_cast<std::size_t>(count * out.shape[3]) * sizeof(float)));
  }
}

void copy_rows(const Text& text, std::int64_t first, std::int64_t count, Dense<float>& to,
               std::int64_t b, std::int64_t row) {
  for (std::int64_t h = 0; h < to.shape[1] && count > 0; ++h) {
    std::memcpy(const_cast<float*>(row_of(to, b, h, row)), row_of(text.query, 0, h, first),
                static_cast<std::size_t>(count * to.shape[3]) * sizeof(float));
  }
}

/// D3: one row of each of several sequences of any length gives each the bits that it has alone.
TEST(KvCache, D3SequencesDecodedTogether) {
  for (const std::uint64_t seed : trial_seeds(12)) {
    REGARD_TRIAL(seed);
    Text text(seed);
    REGARD_FOR_EACH_ISA(isa) {
      PagedKvCache cache(text.shape);
      const Batch batch(text, cache);
      const std::int64_t size = std::ssize(batch.sequences), heads = text.query.shape[1];
      Dense<float> query({size, heads, 1, text.shape.head_dim}),
          out({size, heads, 1, text.shape.value_dim});
      AttentionOptions options = text.options;
      std::vector<std::int64_t> offsets;
      for (std::int64_t b = 0; b < size; ++b) {
        offsets.push_back(batch.ends[static_cast<std::size_t>(b)] - 1);
        copy_rows(text, offsets.back(), 1, query, b, 0);
      }
      options.q_offsets = offsets;
      attention(query.view(), cache.view(batch.sequences), out.view(), options);
      for (std::int64_t b = 0; b < size; ++b) {
        const Sequence s = batch.sequences[static_cast<std::size_t>(b)];
        expect_rows(text, cache, out, {b, 0}, s, 1);
      }
    }
  }
}

/// The same for ragged queries, some sequences having none.
TEST(KvCache, D3SequencesOfRaggedQueriesTogether) {
  for (const std::uint64_t seed : trial_seeds(12)) {
    REGARD_TRIAL(seed);
    Text text(seed);
    REGARD_FOR_EACH_ISA(isa) {
      PagedKvCache cache(text.shape);
      const Batch batch(text, cache);
      AttentionOptions options = text.options;
      std::vector<std::int64_t> begins{0}, offsets;
      for (std::size_t i = 0; i < batch.sequences.size(); ++i) {
        begins.push_back(begins.back() + batch.queries[i]);
        offsets.push_back(batch.ends[i] - batch.queries[i]);
      }
      Dense<float> query({1, text.query.shape[1], begins.back(), text.shape.head_dim}),
          out({1, text.query.shape[1], begins.back(), text.shape.value_dim});
      for (std::size_t i = 0; i < batch.sequences.size(); ++i)
        copy_rows(text, offsets[i], batch.queries[i], query, 0, begins[i]);
      options.q_offsets = offsets;
      options.cu_seqlens_q = begins;
      attention(query.view(), cache.view(batch.sequences), out.view(), options);
      for (std::size_t i = 0; i < batch.sequences.size(); ++i)
        expect_rows(text, cache, out, {0, begins[i]}, batch.sequences[i], batch.queries[i]);
    }
  }
}

/// Weights of a probe over pages are those over the tensors; those of an int8 cache know nothing of
/// the scales of its values.
TEST(KvCache, ProbesSeeTheWeights) {
  Text text(5);
  const auto weights = [&](const auto& run, const Dense<float>& value) {
    Dense<float> seen({1, 2, 3, text.n}), out({1, text.query.shape[1], text.n, value.shape[3]});
    const std::int64_t heads[] = {0, 1}, queries[] = {0, text.n / 2, text.n - 1};
    WeightsProbe probe(0, heads, queries, {seen.data.data(), {2, 3, text.n}});
    run(out, RunOptions{.probe = &probe});
    return seen;
  };
  const auto from_cache = [&](DType dtype, const Dense<float>& value) {
    KvCacheShape shape = text.shape;
    shape.dtype = dtype;
    PagedKvCache cache(shape);
    const Sequence s = cache.create();
    append(cache, s, text.key, value, 0, text.n);
    return weights(
        [&](Dense<float>& out, const RunOptions& run) {
          attention(text.query.rows(0, text.n), cache.view(s), out.view(), text.options, run);
        },
        value);
  };
  const Dense<float> want = weights(
      [&](Dense<float>& out, const RunOptions& run) {
        attention(text.query.rows(0, text.n), text.key.rows(0, text.n), text.value.rows(0, text.n),
                  out.view(), text.options, run);
      },
      text.value);
  EXPECT_TRUE(from_cache(DType::kF32, text.value) == want);
  Dense<float> larger = text.value;
  for (float& x : larger.data) x *= 100;
  EXPECT_TRUE(from_cache(DType::kI8, text.value) == from_cache(DType::kI8, larger));
}

TEST(KvCache, NoSequenceIsABatchOfNone) {
  const PagedKvCache cache(small_shape());
  Dense<float> query({0, 2, 1, 24}), out({0, 2, 1, 32});
  EXPECT_NO_THROW(attention(query.view(), cache.view(std::span<const Sequence>()), out.view()));
}

}  // namespace
}  // namespace regard::test
