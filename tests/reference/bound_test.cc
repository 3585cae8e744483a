// tests/reference/bound_test.cc - the bound holds for an engine that rounds as the contract allows,
// and is not empty.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/compare.h"
#include "support/simulated_engine.h"

namespace regard::test {
namespace {

struct Tally {
  double worst = 0;
  std::int64_t checked = 0, unbounded = 0;

  void add(const Comparison& c) {
    worst = std::max(worst, c.worst);
    checked += c.checked;
    unbounded += c.unbounded;
  }
};

// Random problems through engines that round as badly as they may.
Tally worst_roundings(int trials, const Features& features) {
  Tally tally;
  for (const std::uint64_t seed : trial_seeds(trials)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem problem = random_problem(rng, 150'000, features);
    SimulatedEngine engine{.fma = rng.chance(0.5), .exp_ulps = rng.pick({0, 2}), .seed = seed};
    const Result result = simulate(engine, problem);
    const ReferenceResult reference = run_reference(problem, Bf16Dots::kNo);
    EXPECT_TRUE(within_bound(result, reference)) << problem.describe();
    tally.add(compare(result, reference));
    if (!problem.all_bf16()) continue;
    engine.bf16_dots = true;
    const Result dots = simulate(engine, problem);
    const ReferenceResult modelled = run_reference(problem, Bf16Dots::kModelled);
    EXPECT_TRUE(within_bound(dots, modelled)) << problem.describe();
    EXPECT_TRUE(within_bound(dots, run_reference(problem, Bf16Dots::kPromised)));
    tally.add(compare(dots, modelled));
  }
  return tally;
}

TEST(Bound, HoldsForEveryLegalRounding) {
  const Tally tally = worst_roundings(300, {});
  EXPECT_EQ(tally.unbounded, 0);  // of ordinary numbers none escapes the test
  if (trial_seeds(300).size() > 1) {
    EXPECT_GT(tally.checked, 100'000);
    EXPECT_GT(tally.worst, 0.1);  // near enough to be worth asserting
  }
}

TEST(Bound, HoldsForEveryFeature) {
  const Tally tally = worst_roundings(600, kEveryFeature);
  EXPECT_EQ(tally.unbounded, 0);
}

// One key: every weight is 1 whatever the score's error, so the value comes back and the bound is a
// few roundings.
TEST(Bound, OfOneKeyIsAFewRoundings) {
  Rng rng(1);
  const Problem p = make_problem(rng, {1, 1, 1, 1, 1, 64, 8});
  const ReferenceResult r = run_reference(p);
  for (std::size_t i = 0; i < r.out.size(); ++i) {
    EXPECT_GT(r.out_bound[i], 0.9 * 0x1p-24 * std::abs(r.out[i]));
    EXPECT_LT(r.out_bound[i], 30 * 0x1p-24 * std::abs(r.out[i]));
  }
}

// Doubling V doubles o and its bound; the bound follows the data, not a fixed tolerance.
TEST(Bound, ScalesWithTheValues) {
  Rng rng(3);
  Problem p = make_problem(rng, {1, 1, 1, 3, 300, 32, 4});
  const ReferenceResult before = run_reference(p);
  p.value.for_each([](float& x) { x *= 1024; });
  const ReferenceResult after = run_reference(p);
  for (std::size_t i = 0; i < after.out.size(); ++i) {
    EXPECT_NEAR(after.out_bound[i] / before.out_bound[i], 1024, 1e-6);
    EXPECT_LT(before.out_bound[i], 1e-4);
  }
}

TEST(Bound, PromisesNothingWhereFloat32Overflows) {
  Rng rng(4);
  Problem p = make_problem(rng, {1, 1, 1, 1, 4, 4, 1});
  p.value.for_each([](float& x) { x = 3e38F; });
  const ReferenceResult values = run_reference(p);
  EXPECT_NEAR(values.out[0], 3e38, 1e32);
  EXPECT_TRUE(std::isinf(values.out_bound[0]));
  EXPECT_TRUE(std::isfinite(values.lse_bound[0]));
  p.query.for_each([](float& x) { x = 1e30F; });
  EXPECT_TRUE(std::isinf(run_reference(p).lse_bound[0]) || run_reference(p).lse_bound[0] > 1e20);
}

// Subnormal bf16 numbers, which native dots flush: the bound has room for what is lost.
TEST(Bound, HoldsWhereBf16DotsFlush) {
  for (const float size : {1e-38F, 1e-39F}) {
    Rng rng(5);
    AttentionShape shape{1, 2, 1, 4, 300, 16, 8};
    shape.query_dtype = shape.key_dtype = shape.value_dtype = DType::kBf16;
    Problem p = make_problem(rng, shape);
    p.query.for_each([&](float& x) { x *= size; });
    p.key.for_each([](float& x) { x *= 1e37F; });
    p.value.for_each([&](float& x) { x *= size; });
    const Result result = simulate({.bf16_dots = true}, p);
    const ReferenceResult reference = run_reference(p, Bf16Dots::kModelled);
    EXPECT_TRUE(within_bound(result, reference));
    EXPECT_EQ(compare(result, reference).unbounded, 0);
    EXPECT_FALSE(within_bound(result, run_reference(p, Bf16Dots::kNo)));  // not float32 arithmetic
  }
}

// A sink that outweighs all keys, and one that counts for nothing.
TEST(Bound, HoldsForSinksOfAnySize) {
  for (const float sink : {-100.0F, 0.0F, 80.0F, 120.0F}) {
    Rng rng(6);
    Problem p = make_problem(rng, {1, 1, 1, 5, 700, 16, 8});
    p.sinks = {sink};
    EXPECT_TRUE(within_bound(simulate({.exp_ulps = 2}, p), run_reference(p)));
  }
}

}  // namespace
}  // namespace regard::test
