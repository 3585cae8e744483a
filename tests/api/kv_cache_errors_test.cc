// tests/api/kv_cache_errors_test.cc - what a cache, and attention over pages, refuse, and how they
// say it.
#include <gtest/gtest.h>

#include <limits>

#include "regard/kv_cache.h"
#include "regard/plan.h"
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
