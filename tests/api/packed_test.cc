// tests/api/packed_test.cc - packed sequences: each as if it were alone.
#include <gtest/gtest.h>

#include "regard/plan.h"
#include "support/dense.h"
#include "support/hostile_executor.h"
#include "support/isa.h"
#include "support/masks.h"
#include "support/refusal.h"

namespace regard::test {
namespace {

constexpr std::size_t kSequences = 5;
constexpr std::int64_t kValueDim = 33;

std::vector<std::int64_t> random_ends(Rng& rng, std::initializer_list<std::int64_t> lengths) {
  std::vector<std::int64_t> ends{0};
  for (std::size_t s = 0; s < kSequences; ++s) ends.push_back(ends.back() + rng.pick(lengths));
  return ends;
}

/// What a call writes; tokens of no sequence must stay 7.
struct Written {
  Dense<float> out, lse;
  Written(std::int64_t heads, std::int64_t tokens)
      : out({1, heads, tokens, kValueDim}), lse({1, heads, tokens, 1}) {
    out.data.assign(out.data.size(), 7.0F);
    lse.data.assign(lse.data.size(), 7.0F);
  }
  TensorView<float, 3> lse_rows(std::int64_t begin, std::int64_t end) {
    const TensorView<float, 4> rows = lse.rows(begin, end);
    return {rows.data,
            {rows.shape[0], rows.shape[1], rows.shape[2]},
            {rows.strides[0], rows.strides[1], rows.strides[2]}};
  }
  bool operator==(const Written&) const = default;
};

/// Some sequences have no queries or no keys; after the last one come tokens of none.
template <class T>
struct Packed {
  explicit Packed(std::uint64_t seed)
      : rng(seed),
        group(rng.integer(1, 4)),
        q(random_ends(rng, {0, 1, 5, 40})),
        kv(random_ends(rng, {0, 1, 31, 300})),
        query({1, 2 * group, q.back() + 3, 20}, rng),
        key({1, 2, kv.back() + 2, 20}, rng),
        value({1, 2, kv.back() + 2, kValueDim}, rng) {
    for (std::size_t s = 0; s < kSequences; ++s) {
      offsets.push_back(rng.integer(-3, 60));
      kv_lens.push_back(rng.integer(0, kv[s + 1] - kv[s]));
    }
    for (std::int64_t h = 0; h < 2 * group; ++h) sinks.push_back(rng.normal());
    options = {.mask = random_mask(rng, 340, 1).mask,
               .q_offsets = offsets,
               .kv_lens = kv_lens,
               .cu_seqlens_q = q,
               .cu_seqlens_kv = kv,
               .score_mods = {Alibi{std::vector<float>(sinks.size(), 0.05F)}},
               .sinks = sinks};
  }
  /// Sequence s by itself, its first `keys` keys.
  void run_alone(std::size_t s, std::int64_t keys, Written& to) {
    AttentionOptions one = options;
    one.q_offsets = one.kv_lens = one.cu_seqlens_q = one.cu_seqlens_kv = {};
    one.q_offset = offsets[s];
    attention(query.rows(q[s], q[s + 1]), key.rows(kv[s], kv[s] + keys),
              value.rows(kv[s], kv[s] + keys), to.out.rows(q[s], q[s + 1]), one,
              {.lse = to.lse_rows(q[s], q[s + 1])});
  }
  Written written() { return {2 * group, query.shape[2]}; }

