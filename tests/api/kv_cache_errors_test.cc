// tests/api/kv_cache_errors_test.cc - what a cache, and attention over pages, refuse, and how they
// say it.
#include <gtest/gtest.h>

#include <limits>

#include "regard/kv_cache.h"
#include "regard/plan.h"
#include "regard/rope.h"
#include "regard/state.h"
#include "support/refusal.h"

namespace regard::test {
namespace {

KvCacheShape shape() {
  KvCacheShape s;
  s.head_dim = 16;
  s.value_dim = 16;
  return s;
}

template <class Change>
std::string said_of(Change change) {
  KvCacheShape s = shape();
  change(s);
  return refusal([&] { PagedKvCache cache(s); });
}

TEST(KvCacheErrors, Shapes) {
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(said_of([](auto& s) { s.num_layers = 0; }),
            "kv_cache: num_layers is 0, expected 1..1099511627776");
  EXPECT_EQ(said_of([](auto& s) { s.num_kv_heads = -1; }),
            "kv_cache: num_kv_heads is -1, expected 1..1099511627776");
  EXPECT_EQ(said_of([](auto& s) { s.head_dim = 1025; }),
            "kv_cache: head_dim is 1025, expected 1..1024");
  EXPECT_EQ(said_of([](auto& s) { s.value_dim = 0; }),
            "kv_cache: value_dim is 0, expected 1..1024");
  for (const std::int64_t size : {std::int64_t{0}, std::int64_t{8}, std::int64_t{17}, kHuge}) {
    EXPECT_EQ(said_of([&](auto& s) { s.page_size = size; }),
              "kv_cache: page_size is " + std::to_string(size) + ", expected a multiple of 16");
  }
  EXPECT_NE(said_of([](auto& s) {
              s.num_layers = s.num_kv_heads = std::int64_t{1} << 40;
            }).find("too large"),
            std::string::npos);
  EXPECT_EQ(said_of([](auto& s) { s.budget_bytes = 100; }),
            "kv_cache: budget_bytes is 100, expected at least 8192, one page of 64 tokens");
  EXPECT_NE(said_of([](auto& s) { s.budget_bytes = kHuge; }).find("at most 2^30 pages"),
            std::string::npos);
}

TEST(KvCacheErrors, Calls) {
  PagedKvCache cache(shape());
  const auto s = cache.create();
  cache.extend(s, 10);
  const std::vector<float> row(16 * 20);
  const InputView<3> two(row.data(), {1, 2, 16});
  const auto said = [](auto f) { return refusal(f); };
  EXPECT_EQ(said([&] { cache.length(99); }),
            "kv_cache: sequence 99 is not there, expected one that create() or fork() gave and "
            "release() did not take");
  EXPECT_EQ(said([&] { cache.extend(s, -1); }).find("kv_cache: count is -1, expected 0.."), 0U);
  EXPECT_EQ(said([&] {
              cache.extend(s, std::numeric_limits<std::int64_t>::max());
            }).find("kv_cache: count is 9223372036854775807"),
            0U);
  EXPECT_EQ(said([&] { cache.truncate(s, 11); }), "kv_cache: length is 11, expected 0..10");
  EXPECT_EQ(said([&] { cache.write(1, s, 0, two, two); }), "kv_cache: layer is 1, expected 0..0");
  EXPECT_EQ(said([&] { cache.write(0, s, 9, two, two); }),
            "kv_cache: position + key.shape[1] is 11, expected 9..10");
  EXPECT_EQ(said([&] { cache.write(0, s, -1, two, two); }),
            "kv_cache: position is -1, expected 0..10");
  EXPECT_EQ(said([&] { cache.write(0, s, 0, InputView<3>(row.data(), {2, 2, 16}), two); }),
            "kv_cache: key.shape[0] is 2, expected 1 (num_kv_heads)");
  EXPECT_EQ(said([&] { cache.write(0, s, 0, two, InputView<3>(row.data(), {1, 3, 16})); }),
            "kv_cache: value.shape[1] is 3, expected 2 (tokens of key)");
  InputView<3> bytes = two;
  bytes.dtype = DType::kI8;
  EXPECT_EQ(said([&] { cache.write(0, s, 0, bytes, two); }),
            "kv_cache: key.dtype is int8, expected f32, bf16 or f16");
  EXPECT_EQ(said([&] { cache.evict(s, -1, 3); }).find("kv_cache: keep_first is -1"), 0U);
  EXPECT_EQ(said([&] { cache.evict(s, 1, -3); }).find("kv_cache: keep_last is -3"), 0U);
  const std::vector<std::int32_t> ids(3);
  EXPECT_EQ(said([&] { cache.publish(s, ids); }),
            "kv_cache: ids.size() is 3, expected 10 (the sequence's length)");
  EXPECT_EQ(said([&] { cache.adopt(s, ids); }),
            "kv_cache: length is 10, expected 0 (an empty sequence)");
  cache.release(s);
  EXPECT_THROW(cache.release(s), std::invalid_argument);
}

TEST(KvCacheErrors, SequencesThatAreNotThere) {
  PagedKvCache cache(shape());
  const auto released = cache.create();
  cache.release(released);
  const PagedKvCache::Sequence there = cache.create();
  std::vector<float> row(16);
  const InputView<3> view(row.data(), {1, 1, 16});
  const TensorView<float, 3> out(row.data(), {1, 1, 16});
  for (const std::int64_t s :
       {std::int64_t{-1}, released, there + 1, std::numeric_limits<std::int64_t>::min(),
        std::numeric_limits<std::int64_t>::max()}) {
    const std::string want = "kv_cache: sequence " + std::to_string(s) +
                             " is not there, expected one that create() or fork() gave and "
                             "release() did not take";
    const PagedKvCache::Sequence both[] = {there, s};
    EXPECT_EQ(refusal([&] { cache.release(s); }), want);
    EXPECT_EQ(refusal([&] { cache.fork(s); }), want);
    EXPECT_EQ(refusal([&] { cache.length(s); }), want);
    EXPECT_EQ(refusal([&] { cache.options(s); }), want);
    EXPECT_EQ(refusal([&] { cache.extend(s, 1); }), want);
    EXPECT_EQ(refusal([&] { cache.write(0, s, 0, view, view); }), want);
    EXPECT_EQ(refusal([&] { cache.truncate(s, 0); }), want);
    EXPECT_EQ(refusal([&] { cache.evict(s, 0, 0); }), want);
    EXPECT_EQ(refusal([&] { cache.publish(s, {}); }), want);
    EXPECT_EQ(refusal([&] { cache.adopt(s, {}); }), want);
    EXPECT_EQ(refusal([&] { cache.view(both); }), want);
    EXPECT_EQ(refusal([&] { cache.read(0, s, out, out); }), want);
    EXPECT_EQ(refusal([&] { cache.save(s, "never-written"); }), want);
  }
  EXPECT_EQ(cache.stats().num_sequences, 1);
}

TEST(KvCacheErrors, ViewsThatDoNotFit) {
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  PagedKvCache cache(shape());
  const auto s = cache.create();
  cache.extend(s, 10);
  std::vector<float> row(16 * 20);
  const InputView<3> one(row.data(), {1, 1, 16});
  const auto said = [&](const InputView<3>& key, const InputView<3>& value) {
    return refusal([&] { cache.write(0, s, 1, key, value); });
  };
  // All of its tokens are one, in memory.
  const InputView<3> endless(row.data(), DType::kF32, {1, kHuge, 16}, {16, 0, 1});
  EXPECT_EQ(said(endless, endless),
            "kv_cache: key.shape[1] is 9223372036854775807, expected 0..1099511627776");
  const InputView<3> fewer(row.data(), {1, -1, 16});
  EXPECT_EQ(said(fewer, fewer), "kv_cache: key.shape[1] is -1, expected 0..1099511627776");
  const InputView<3> many(row.data(), DType::kF32, {1, 10, 16}, {16, 0, 1});
  EXPECT_EQ(said(many, many), "kv_cache: position + key.shape[1] is 11, expected 1..10");
  const InputView<3> narrow(row.data(), {1, 1, 15}), none(static_cast<float*>(nullptr), {1, 1, 16});
  EXPECT_EQ(said(narrow, one), "kv_cache: key.shape[2] is 15, expected 16 (dim)");
  EXPECT_EQ(said(one, narrow), "kv_cache: value.shape[2] is 15, expected 16 (dim)");
  EXPECT_EQ(said(none, one), "kv_cache: key.data is null, expected a pointer to its elements");
  InputView<3> bytes = one;
  bytes.dtype = DType::kI8;
  EXPECT_EQ(said(one, bytes), "kv_cache: value.dtype is int8, expected f32, bf16 or f16");
  InputView<3> far = one;
  far.shape[1] = 2, far.strides[1] = kHuge;
  EXPECT_EQ(
      said(far, far),
      "kv_cache: key.strides[1] is 9223372036854775807, expected a view that fits into memory");
  const TensorView<float, 3> ten(row.data(), {1, 10, 16}), nine(row.data(), {1, 9, 16});
  EXPECT_EQ(refusal([&] { cache.read(0, s, nine, ten); }),
            "kv_cache: key.shape[1] is 9, expected 10 (length)");
  EXPECT_EQ(refusal([&] { cache.read(0, s, ten, nine); }),
            "kv_cache: value.shape[1] is 9, expected 10 (length)");
  EXPECT_EQ(refusal([&] { cache.read(-1, s, ten, ten); }), "kv_cache: layer is -1, expected 0..0");
  EXPECT_EQ(said_of([](auto& x) { x.fingerprint = std::string(5000, 'x'); }),
            "kv_cache: fingerprint.size() is 5000, expected at most 4096");
  EXPECT_EQ(said_of([](auto& x) { x.budget_bytes = 0; }),
            "kv_cache: budget_bytes is 0, expected at least 8192, one page of 64 tokens");
}

/// Nothing of a write that is refused has been done.
TEST(KvCacheErrors, AnInt8WriteIsWholeOrNotAtAll) {
  KvCacheShape s = shape();
  s.dtype = DType::kI8;
  PagedKvCache cache(s);
  const auto a = cache.create();
  cache.extend(a, 3);
  std::vector<float> ones(3 * 16, 1.0F), kept(2 * 3 * 16);
  const InputView<3> good(ones.data(), {1, 3, 16});
  std::vector<float> spoiled = ones;
  spoiled[2 * 16 + 5] = std::numeric_limits<float>::infinity();
  const InputView<3> bad(spoiled.data(), {1, 3, 16});
  const auto b = cache.fork(a);
  EXPECT_EQ(refusal([&] { cache.write(0, b, 0, good, bad); }),
            "kv_cache: value[0, 2] is not finite, expected finite numbers in an int8 cache");
  EXPECT_EQ(refusal([&] { cache.write(0, b, 0, bad, good); }),
            "kv_cache: key[0, 2] is not finite, expected finite numbers in an int8 cache");
  cache.read(0, b, {kept.data(), {1, 3, 16}}, {kept.data() + 3 * 16, {1, 3, 16}});
  EXPECT_EQ(kept, std::vector<float>(kept.size(), 0.0F));
  EXPECT_EQ(cache.stats().used_pages, 1) << "not even a page was copied";
}

/// A tensor of int8 has no scales: nothing takes one.
TEST(KvCacheErrors, TensorsOfInt8) {
  std::vector<float> x(16);
  const InputView<4> view(x.data(), {1, 1, 1, 16});
  InputView<4> bytes = view;
  bytes.dtype = DType::kI8;
  OutputView<4> out(x.data(), {1, 1, 1, 16});
  EXPECT_EQ(refusal([&] {
              Bias bias;
              bias.values = bytes;
              bias.values.shape = {1, 1, 1, 1};
              AttentionOptions options;
              options.score_mods = {bias};
              attention(view, view, view, out, options);
            }),
            "attention: score_mods[0].values.dtype is int8, expected f32, bf16 or f16");
  const Rope rope(16);
  EXPECT_EQ(refusal([&] { rope.apply(bytes, out, 0); }),
            "Rope: x.dtype is int8, expected f32, bf16 or f16");
  const AttentionState state = partial_attention(view, view, view);
  out.dtype = DType::kI8;
  EXPECT_EQ(refusal([&] { finish(state, out); }),
            "finish: out.dtype is int8, expected f32, bf16 or f16");
}

TEST(KvCacheErrors, AttentionOverPages) {
  PagedKvCache cache(shape());
  const auto s = cache.create();
  cache.extend(s, 100);
  std::vector<float> query(16), out(16);
  const InputView<4> q(query.data(), {1, 1, 1, 16});
  const OutputView<4> o(out.data(), {1, 1, 1, 16});
  AttentionOptions options;
  options.mask = CausalMask{};
  const auto said = [&](const PagedView& view) {
    return refusal([&] { attention(q, view, o, options); });
  };
  EXPECT_NE(said(cache.view(s)).find("attention: q_offset is not given"), std::string::npos);
  options.q_offset = 99;
  EXPECT_EQ(said(cache.view(s)), "nothing thrown");
  PagedView view = cache.view(s);
  view.page_size = 10;
  EXPECT_EQ(said(view), "attention: page_size is 10, expected a multiple of 16");
  view = cache.view(s);
  view.tables = {nullptr};
  EXPECT_EQ(said(view), "attention: pages.tables[0] is null, expected a list of pages");
  view.tables.clear();
  EXPECT_EQ(said(view), "attention: pages.tables.size() is 0, expected 1 (sequences)");
  view = cache.view(s);
  view.kv_lens = {-1};
  EXPECT_NE(said(view).find("kv_len"), std::string::npos);
  view = cache.view(s);
  view.head_dim = 8;
  EXPECT_EQ(said(view), "attention: pages.head_dim is 8, expected 16 (query head_dim)");
  options.kv_lens = view.kv_lens;
  EXPECT_EQ(said(cache.view(s)),
            "attention: kv_lens is given, expected none: the view of the pages has them");
  options.kv_lens = {};
  cache.evict(s, 4, 20);
  EXPECT_EQ(
      said(cache.view(s)),
      "attention: mask is open for keys 4..79 of sequence 0, which were evicted, expected one "
      "that hides them, e.g. causal & (prefix(n) | window(n, 0))");
  options.mask = CausalMask{} & (PrefixMask{4} | WindowMask{19, 0});
  EXPECT_EQ(said(cache.view(s)), "nothing thrown");
  EXPECT_EQ(
      refusal([&] {
        AttentionShape bytes{.q_len = 1, .kv_len = 1, .head_dim = 1, .value_dim = 1};
        bytes.key_dtype = DType::kI8;
        const Plan plan(bytes);
      }),
      "attention: key_dtype is int8, expected f32, bf16 or f16, but of pages, whose rows have "
      "scales");
}

}  // namespace
}  // namespace regard::test
