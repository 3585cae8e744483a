// tests/api/state_errors_test.cc - what partial_attention, merge and finish refuse, and the words.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "regard/state.h"
#include "support/refusal.h"

namespace regard::test {
namespace {

/// A state that fits: 2 sequences, 3 heads, 4 queries, 5 columns.
AttentionState good() {
  return {.batch = 2,
          .num_heads = 3,
          .q_len = 4,
          .value_dim = 5,
          .max = std::vector<float>(24),
          .sum = std::vector<float>(24, 1.0F),
          .out = std::vector<float>(120)};
}

TEST(StateErrors, PartialAttention) {
  std::vector<float> memory(100);
  const TensorView<float, 4> x(memory.data(), {1, 2, 3, 4});
  const std::vector<float> sinks(2);
  const TensorView<float, 3> lse(memory.data(), {1, 2, 3});
  const auto with = [&](const AttentionOptions& options, const RunOptions& run = {}) {
    return refusal([&] { partial_attention(x, x, x, options, run); });
  };
  EXPECT_EQ(with({.sinks = sinks}),
            "partial_attention: sinks is given, expected none: they enter once, in finish()");
  EXPECT_EQ(with({}, {.lse = lse}),
            "partial_attention: lse is given, expected none: finish() writes it");
  EXPECT_EQ(with({.kv_offset = 100}), "attention: kv_offset is 100, expected a multiple of 256");
  EXPECT_EQ(with({.mask = CausalMask{}, .kv_offset = 256}),
            "attention: q_offset is not given, expected the position of query 0, because q_len (3) "
            "differs from kv_len (3) and the mask or a modifier speaks of positions");
  EXPECT_EQ(with({.kv_offset = 256}), "nothing thrown");
}

// Every extent and every array, on either side.
TEST(StateErrors, Merge) {
  const auto left = [](auto change) {
    AttentionState state = good();
    change(state);
    return refusal([&] { merge(state, good()); });
  };
  const auto right = [](auto change) {
    AttentionState state = good();
    change(state);
    return refusal([&] { merge(good(), state); });
  };
  using S = AttentionState;
  EXPECT_EQ(left([](S& s) { s.max.pop_back(); }),
            "merge: left.max.size() is 23, expected 24 (rows)");
  EXPECT_EQ(left([](S& s) { s.sum.push_back(0); }),
            "merge: left.sum.size() is 25, expected 24 (rows)");
  EXPECT_EQ(right([](S& s) { s.out.clear(); }),
            "merge: right.out.size() is 0, expected 120 (rows * value_dim)");
  EXPECT_EQ(right([](S& s) { s.q_len = 8; }), "merge: right.max.size() is 24, expected 48 (rows)");
  EXPECT_EQ(left([](S& s) { s.batch = s.num_heads = -1; }),
            "merge: left.batch is -1, expected 0 or more");
  EXPECT_EQ(right([](S& s) { s.num_heads = -1; }),
            "merge: right.num_heads is -1, expected 0 or more");
  EXPECT_EQ(left([](S& s) { s.q_len = -4; }), "merge: left.q_len is -4, expected 0 or more");
  EXPECT_EQ(left([](S& s) { s.value_dim = -5; }),
            "merge: left.value_dim is -5, expected 0 or more");
  EXPECT_EQ(left([](S& s) { s.batch = s.q_len = std::int64_t{1} << 40; }),
            "merge: left is too large, expected at most 2^56 elements");
  // States that fit themselves, but not each other.
  EXPECT_EQ(right([](S& s) { std::swap(s.batch, s.num_heads); }),
            "merge: right.batch is 3, expected 2 (left's)");
  EXPECT_EQ(right([](S& s) { std::swap(s.num_heads, s.q_len); }),
            "merge: right.num_heads is 4, expected 3 (left's)");
  EXPECT_EQ(right([](S& s) {
              s.q_len = 2;
              s.max.resize(12);
              s.sum.resize(12);
              s.out.resize(60);
            }),
            "merge: right.q_len is 2, expected 4 (left's)");
  EXPECT_EQ(right([](S& s) {
              s.value_dim = 6;
              s.out.resize(144);
            }),
            "merge: right.value_dim is 6, expected 5 (left's)");
  EXPECT_EQ(right([](S&) {}), "nothing thrown");
}

TEST(StateErrors, Finish) {
  std::vector<float> memory(200);
  TensorView<float, 4> out(memory.data(), {2, 3, 4, 5});
  TensorView<float, 3> lse(memory.data() + 120, {2, 3, 4});
  std::vector<float> sinks(3);
  AttentionState state = good();
  const auto refused = [&] { return refusal([&] { finish(state, out, lse, sinks); }); };
  EXPECT_EQ(refused(), "nothing thrown");
  state.sum.pop_back();
  EXPECT_EQ(refused(), "finish: state.sum.size() is 23, expected 24 (rows)");
  state = good();
  out.shape[3] = 6;
  EXPECT_EQ(refused(), "finish: out.shape[3] is 6, expected 5 (value_dim)");
  out.shape[3] = 5;
  out.data = nullptr;
  EXPECT_EQ(refused(), "finish: out.data is null, expected a pointer to its elements");
  out.data = memory.data();
  lse.shape[1] = 2;
  EXPECT_EQ(refused(), "finish: lse.shape[1] is 2, expected 3 (num_heads)");
  lse.shape[1] = 3;
  sinks.resize(2);
  EXPECT_EQ(refused(), "finish: sinks.size() is 2, expected 3 (num_heads)");
  sinks = {0, std::numeric_limits<float>::infinity(), 0};
  EXPECT_EQ(refused(), "finish: sinks[1] is inf, expected a finite number");
  sinks = {std::nanf(""), 0, 0};
  EXPECT_EQ(refused(), "finish: sinks[0] is nan, expected a finite number");
}

}  // namespace
}  // namespace regard::test
