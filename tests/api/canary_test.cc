// tests/api/canary_test.cc - engines with a fault must break the bound, or asserting it would be
// worth nothing.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "support/compare.h"
#include "support/simulated_engine.h"

namespace regard::test {
namespace {

constexpr int kTrials = 25;
constexpr std::int64_t kKeys = 1018;  // three whole chunks and a ragged one

// Four causal rows near the end, whose own positions are before the last key.
Problem canary_problem(std::uint64_t seed, Fault fault) {
  Rng rng(seed);
  Problem p = make_problem(rng, {1, 2, 1, 4, kKeys, 64, 64});
  p.mask = {CausalMask{}, "Causal"};
  p.q_offset = fault == Fault::kSkipTail ? kKeys - 4 : kKeys - 11;
  return p;
}

struct Canary {
  Fault fault;
  const char* name;
  int least_caught;  // of kTrials
};

class SimulatedCanary : public testing::TestWithParam<Canary> {};

TEST_P(SimulatedCanary, BreaksTheBound) {
  int caught = 0;
  for (std::uint64_t seed = 1; seed <= kTrials; ++seed) {
    const Problem p = canary_problem(seed, GetParam().fault);
    const ReferenceResult reference = run_reference(p);
    const SimulatedEngine right{.seed = seed}, wrong{.fault = GetParam().fault, .seed = seed};
    EXPECT_EQ(compare(simulate(right, p), reference).violations, 0);
    caught += compare(simulate(wrong, p), reference).violations > 0;
  }
  EXPECT_GE(caught, GetParam().least_caught);
}

// Every trial must be caught, but where the fault is one product of 64 in one score of 1018: it is
// below the roundings when that key has little weight.
INSTANTIATE_TEST_SUITE_P(
    Faults, SimulatedCanary,
    testing::Values(Canary{Fault::kDropKey, "OneKeyDropped", kTrials},
                    Canary{Fault::kSkipTail, "TailOf16Skipped", kTrials},
                    Canary{Fault::kSwapValues, "ValueRowsSwapped", kTrials},
                    Canary{Fault::kZeroKeyRow, "KeyRowReadAsZeros", kTrials},
                    Canary{Fault::kShortDot, "LastDimensionOfOneScoreSkipped", kTrials * 3 / 5},
                    Canary{Fault::kWeightsBf16, "WeightsRoundedToBf16", kTrials},
                    Canary{Fault::kExpOff, "ExpOffByTwoToMinus12", kTrials},
                    Canary{Fault::kQueryBf16, "ScaledQueryRoundedToBf16", kTrials},
                    Canary{Fault::kExtraKey, "CausalOneKeyTooMany", kTrials},
                    Canary{Fault::kMissingKey, "CausalOneKeyTooFew", kTrials},
                    Canary{Fault::kNoRescale, "MergeWithoutRescale", kTrials},
                    Canary{Fault::kLostLane, "SumLaneLost", kTrials},
                    Canary{Fault::kLseBase2, "LseInBase2", kTrials}),
    [](const auto& canary) { return std::string(canary.param.name); });

// The engine itself, given inputs as a faulty engine would read them, against the reference of the
// right inputs: shows that the comparison in the engine's own tests can fail.
template <class Spoil>
int caught_with(Spoil spoil) {
  int caught = 0;
  for (std::uint64_t seed = 1; seed <= kTrials; ++seed) {
    Problem p = canary_problem(seed, Fault::kNone);
    const ReferenceResult reference = run_reference(p);
    EXPECT_TRUE(within_bound(run_attention(p), reference));
    Rng rng(seed);
    spoil(p, rng.integer(0, *p.q_offset - 1));  // a key that every row sees
    caught += compare(run_attention(p), reference).violations > 0;
  }
  return caught;
}

TEST(EngineCanary, OneKeyDropped) {
  EXPECT_EQ(caught_with(
                [](Problem& p, std::int64_t key) { p.mask.mask = p.mask.mask & HideKeyMask{key}; }),
            kTrials);
}

TEST(EngineCanary, TailOf16Skipped) {
  EXPECT_EQ(caught_with([](Problem& p, std::int64_t) { p.kv_lens = {kKeys / 16 * 16 - 16}; }),
            kTrials);
}

TEST(EngineCanary, ValueRowsSwapped) {
  EXPECT_EQ(caught_with([](Problem& p, std::int64_t key) {
              const auto v = p.value.view();
              for (std::int64_t e = 0; e < 64; ++e) std::swap(v(0, 0, key, e), v(0, 0, key + 1, e));
            }),
            kTrials);
}

TEST(EngineCanary, KeyRowReadAsZeros) {
  EXPECT_EQ(caught_with([](Problem& p, std::int64_t key) {
              for (std::int64_t d = 0; d < 64; ++d) p.key.view()(0, 0, key, d) = 0;
            }),
            kTrials);
}

TEST(EngineCanary, CausalOffByOneEitherWay) {
  EXPECT_EQ(caught_with([](Problem& p, std::int64_t) { ++*p.q_offset; }), kTrials);
  EXPECT_EQ(caught_with([](Problem& p, std::int64_t) { --*p.q_offset; }), kTrials);
}

TEST(EngineCanary, HeadsOfTheGroupExchanged) {
  EXPECT_EQ(caught_with([](Problem& p, std::int64_t) {
              TensorView<float, 4> q = p.query.view();
              for (std::int64_t i = 0; i < 4; ++i) {
                for (std::int64_t d = 0; d < 64; ++d) std::swap(q(0, 0, i, d), q(0, 1, i, d));
              }
            }),
            kTrials);
}

}  // namespace
}  // namespace regard::test
