// tests/api/canary_test.cc - engines with a fault must break the bound, or asserting it would be
// worth nothing.
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/compare.h"
#include "support/simulated_engine.h"

namespace regard::test {
namespace {

constexpr int kTrials = 25;
constexpr std::int64_t kKeys = 1018;  // three whole chunks and a ragged one

// What the tensors hold and how weights meet values (the engine decides on its own).
struct Storage {
  const char* name;
  DType input, out;
  Bf16Dots dots;
  int trials;
};
constexpr Storage kStorages[] = {{"F32", DType::kF32, DType::kF32, Bf16Dots::kNo, kTrials},
                                 {"F16", DType::kF16, DType::kF16, Bf16Dots::kNo, 10},
                                 {"Bf16Widened", DType::kBf16, DType::kBf16, Bf16Dots::kNo, 10},
                                 {"Bf16Dots", DType::kBf16, DType::kBf16, Bf16Dots::kModelled, 10}};

// Four causal rows near the end, whose own positions are before the last key.
Problem canary_problem(std::uint64_t seed, Fault fault, const Storage& storage = kStorages[0]) {
  Rng rng(seed);
  Problem p = make_problem(
      rng, {1, 2, 1, 4, kKeys, 64, 64, storage.input, storage.input, storage.input, storage.out});
  p.mask = {CausalMask{}, "Causal"};
  p.q_offset = fault == Fault::kSkipTail ? kKeys - 4 : kKeys - 11;
  p.scale = 0.13F;  // not a power of 2, which would leave a bf16 query what it is
  if (fault == Fault::kSinkTwice) p.sinks = {5, 5};
  if (fault == Fault::kModsSwapped) p.score_mods.mods = {SoftCap{5}, Alibi{{0.01F, 0.02F}}};
  return p;
}

struct Canary {
  Fault fault;
  const char* name;
  int least_caught;  // percent of the trials
};

class SimulatedCanary : public testing::TestWithParam<std::tuple<Storage, Canary>> {};

TEST_P(SimulatedCanary, BreaksTheBound) {
  const auto& [storage, canary] = GetParam();
  const bool bf16_dots = storage.dots != Bf16Dots::kNo;
  if (bf16_dots && canary.fault == Fault::kWeightsBf16) return;  // what they do by contract
  int caught = 0;
  for (std::uint64_t seed = 1; seed <= static_cast<std::uint64_t>(storage.trials); ++seed) {
    const Problem p = canary_problem(seed, canary.fault, storage);
    const ReferenceResult reference = run_reference(p, storage.dots);
    const SimulatedEngine right{.bf16_dots = bf16_dots, .seed = seed};
    const SimulatedEngine wrong{.fault = canary.fault, .bf16_dots = bf16_dots, .seed = seed};
    EXPECT_EQ(compare(simulate(right, p), reference).violations, 0);
    caught += compare(simulate(wrong, p), reference).violations > 0;
  }
  EXPECT_GE(100 * caught, canary.least_caught * storage.trials);
}

// Every trial must be caught, but where the fault is one product of 64 in one score of 1018: it is
// below the roundings when that key has little weight.
INSTANTIATE_TEST_SUITE_P(
    Faults, SimulatedCanary,
    testing::Combine(testing::ValuesIn(kStorages),
                     testing::Values(Canary{Fault::kDropKey, "OneKeyDropped", 100},
                                     Canary{Fault::kSkipTail, "TailOf16Skipped", 100},
                                     Canary{Fault::kSwapValues, "ValueRowsSwapped", 100},
                                     Canary{Fault::kZeroKeyRow, "KeyRowReadAsZeros", 100},
                                     Canary{Fault::kShortDot, "LastDimensionOfOneScoreSkipped", 60},
                                     Canary{Fault::kWeightsBf16, "WeightsRoundedToBf16", 100},
                                     Canary{Fault::kExpOff, "ExpOffByTwoToMinus12", 100},
                                     Canary{Fault::kQueryBf16, "ScaledQueryRoundedToBf16", 100},
                                     Canary{Fault::kExtraKey, "CausalOneKeyTooMany", 100},
                                     Canary{Fault::kMissingKey, "CausalOneKeyTooFew", 100},
                                     Canary{Fault::kNoRescale, "MergeWithoutRescale", 100},
                                     Canary{Fault::kLostLane, "SumLaneLost", 100},
                                     Canary{Fault::kLseBase2, "LseInBase2", 100},
                                     Canary{Fault::kSinkTwice, "SinkEntersTwice", 100},
                                     Canary{Fault::kModsSwapped, "ScoreModifiersSwapped", 100})),
    [](const auto& canary) {
      return std::string(std::get<0>(canary.param).name) + std::get<1>(canary.param).name;
    });

// Why the reference rounds weights as the engine does: out says little about these faults with the
// bound that users are promised for bf16 dots.
TEST(Bf16DotsCanary, NeedsTheModelledWeights) {
  const std::pair<Fault, int> faults[] = {
      {Fault::kDropKey, 23}, {Fault::kZeroKeyRow, 15}, {Fault::kExpOff, 0}, {Fault::kQueryBf16, 0}};
  const Storage storage{"", DType::kBf16, DType::kF32, Bf16Dots::kModelled, kTrials};
  for (const auto& [fault, most_promised] : faults) {
    int promised = 0, modelled = 0;
    for (std::uint64_t seed = 1; seed <= kTrials; ++seed) {
      const Problem p = canary_problem(seed, fault, storage);
      const SimulatedEngine wrong{.fault = fault, .bf16_dots = true, .seed = seed};
      const std::vector<float> out = simulate(wrong, p).out.values();
      const ReferenceResult any = run_reference(p, Bf16Dots::kPromised);
      const ReferenceResult same = run_reference(p, Bf16Dots::kModelled);
      promised += compare(out, any.out, any.out_bound).violations > 0;
      modelled += compare(out, same.out, same.out_bound).violations > 0;
    }
    EXPECT_LE(promised, most_promised);
    EXPECT_EQ(modelled, kTrials);
  }
}

// The engine itself, given inputs as a faulty engine would read them, against the reference of the
// right inputs: shows that the comparison in the engine's own tests can fail.
template <class Spoil>
void expect_caught(Spoil spoil) {
  for (const Storage& storage : kStorages) {
    for (std::uint64_t seed = 1; seed <= static_cast<std::uint64_t>(storage.trials); ++seed) {
      Problem p = canary_problem(seed, Fault::kNone, storage);
      const ReferenceResult reference = run_reference(p);
      EXPECT_TRUE(within_bound(run_attention(p), reference));
      Rng rng(seed);
      spoil(p, rng.integer(0, *p.q_offset - 1));  // a key that every row sees
      EXPECT_FALSE(within_bound(run_attention(p), reference)) << storage.name << ", seed " << seed;
    }
  }
}

// Exchanges rows i and j of heads g and h.
void swap_rows(const Tensor<4>& t, std::int64_t g, std::int64_t i, std::int64_t h, std::int64_t j) {
  for (std::int64_t d = 0; d < 64; ++d) {
    const float x = t.get(0, g, i, d);
    t.set(t.get(0, h, j, d), 0, g, i, d);
    t.set(x, 0, h, j, d);
  }
}

TEST(EngineCanary, OneKeyDropped) {
  expect_caught([](Problem& p, std::int64_t key) { p.mask.mask = p.mask.mask & HideKeyMask{key}; });
}

TEST(EngineCanary, TailOf16Skipped) {
  expect_caught([](Problem& p, std::int64_t) { p.kv_lens = {kKeys / 16 * 16 - 16}; });
}

TEST(EngineCanary, ValueRowsSwapped) {
  expect_caught([](Problem& p, std::int64_t key) { swap_rows(p.value, 0, key, 0, key + 1); });
}

TEST(EngineCanary, KeyRowReadAsZeros) {
  expect_caught([](Problem& p, std::int64_t key) {
    for (std::int64_t d = 0; d < 64; ++d) p.key.set(0, 0, 0, key, d);
  });
}

TEST(EngineCanary, CausalOffByOneEitherWay) {
  expect_caught([](Problem& p, std::int64_t) { ++*p.q_offset; });
  expect_caught([](Problem& p, std::int64_t) { --*p.q_offset; });
}

TEST(EngineCanary, HeadsOfTheGroupExchanged) {
  expect_caught([](Problem& p, std::int64_t) {
    for (std::int64_t i = 0; i < 4; ++i) swap_rows(p.query, 0, i, 1, i);
  });
}

}  // namespace
}  // namespace regard::test
