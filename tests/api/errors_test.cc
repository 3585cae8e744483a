// tests/api/errors_test.cc - every argument that the engine refuses, and the words it refuses it
// with.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "regard/regard.h"
#include "support/refusal.h"

namespace regard::test {
namespace {

std::string plan_refusal(const AttentionShape& shape, const AttentionOptions& options = {}) {
  return refusal([&] { const Plan plan(shape, options); });
}

const AttentionShape kShape{2, 6, 3, 4, 5, 8, 9};

TEST(Errors, PlanExtents) {
  const auto with = [](std::int64_t AttentionShape::* extent, std::int64_t n) {
    AttentionShape shape = kShape;
    shape.*extent = n;
    return plan_refusal(shape);
  };
  using S = AttentionShape;
  EXPECT_EQ(with(&S::batch, -1), "attention: batch is -1, expected 0..1099511627776");
  EXPECT_EQ(with(&S::num_heads, 0), "attention: num_heads is 0, expected 1..1099511627776");
  EXPECT_EQ(with(&S::num_kv_heads, 0), "attention: num_kv_heads is 0, expected 1..1099511627776");
  EXPECT_EQ(with(&S::q_len, -7), "attention: q_len is -7, expected 0..1099511627776");
  EXPECT_EQ(with(&S::kv_len, INT64_MIN),
            "attention: kv_len is -9223372036854775808, expected 0..1099511627776");
  EXPECT_EQ(with(&S::kv_len, INT64_MAX),
            "attention: kv_len is 9223372036854775807, expected 0..1099511627776");
  EXPECT_EQ(with(&S::head_dim, 0), "attention: head_dim is 0, expected 1..1024");
  EXPECT_EQ(with(&S::head_dim, 1025), "attention: head_dim is 1025, expected 1..1024");
  EXPECT_EQ(with(&S::value_dim, 0), "attention: value_dim is 0, expected 1..1024");
  EXPECT_EQ(with(&S::value_dim, 1025), "attention: value_dim is 1025, expected 1..1024");
  EXPECT_EQ(with(&S::num_kv_heads, 4),
            "attention: num_heads is 6, expected a multiple of num_kv_heads (4)");
  EXPECT_EQ(with(&S::num_kv_heads, 12),
            "attention: num_heads is 6, expected a multiple of num_kv_heads (12)");
}

// Extents that are each allowed, but whose product is no number of elements.
TEST(Errors, PlanSizes) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  const std::string queries =
      "attention: batch * num_heads * q_len * max(head_dim, value_dim) is too large, expected at "
      "most 2^56 elements";
  const std::string keys =
      "attention: batch * num_kv_heads * kv_len * max(head_dim, value_dim) is too large, expected "
      "at most 2^56 elements";
  EXPECT_EQ(plan_refusal({kMost, kMost, 1, 1, 1, 1, 1}), queries);  // 2^80 elements, 0 modulo 2^64
  EXPECT_EQ(plan_refusal({kMost, kMost, 1, 0, 0, 1, 1}), queries);
  EXPECT_EQ(plan_refusal({1, 1, 1, kMost, 1, 1, 1 << 17}),
            "attention: value_dim is 131072, expected 1..1024");
  EXPECT_EQ(plan_refusal({1, 1 << 7, 1, kMost, 1, 1, 1024}), queries);
  EXPECT_EQ(plan_refusal({1, 1 << 7, 1 << 7, 1, kMost, 1024, 1}), keys);
  EXPECT_EQ(plan_refusal({1, 1, 1, 1, kMost, 1024, 1024}), "nothing thrown");
}

TEST(Errors, PlanOptions) {
  AttentionOptions options;
  options.scale = std::numeric_limits<float>::infinity();
  EXPECT_EQ(plan_refusal(kShape, options), "attention: scale is inf, expected a finite number");
  options.scale = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(plan_refusal(kShape, options), "attention: scale is -inf, expected a finite number");
  options.scale = std::nanf("");
  EXPECT_EQ(plan_refusal(kShape, options), "attention: scale is nan, expected a finite number");
  options = {};
  options.kv_offset = 100;
  EXPECT_EQ(plan_refusal(kShape, options),
            "attention: kv_offset is 100, expected a multiple of 256");
  options.kv_offset = -256;
  EXPECT_EQ(plan_refusal(kShape, options),
            "attention: kv_offset is -256, expected 0..1099511627776");
  options = {};
  options.q_offset = INT64_MIN;
  EXPECT_EQ(plan_refusal(kShape, options),
            "attention: q_offset is -9223372036854775808, expected -1099511627776..1099511627776");
}

TEST(Errors, PositionsMustBeGivenWhereTheyMatter) {
  AttentionOptions options;
  options.mask = CausalMask{};
  EXPECT_EQ(plan_refusal(kShape, options),
            "attention: q_offset is not given, expected the position of query 0, because q_len (4) "
            "differs from kv_len (5) and the mask or a modifier speaks of positions");
  options.q_offset = 1;
  EXPECT_EQ(plan_refusal(kShape, options), "nothing thrown");
  options.q_offset.reset();
  AttentionShape square = kShape;
  square.q_len = square.kv_len;
  EXPECT_EQ(plan_refusal(square, options), "nothing thrown");
  options.mask = FullMask{};
  EXPECT_EQ(plan_refusal(kShape, options), "nothing thrown");
}

TEST(Errors, PositionsOfSequences) {
  const std::vector<std::int64_t> one{1}, two{1, INT64_MAX};
  AttentionOptions options;
  options.q_offsets = one;
  EXPECT_EQ(plan_refusal(kShape, options),
            "attention: q_offsets.size() is 1, expected 2 (sequences)");
  options.q_offsets = two;
  EXPECT_EQ(
      plan_refusal(kShape, options),
      "attention: q_offsets[1] is 9223372036854775807, expected -1099511627776..1099511627776");
  const std::vector<std::int64_t> good{1, -4};
  options.q_offsets = good;
  EXPECT_EQ(plan_refusal(kShape, options), "nothing thrown");
  options.q_offset = 0;
  EXPECT_EQ(plan_refusal(kShape, options),
            "attention: q_offsets is given beside q_offset, expected one of the two");
}

TEST(Errors, PackedSequencesAreOfOneBatchEntry) {
  const std::vector<std::int64_t> ends{0, 2, 4};
  EXPECT_EQ(plan_refusal(kShape, {.cu_seqlens_q = ends, .cu_seqlens_kv = ends}),
            "attention: batch is 2, expected 1 (with cu_seqlens)");
}

TEST(Errors, Sinks) {
  const auto with = [](std::vector<float> sinks) { return plan_refusal(kShape, {.sinks = sinks}); };
  EXPECT_EQ(with({1, 2, 3}), "attention: sinks.size() is 3, expected 6 (num_heads)");
  EXPECT_EQ(with({1, 2, std::nanf(""), 4, 5, 6}),
            "attention: sinks[2] is nan, expected a finite number");
  EXPECT_EQ(with({1, 2, 3, 4, 5, -std::numeric_limits<float>::infinity()}),
            "attention: sinks[5] is -inf, expected a finite number");
  EXPECT_EQ(with({1, 2, 3, 4, 5, 6}), "nothing thrown");
}

TEST(Errors, KeyLengths) {
  AttentionOptions options;
  const auto with = [&](std::vector<std::int64_t> kv_lens) {
    options.kv_lens = kv_lens;
    return plan_refusal(kShape, options);
  };
  EXPECT_EQ(with({5}), "attention: kv_lens.size() is 1, expected 2 (sequences)");
  EXPECT_EQ(with({5, 5, 5}), "attention: kv_lens.size() is 3, expected 2 (sequences)");
  EXPECT_EQ(with({5, 6}), "attention: kv_lens[1] is 6, expected 0..5");
  EXPECT_EQ(with({-1, 5}), "attention: kv_lens[0] is -1, expected 0..5");
  EXPECT_EQ(with({0, 5}), "nothing thrown");
}

TEST(Errors, Isa) {
  std::string names;
  for (const std::string& name : supported_isas()) names += (names.empty() ? "" : ", ") + name;
  EXPECT_EQ(refusal([] { force_isa("AVX1024"); }),
            "force_isa: name is \"AVX1024\", expected one of " + names);
  EXPECT_EQ(active_isa(), supported_isas().front());
}

TEST(Errors, WeightsProbe) {
  std::vector<float> memory(100);
  const auto with = [&](std::int64_t batch, std::vector<std::int64_t> heads,
                        std::vector<std::int64_t> queries, std::array<std::int64_t, 3> shape) {
    return refusal(
        [&] { const WeightsProbe probe(batch, heads, queries, {memory.data(), shape}); });
  };
  EXPECT_EQ(with(0, {0, 2}, {1}, {2, 1, 5}), "nothing thrown");
  EXPECT_NE(with(-1, {0}, {1}, {1, 1, 5}).find("WeightsProbe: batch is -1, expected 0 or more"),
            std::string::npos);
  EXPECT_NE(with(0, {-1}, {1}, {1, 1, 5}).find("WeightsProbe: heads[0] is -1, expected 0.."),
            std::string::npos);
  EXPECT_EQ(with(0, {0}, {INT64_MAX}, {1, 1, 5}),
            "WeightsProbe: queries[0] is 9223372036854775807, expected 0..16777216");
  EXPECT_EQ(with(0, {0}, {3, 3}, {1, 2, 5}),
            "WeightsProbe: queries[1] is 3 again, expected an index without repetition");
  EXPECT_EQ(with(0, {0}, {1}, {2, 1, 5}),
            "WeightsProbe: out.shape[0] is 2, expected 1 (heads.size())");
  EXPECT_EQ(with(0, {0}, {1}, {1, 2, 5}),
            "WeightsProbe: out.shape[1] is 2, expected 1 (queries.size())");
  EXPECT_EQ(with(0, {0}, {1}, {1, 1, -5}), "WeightsProbe: out.shape[2] is -5, expected 0 (kv_len)");
}

TEST(Errors, Linear) {
  std::vector<float> memory(100);
  const auto make = [&](std::int64_t out, std::int64_t in, std::size_t bias) {
    return refusal([&] {
      const Linear linear({memory.data(), {out, in}}, std::span<const float>(memory.data(), bias));
    });
  };
  EXPECT_EQ(make(4, 3, 4), "nothing thrown");
  EXPECT_EQ(make(4, 3, 0), "nothing thrown");
  EXPECT_NE(make(4, 3, 3).find("bias"), std::string::npos) << make(4, 3, 3);
  EXPECT_NE(make(0, 3, 0).find("weight.shape[0] is 0"), std::string::npos) << make(0, 3, 0);
  EXPECT_NE(make(4, -1, 0).find("weight.shape[1] is -1"), std::string::npos) << make(4, -1, 0);
  const Linear linear({memory.data(), {4, 3}}, {});
  const auto run = [&](std::array<std::int64_t, 2> x, std::array<std::int64_t, 2> y) {
    return refusal([&] { linear.run({memory.data(), x}, {memory.data() + 50, y}); });
  };
  EXPECT_EQ(run({2, 3}, {2, 4}), "nothing thrown");
  EXPECT_NE(run({-2, 3}, {-2, 4}).find("x.shape[0] is -2, expected 0 or more"), std::string::npos);
  EXPECT_NE(run({2, 4}, {2, 4}).find("x.shape[1] is 4, expected 3"), std::string::npos);
  EXPECT_NE(run({2, 3}, {3, 4}).find("y.shape[0] is 3, expected 2"), std::string::npos);
  EXPECT_NE(run({2, 3}, {2, 5}).find("y.shape[1] is 5, expected 4"), std::string::npos);
}

TEST(Errors, ThreadPool) {
  EXPECT_EQ(refusal([] { make_thread_pool(0); }),
            "make_thread_pool: num_threads is 0, expected 1..1024");
  EXPECT_EQ(refusal([] { make_thread_pool(-3); }),
            "make_thread_pool: num_threads is -3, expected 1..1024");
}

}  // namespace
}  // namespace regard::test
