// tests/api/parts_test.cc - packed sequences, and states over parts of the keys.
#include <gtest/gtest.h>

#include <limits>

#include "regard/state.h"
#include "support/dense.h"
#include "support/isa.h"

namespace regard::test {
namespace {

template <class F>
std::string refusal(F f) {
  try {
    f();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing thrown";
}

template <class T>
void packed_equals_alone(std::uint64_t seed) {
  Rng rng(seed);
  std::vector<std::int64_t> q{0}, kv{0};
  for (int i = 0; i < 5; ++i) {
    q.push_back(q.back() + rng.pick({0, 1, 5, 40}));
    kv.push_back(kv.back() + rng.pick({0, 1, 31, 300}));
  }
  Dense<T> query({1, 6, q.back() + 3, 20}, rng), key({1, 2, kv.back() + 2, 20}, rng),
      value({1, 2, kv.back() + 2, 33}, rng);
  std::vector<std::int64_t> offsets;
  for (int i = 0; i < 5; ++i) offsets.push_back(rng.integer(0, 50));
  const std::vector<float> sinks{0.5F, -1.0F, 0.0F, 2.0F, 0.1F, 0.3F};
  AttentionOptions options;
  options.mask = CausalMask{};
  options.cu_seqlens_q = q;
  options.cu_seqlens_kv = kv;
  options.q_offsets = offsets;
  options.sinks = sinks;
  REGARD_FOR_EACH_ISA(isa) {
    Dense<float> out({1, 6, query.shape[2], 33}), alone(out.shape);
    for (float& x : out.data) x = 7.0F;
    alone.data = out.data;  // tokens of no sequence stay as they were
    attention(query.view(), key.view(), value.view(), out.view(), options);
    for (std::size_t i = 0; i < 5; ++i) {
      AttentionOptions one;
      one.mask = CausalMask{};
      one.q_offset = offsets[i];
      one.sinks = sinks;
      attention(query.rows(q[i], q[i + 1]), key.rows(kv[i], kv[i + 1]),
                value.rows(kv[i], kv[i + 1]), alone.rows(q[i], q[i + 1]), one);
    }
    EXPECT_TRUE(out == alone);
  }
}

TEST(Packed, SequencesAreComputedAsIfAlone) {
  for (const std::uint64_t seed : trial_seeds(8)) {
    REGARD_TRIAL(seed);
    packed_equals_alone<float>(seed);
    packed_equals_alone<bf16>(seed + 100);
    packed_equals_alone<f16>(seed + 200);
  }
}

TEST(Packed, BoundariesAreChecked) {
  Rng rng(1);
  Dense<float> x({1, 1, 10, 4}, rng), out({1, 1, 10, 4});
  const auto with = [&](std::vector<std::int64_t> q, std::vector<std::int64_t> kv) {
    AttentionOptions options;
    options.cu_seqlens_q = q;
    options.cu_seqlens_kv = kv;
    return refusal([&] { attention(x.view(), x.view(), x.view(), out.view(), options); });
  };
  EXPECT_EQ(with({0, 4, 10}, {0, 10}),
            "attention: cu_seqlens_kv.size() is 2, expected 3 (as cu_seqlens_q)");
  EXPECT_EQ(with({1, 4}, {0, 10}),
            "attention: cu_seqlens_q[0] is 1, expected 0 (where the first sequence begins)");
  EXPECT_EQ(with({0, 5, 4}, {0, 1, 2}), "attention: cu_seqlens_q[2] is 4, expected 5..10");
  EXPECT_EQ(with({0, 4}, {0, 11}), "attention: cu_seqlens_kv[1] is 11, expected 0..10");
  EXPECT_EQ(with({0, 4}, {0, 10}), "nothing thrown");
}

struct Parts {
  explicit Parts(std::uint64_t seed)
      : rng(seed),
        query({2, 4, 9, 16}, rng),
        key({2, 2, 1500, 16}, rng),
        value({2, 2, 1500, 24}, rng) {
    options.mask = CausalMask{};
    options.q_offset = 900;  // the last parts see nothing
  }
  AttentionState part(std::int64_t begin, std::int64_t end) {
    options.kv_offset = begin;
    return partial_attention(query.view(), key.rows(begin, end), value.rows(begin, end), options);
  }
  Rng rng;
  Dense<float> query, key, value;
  AttentionOptions options;
};

// Parts that are nodes of the engine's own tree give its bits.
TEST(States, MergedPairwiseAreTheWhole) {
  Parts p(3);
  const std::vector<float> sinks{0.3F, 0.0F, -2.0F, 1.0F};
  REGARD_FOR_EACH_ISA(isa) {
    Dense<float> whole({2, 4, 9, 24}), merged(whole.shape), lse({2, 4, 9, 1}),
        merged_lse(lse.shape);
    AttentionOptions options = p.options;
    options.kv_offset = 0;
    options.sinks = sinks;
    const auto lse_of = [](Dense<float>& x) {
      return TensorView<float, 3>(x.data.data(), {2, 4, 9});
    };
    attention(p.query.view(), p.key.view(), p.value.view(), whole.view(), options,
              {.lse = lse_of(lse)});
    const AttentionState first = merge(merge(p.part(0, 256), p.part(256, 512)), p.part(512, 1024));
    const AttentionState all = merge(first, p.part(1024, 1500));
    finish(all, merged.view(), lse_of(merged_lse), sinks);
    EXPECT_TRUE(merged == whole);
    EXPECT_TRUE(merged_lse == lse);
  }
}

TEST(States, OfNoKeysAreNeutral) {
  Parts p(4);
  const AttentionState seen = p.part(0, 256), unseen = p.part(1024, 1500);
  for (const float max : unseen.max) EXPECT_EQ(max, -std::numeric_limits<float>::infinity());
  for (const float sum : unseen.sum) EXPECT_EQ(sum, 0.0F);
  EXPECT_EQ(merge(seen, unseen).sum, seen.sum);
  EXPECT_EQ(merge(unseen, seen).out, seen.out);
}

TEST(States, Refusals) {
  Parts p(5);
  AttentionState a = p.part(0, 256), b = a;
  b.q_len = 8;
  EXPECT_NE(refusal([&] { merge(a, b); }).find("merge: right.max.size() is 72, expected 64"),
            std::string::npos);
  EXPECT_EQ(refusal([&] { p.part(100, 256); }),
            "attention: kv_offset is 100, expected a multiple of 256");
  const std::vector<float> sinks(4);
  p.options.sinks = sinks;
  EXPECT_EQ(refusal([&] { p.part(0, 256); }),
            "partial_attention: sinks is given, expected none: they enter once, in finish()");
}

}  // namespace
}  // namespace regard::test
