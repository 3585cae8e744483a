// tests/api/determinism_test.cc - the determinism contract, bit by bit (docs/numerics.md).
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "regard/attention.h"
#include "support/compare.h"
#include "support/hostile_executor.h"
#include "support/isa.h"
#include "support/problem.h"

namespace regard::test {
namespace {

// Longer than one chunk, more rows than one block: work for several threads and a tree to merge.
Problem large_problem(Rng& rng) {
  Problem p = make_problem(rng, {2, 6, 2, rng.integer(60, 150), rng.integer(500, 1100),
                                 rng.integer(8, 40), rng.integer(8, 40)});
  p.mask = random_mask(rng, 1200, 1);
  p.q_offset = p.shape.kv_len - p.shape.q_len;
  return p;
}

TEST(Determinism, D1EveryRun) {
  Rng rng(1);
  const Problem p = large_problem(rng);
  REGARD_FOR_EACH_ISA(isa) {
    const Result first = run_attention(p);
    for (int run = 0; run < 5; ++run) EXPECT_TRUE(equal_bits(run_attention(p), first));
  }
}

TEST(Determinism, D2AnyNumberOfThreads) {
  for (const std::uint64_t seed : trial_seeds(6)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = seed % 2 == 0 ? large_problem(rng) : random_problem(rng, 3'000'000);
    REGARD_FOR_EACH_ISA(isa) {
      AttentionOptions options = p.options();
      options.executor = &serial_executor();
      const Result serial = run_attention(p, options);
      for (int threads = 1; threads <= 4; ++threads) {
        const std::unique_ptr<Executor> pool = make_thread_pool(threads);
        options.executor = pool.get();
        for (int run = 0; run < 3; ++run) {
          EXPECT_TRUE(equal_bits(run_attention(p, options), serial)) << threads << " threads";
        }
      }
      EXPECT_TRUE(equal_bits(run_attention(p), serial)) << "default executor";
    }
  }
}

TEST(Determinism, D2AnySchedule) {
  for (const std::uint64_t seed : trial_seeds(6)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = large_problem(rng);
    REGARD_FOR_EACH_ISA(isa) {
      AttentionOptions options = p.options();
      options.executor = &serial_executor();
      const Result serial = run_attention(p, options);
      for (const auto order : {HostileExecutor::Order::kReverse, HostileExecutor::Order::kRandom}) {
        for (int threads = 1; threads <= 5; threads += 2) {
          HostileExecutor hostile(threads, order, seed);
          options.executor = &hostile;
          EXPECT_TRUE(equal_bits(run_attention(p, options), serial)) << threads << " threads";
          EXPECT_GT(hostile.num_tasks(), 0);
        }
      }
    }
  }
}

// A row's bits do not depend on the rows beside it, so neither on how a prompt is cut. See also
// chunking_test.cc.
TEST(Determinism, RowsDoNotDependOnTheirNeighbours) {
  for (const std::uint64_t seed : trial_seeds(10)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    Problem p = make_problem(rng, {1, 3, 1, 70, 600, 16, 16});
    p.mask = {CausalMask{}, "Causal"};
    p.q_offset = 530;
    REGARD_FOR_EACH_ISA(isa) {
      const Result whole = run_attention(p);
      for (const std::int64_t i : {0, 1, 31, 64, 69}) {
        const auto q = p.query.view();
        const Tensor<4> out({1, 3, 1, 16});
        AttentionOptions options = p.options();
        options.q_offset = *p.q_offset + i;
        attention(TensorView<const float, 4>(&q(0, 0, i, 0), {1, 3, 1, 16}, q.strides), p.key,
                  p.value, out, options);
        for (std::int64_t h = 0; h < 3; ++h) {
          for (std::int64_t e = 0; e < 16; ++e) {
            EXPECT_EQ(out.view()(0, h, 0, e), whole.out.view()(0, h, i, e));
          }
        }
      }
    }
  }
}

// Tables with FMA agree with each other, and those without among themselves: lanes are virtual. So
// do those with bf16 dots, where query, key and value are bf16. Aimed at as D9.
TEST(Determinism, D9TablesOfOneKind) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = random_problem(rng, 200'000, kEveryFeature);
    std::map<std::string, Result> first;  // by how the table multiplies
    REGARD_FOR_EACH_ISA(isa) {
      const std::string kind = uses_bf16_dots(p) ? "bf16" : has_fma(isa) ? "fma" : "plain";
      const Result result = run_attention(p);
      const auto [other, is_first] = first.emplace(kind, result);
      EXPECT_TRUE(is_first || equal_bits(result, other->second)) << p.describe();
    }
  }
}

// Exact facts: a power of two moves between query and key; keys that nobody sees may follow.
TEST(Determinism, ExactScalingOfQueryAndKey) {
  Rng rng(5);
  const Problem p = make_problem(rng, {1, 2, 2, 20, 400, 24, 24});
  REGARD_FOR_EACH_ISA(isa) {
    const Result before = run_attention(p);
    p.query.for_each([](float& x) { x *= 2; });
    p.key.for_each([](float& x) { x *= 0.5F; });
    EXPECT_TRUE(equal_bits(run_attention(p), before));
  }
}

// How the plan learns what a mask allows must not matter.
TEST(Determinism, MaskThatKnowsOnlyItsDefinition) {
  for (const std::uint64_t seed : trial_seeds(40)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    Features features = kEveryFeature;
    features.varying_masks = false;  // a PredicateMask does not vary
    const Problem p = random_problem(rng, 200'000, features);
    AttentionOptions options = p.options();
    if (p.q_offsets.empty()) options.q_offset = p.q_offset.value_or(0);
    options.mask = PredicateMask{p.mask.mask};
    REGARD_FOR_EACH_ISA(isa) {
      EXPECT_TRUE(equal_bits(run_attention(p, options), run_attention(p))) << p.describe();
    }
  }
}

}  // namespace
}  // namespace regard::test