  Rng rng;
  std::int64_t group;
  std::vector<std::int64_t> q, kv, offsets, kv_lens;
  std::vector<float> sinks;
  Dense<T> query, key, value;
  AttentionOptions options;
};

template <class T>
void packed_equals_alone(std::uint64_t seed) {
  Packed<T> p(seed);
  HostileExecutor hostile(3, HostileExecutor::Order::kRandom, seed);
  REGARD_FOR_EACH_ISA(isa) {
    Written alone = p.written();
    for (std::size_t s = 0; s < kSequences; ++s) p.run_alone(s, p.kv_lens[s], alone);
    for (Executor* executor : std::initializer_list<Executor*>{&serial_executor(), &hostile}) {
      Written together = p.written();
      p.options.executor = executor;
      attention(p.query.view(), p.key.view(), p.value.view(), together.out.view(), p.options,
                {.lse = together.lse_rows(0, p.query.shape[2])});
      EXPECT_TRUE(together == alone) << executor->num_threads() << " threads";
    }
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

// Fewer keys than planned: the last sequences lose theirs, and nothing beyond is read.
TEST(Packed, APlanServesFewerKeys) {
  for (const std::uint64_t seed : trial_seeds(8)) {
    REGARD_TRIAL(seed);
    Packed<float> p(seed);
    p.options.kv_lens = {};
    const Plan plan({1, 2 * p.group, 2, p.query.shape[2], p.key.shape[2], 20, kValueDim},
                    p.options);
    for (const std::int64_t keys : {p.kv.back(), p.kv.back() / 2, std::int64_t{0}}) {
      Written together = p.written(), alone = p.written();
      plan.run(p.query.view(), p.key.rows(0, keys), p.value.rows(0, keys), together.out.view(),
               {.lse = together.lse_rows(0, p.query.shape[2])});
      for (std::size_t s = 0; s < kSequences; ++s) {
        const std::int64_t left = std::max<std::int64_t>(keys - p.kv[s], 0);
        p.run_alone(s, std::min(left, p.kv[s + 1] - p.kv[s]), alone);
      }
      EXPECT_TRUE(together == alone) << keys << " of " << p.kv.back();
    }
  }
}

TEST(Packed, PositionsBeginAnewAndNeedNoOffset) {
  Rng rng(3);
  const std::vector<std::int64_t> ends{0, 40, 40, 350};
  Dense<f16> x({1, 2, 350, 16}, rng);
  Dense<float> out({1, 2, 350, 16}), alone(out.shape);
  attention(x.view(), x.view(), x.view(), out.view(),
            {.mask = CausalMask{}, .cu_seqlens_q = ends, .cu_seqlens_kv = ends});
  for (std::size_t s = 0; s < 3; ++s) {
    const auto rows = x.rows(ends[s], ends[s + 1]);
    attention(rows, rows, rows, alone.rows(ends[s], ends[s + 1]), {.mask = CausalMask{}});
  }
  EXPECT_TRUE(out == alone);
}

TEST(Packed, ProbesNameTheSequence) {
  Rng rng(4);
  const std::vector<std::int64_t> q{0, 4, 9}, kv{0, 200, 500}, heads{0, 1}, queries{0, 1, 2, 3, 4};
  Dense<float> query({1, 2, 9, 16}, rng), key({1, 1, 500, 16}, rng), out({1, 2, 9, 16});
  Dense<float> packed({1, 2, 5, 300}), alone(packed.shape);
  const auto weights = [](Dense<float>& x) {
    return TensorView<float, 3>(x.data.data(), {2, 5, 300});
  };
  WeightsProbe in_packed(1, heads, queries, weights(packed)),
      by_itself(0, heads, queries, weights(alone));
  attention(query.view(), key.view(), key.view(), out.view(),
            {.cu_seqlens_q = q, .cu_seqlens_kv = kv}, {.probe = &in_packed});
  attention(query.rows(4, 9), key.rows(200, 500), key.rows(200, 500), out.rows(4, 9), {},
            {.probe = &by_itself});
  EXPECT_TRUE(packed == alone);
  float sum = 0;
  for (std::size_t j = 0; j < 300; ++j) sum += packed.data[j];
  EXPECT_NEAR(sum, 1, 1e-5);
}

TEST(Packed, BoundariesAreChecked) {
  Rng rng(1);
  Dense<float> x({1, 1, 10, 4}, rng), out({1, 1, 10, 4});
  AttentionOptions options;
  RunOptions run;
  const auto with = [&](std::vector<std::int64_t> q, std::vector<std::int64_t> kv) {
    options.cu_seqlens_q = q;
    options.cu_seqlens_kv = kv;
    return refusal([&] { attention(x.view(), x.view(), x.view(), out.view(), options, run); });
  };
  EXPECT_EQ(with({0, 4, 10}, {0, 10}),
            "attention: cu_seqlens_kv.size() is 2, expected 3 (as cu_seqlens_q)");
  EXPECT_EQ(with({0, 4}, {}), "attention: cu_seqlens_kv.size() is 0, expected 2 (as cu_seqlens_q)");
  EXPECT_EQ(with({}, {0, 4}), "attention: cu_seqlens_kv.size() is 2, expected 0 (as cu_seqlens_q)");
  EXPECT_EQ(with({1, 4}, {0, 10}),
            "attention: cu_seqlens_q[0] is 1, expected 0 (where the first sequence begins)");
  EXPECT_EQ(with({0, 4}, {-1, 10}),
            "attention: cu_seqlens_kv[0] is -1, expected 0 (where the first sequence begins)");
  EXPECT_EQ(with({0, 5, 4}, {0, 1, 2}), "attention: cu_seqlens_q[2] is 4, expected 5..10");
  EXPECT_EQ(with({0, 4}, {0, 11}), "attention: cu_seqlens_kv[1] is 11, expected 0..10");
  EXPECT_EQ(with({0, 4}, {0, 10}), "nothing thrown");
  EXPECT_EQ(with({0}, {0}), "nothing thrown") << "no sequence at all";
  const std::vector<std::int64_t> lens{2, 5}, few{2};
  options.kv_lens = lens;
  EXPECT_EQ(with({0, 4, 8}, {0, 3, 7}), "attention: kv_lens[1] is 5, expected 0..4");
  EXPECT_EQ(with({0, 4}, {0, 3}), "attention: kv_lens.size() is 2, expected 1 (sequences)");
  options.kv_lens = {};
  options.q_offsets = lens;
  EXPECT_EQ(with({0, 4}, {0, 3}), "attention: q_offsets.size() is 2, expected 1 (sequences)");
  options.q_offsets = {};
  run.kv_lens = lens;
  EXPECT_EQ(with({0, 4, 8}, {0, 3, 7}), "attention: kv_lens[1] is 5, expected 0..4");
  run.kv_lens = few;
  EXPECT_EQ(with({0, 4, 8}, {0, 3, 7}), "attention: kv_lens.size() is 1, expected 2 (sequences)");
  run.kv_lens = {};
  options.mask = CausalMask{};
  EXPECT_EQ(with({0, 4, 8}, {0, 4, 7}),
            "attention: q_offset is not given, expected the position of query 0, because q_len (4) "
            "differs from kv_len (3) and the mask or a modifier speaks of positions");
}

// Where a packed plan is given fewer keys, a run's lengths may not reach beyond them.
TEST(Packed, LengthsOfARunWithFewerKeys) {
  Rng rng(1);
  Dense<float> x({1, 1, 10, 4}, rng), out({1, 1, 10, 4});
  const std::vector<std::int64_t> q{0, 5, 10}, kv{0, 6, 10};
  const Plan plan({1, 1, 1, 10, 10, 4, 4}, {.cu_seqlens_q = q, .cu_seqlens_kv = kv});
  const auto with = [&](std::int64_t keys, std::vector<std::int64_t> kv_lens) {
    return refusal([&] {
      plan.run(x.view(), x.rows(0, keys), x.rows(0, keys), out.view(), {.kv_lens = kv_lens});
    });
  };
  EXPECT_EQ(with(10, {6, 4}), "nothing thrown");
  EXPECT_EQ(with(8, {6, 2}), "nothing thrown");
  EXPECT_EQ(with(8, {6, 3}), "attention: kv_lens[1] is 3, expected 0..2");
  EXPECT_EQ(with(4, {4, 0}), "nothing thrown");
  EXPECT_EQ(with(4, {4, 1}), "attention: kv_lens[1] is 1, expected 0..0");
}

}  // namespace
}  // namespace regard::test
