// tests/api/view_errors_test.cc - every view and every option of a run that the engine refuses, and
// the words it refuses it with.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "regard/regard.h"
#include "support/refusal.h"

namespace regard::test {
namespace {

const AttentionShape kShape{2, 6, 3, 4, 5, 8, 9};

/// The five views of kShape, to be spoiled one by one.
struct Views {
  std::vector<float> memory = std::vector<float>(1000);
  TensorView<float, 4> query{memory.data(), {2, 6, 4, 8}}, key{memory.data(), {2, 3, 5, 8}},
      value{memory.data(), {2, 3, 5, 9}}, out{memory.data(), {2, 6, 4, 9}};
  TensorView<float, 3> lse{memory.data(), {2, 6, 4}};

  std::string run(const AttentionShape& shape = kShape) const {
    return refusal([&] { Plan(shape).run(query, key, value, out, {.lse = lse}); });
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

// Of another type than the plan's: named before anything is read.
TEST(Errors, TypesOfViews) {
  const auto with = [](DType AttentionShape::* dtype, DType wanted) {
    AttentionShape shape = kShape;
    shape.*dtype = wanted;
    return Views{}.run(shape);
  };
  using S = AttentionShape;
  EXPECT_EQ(with(&S::query_dtype, DType::kBf16),
            "attention: query.dtype is f32, expected bf16 (the plan's)");
  EXPECT_EQ(with(&S::key_dtype, DType::kF16),
            "attention: key.dtype is f32, expected f16 (the plan's)");
  EXPECT_EQ(with(&S::value_dtype, DType::kBf16),
            "attention: value.dtype is f32, expected bf16 (the plan's)");
  EXPECT_EQ(with(&S::out_dtype, DType::kF16),
            "attention: out.dtype is f32, expected f16 (the plan's)");
}

template <class T>
T* shifted(T* data, std::ptrdiff_t bytes) {
  return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(data) +
                              static_cast<std::uintptr_t>(bytes));
}

TEST(Errors, AddressesThatNoElementHas) {
  const auto expect = [](TensorView<float, 4> Views::* view, const std::string& name) {
    for (const std::ptrdiff_t bytes : {1, 2, 3}) {
      Views views;
      (views.*view).data = shifted((views.*view).data, bytes);
      EXPECT_EQ(views.run(),
                "attention: " + name +
                    ".data is not aligned, expected an address that is a multiple of 4");
    }
  };
  expect(&Views::query, "query");
  expect(&Views::key, "key");
  expect(&Views::value, "value");
  expect(&Views::out, "out");
  Views views;
  views.lse.data = shifted(views.lse.data, 2);
  EXPECT_EQ(views.run(),
            "attention: lse.data is not aligned, expected an address that is a multiple of 4");
}

TEST(Errors, AddressesThatNoHalfHas) {
  std::vector<bf16> memory(1000);
  const TensorView<bf16, 4> x(memory.data(), {1, 1, 4, 8});
  TensorView<bf16, 4> odd = x;
  odd.data = shifted(odd.data, 1);
  EXPECT_EQ(refusal([&] { attention(x, odd, x, x); }),
            "attention: key.data is not aligned, expected an address that is a multiple of 2");
  odd.data = shifted(odd.data, 1);  // an odd element is fine
  EXPECT_EQ(refusal([&] { attention(x, odd, x, x); }), "nothing thrown");
}

TEST(Errors, StridesThatLeaveMemory) {
  const auto with = [](std::size_t axis, std::int64_t stride) {
    Views views;
    views.key.strides[axis] = stride;
    return views.run();
  };
  const auto message = [](std::size_t axis, std::int64_t stride) {
    return "attention: key.strides[" + std::to_string(axis) + "] is " + std::to_string(stride) +
           ", expected a view that fits into memory";
  };
  for (std::size_t axis = 0; axis < 4; ++axis) {
    for (const std::int64_t stride :
         {INT64_MIN, INT64_MIN + 1, INT64_MAX, std::int64_t{1} << 60, -(std::int64_t{1} << 60)}) {
      EXPECT_EQ(with(axis, stride), message(axis, stride));
    }
  }
  Views views;  // neither axis alone leaves it
  views.out.strides[2] = views.out.strides[3] = std::int64_t{1} << 51;
  EXPECT_EQ(views.run(),
            "attention: out.strides[3] is 2251799813685248, expected a view that fits into memory");
  views = {};
  views.lse.strides[1] = INT64_MIN;
  EXPECT_EQ(
      views.run(),
      "attention: lse.strides[1] is -9223372036854775808, expected a view that fits into memory");
}

// A stride that no element is reached by may be anything.
TEST(Errors, StridesThatDoNotMatter) {
  std::vector<float> memory(100);
  const TensorView<float, 4> x(memory.data(), {1, 1, 4, 8}, {INT64_MIN, INT64_MAX, 8, 1});
  const TensorView<float, 4> out(memory.data() + 50, {1, 1, 4, 8}, {INT64_MIN, INT64_MAX, 8, 1});
  EXPECT_EQ(refusal([&] { attention(x, x, x, out); }), "nothing thrown");
}

TEST(Errors, OptionsOfARun) {
  Views views;
  const Plan plan(kShape);
  const auto with = [&](std::vector<std::int64_t> q_offsets, std::vector<std::int64_t> kv_lens) {
    return refusal([&] {
      plan.run(views.query, views.key, views.value, views.out,
               {.q_offsets = q_offsets, .kv_lens = kv_lens});
    });
  };
  EXPECT_EQ(with({1}, {}), "attention: q_offsets.size() is 1, expected 2 (sequences)");
  EXPECT_EQ(
      with({0, INT64_MIN}, {}),
      "attention: q_offsets[1] is -9223372036854775808, expected -1099511627776..1099511627776");
  EXPECT_EQ(with({}, {1, 2, 3}), "attention: kv_lens.size() is 3, expected 2 (sequences)");
  EXPECT_EQ(with({}, {5, 6}), "attention: kv_lens[1] is 6, expected 0..5");
  EXPECT_EQ(with({}, {-1, 5}), "attention: kv_lens[0] is -1, expected 0..5");
  EXPECT_EQ(with({7, 8}, {0, 5}), "nothing thrown");
  views.key.shape[2] = views.value.shape[2] = 3;  // fewer keys than planned
  EXPECT_EQ(with({}, {0, 4}), "attention: kv_lens[1] is 4, expected 0..3");
}

}  // namespace
}  // namespace regard::test
