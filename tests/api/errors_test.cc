// tests/api/errors_test.cc - every argument that the engine refuses, and the words it refuses it
// with.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>

#include "regard/regard.h"
#include "support/problem.h"

namespace regard::test {
namespace {

// What f throws as std::invalid_argument, or "nothing thrown".
std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "nothing thrown";
}

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

TEST(Errors, PlanOptions) {
  AttentionOptions options;
  options.scale = std::numeric_limits<float>::infinity();
  EXPECT_EQ(plan_refusal(kShape, options), "attention: scale is inf, expected a finite number");
  options.scale = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(plan_refusal(kShape, options), "attention: scale is -inf, expected a finite number");
  options.scale = std::nanf("");
  EXPECT_EQ(plan_refusal(kShape, options), "attention: scale is nan, expected a finite number");
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

// The five views of kShape, to be spoiled one extent at a time.
struct Views {
  std::vector<float> memory = std::vector<float>(1000);
  TensorView<float, 4> query{memory.data(), {2, 6, 4, 8}}, key{memory.data(), {2, 3, 5, 8}},
      value{memory.data(), {2, 3, 5, 9}}, out{memory.data(), {2, 6, 4, 9}};
  TensorView<float, 3> lse{memory.data(), {2, 6, 4}};

  std::string run() const {
    return refusal([&] { Plan(kShape).run(query, key, value, out, {.lse = lse}); });
  }
};

TEST(Errors, EveryExtentOfEveryView) {
  const auto expect = [](TensorView<float, 4> Views::* view, std::size_t axis,
                         const char* message) {
    Views views;
    ++(views.*view).shape[axis];
    EXPECT_EQ(views.run(), message);
    for (const float x : views.memory) ASSERT_EQ(x, 0.0F);  // nothing was written
  };
  expect(&Views::query, 0, "attention: query.shape[0] is 3, expected 2 (batch)");
  expect(&Views::query, 1, "attention: query.shape[1] is 7, expected 6 (num_heads)");
  expect(&Views::query, 2, "attention: query.shape[2] is 5, expected 4 (q_len)");
  expect(&Views::query, 3, "attention: query.shape[3] is 9, expected 8 (head_dim)");
  expect(&Views::key, 0, "attention: key.shape[0] is 3, expected 2 (batch)");
  expect(&Views::key, 1, "attention: key.shape[1] is 4, expected 3 (num_kv_heads)");
  expect(&Views::key, 2, "attention: key.shape[2] is 6, expected 0..5");
  expect(&Views::key, 3, "attention: key.shape[3] is 9, expected 8 (head_dim)");
  expect(&Views::value, 0, "attention: value.shape[0] is 3, expected 2 (batch)");
  expect(&Views::value, 1, "attention: value.shape[1] is 4, expected 3 (num_kv_heads)");
  expect(&Views::value, 2, "attention: value.shape[2] is 6, expected 5 (kv_len)");
  expect(&Views::value, 3, "attention: value.shape[3] is 10, expected 9 (value_dim)");
  expect(&Views::out, 0, "attention: out.shape[0] is 3, expected 2 (batch)");
  expect(&Views::out, 1, "attention: out.shape[1] is 7, expected 6 (num_heads)");
  expect(&Views::out, 2, "attention: out.shape[2] is 5, expected 4 (q_len)");
  expect(&Views::out, 3, "attention: out.shape[3] is 10, expected 9 (value_dim)");
  const char* const lse[] = {"attention: lse.shape[0] is 3, expected 2 (batch)",
                             "attention: lse.shape[1] is 7, expected 6 (num_heads)",
                             "attention: lse.shape[2] is 5, expected 4 (q_len)"};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    Views views;
    ++views.lse.shape[axis];
    EXPECT_EQ(views.run(), lse[axis]);
  }
}

TEST(Errors, ViewsOfNothing) {
  for (const auto view : {&Views::query, &Views::key, &Views::value, &Views::out}) {
    Views views;
    (views.*view).data = nullptr;
    EXPECT_NE(views.run().find(".data is null, expected a pointer to its elements"),
              std::string::npos)
        << views.run();
  }
  Views views;
  views.lse.data = nullptr;
  EXPECT_EQ(views.run(), "attention: lse.data is null, expected a pointer to its elements");
  EXPECT_EQ(Views{}.run(), "nothing thrown");
}

// In one call the shapes come from the views: what does not fit is named the same way.
TEST(Errors, OneCall) {
  Views views;
  views.key.shape[3] = 4;
  EXPECT_EQ(refusal([&] { attention(views.query, views.key, views.value, views.out); }),
            "attention: key.shape[3] is 4, expected 8 (head_dim)");
  views.key.shape = {2, 4, 5, 8};
  EXPECT_EQ(refusal([&] { attention(views.query, views.key, views.value, views.out); }),
            "attention: num_heads is 6, expected a multiple of num_kv_heads (4)");
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
