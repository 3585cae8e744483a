// tests/plan/cost_test.cc - what a plan says that it costs: counted right, and a time that moves as
// the work does.
#include "regard/cost.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "plan/plan.h"
#include "support/masks.h"
#include "support/problem.h"

namespace regard::test {
namespace {

constexpr MachineLimits kLimits{
    .fma_flops = 1e11, .dot_flops = 2e11, .read_bytes_per_second = 2e10};

struct Question {
  AttentionShape shape{.num_heads = 8,
                       .num_kv_heads = 8,
                       .q_len = 1024,
                       .kv_len = 1024,
                       .head_dim = 128,
                       .value_dim = 128};
  AnyMask mask = {};
  Executor* executor = &serial_executor();

  Plan plan() const {
    AttentionOptions options;
    options.mask = mask;
    options.q_offset = shape.kv_len - shape.q_len;
    options.executor = executor;
    return Plan(shape, options);
  }
  PlanCost cost() const { return plan().cost(); }
  double seconds(const MachineLimits& limits = kLimits) const {
    return plan().predict(limits).seconds;
  }
};

class Pool final : public Executor {
 public:
  explicit Pool(int num_threads) : num_threads_(num_threads) {}
  int num_threads() const override { return num_threads_; }
  void parallel_for(std::int64_t, const Task&) override {}

 private:
  int num_threads_;
};

// allows() asked for every pair.
TEST(PlanCost, CountsThePairsThatTheMaskAllows) {
  for (const std::uint64_t seed : trial_seeds(60)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = random_problem(rng, 300'000, {.varying_masks = seed % 2 == 0});
    double allowed = 0, pairs = 0;
    const AttentionShape& s = p.shape;
    for (std::int64_t b = 0; b < s.batch; ++b) {
      const std::int64_t keys =
          p.kv_lens.empty() ? s.kv_len : p.kv_lens[static_cast<std::size_t>(b)];
      for (std::int64_t h = 0; h < s.num_heads; ++h) {
        const AnyMask mask = p.mask.mask.at(b, h);
        for (std::int64_t q = 0; q < s.q_len; ++q) {
          for (std::int64_t k = 0; k < keys; ++k)
            allowed += mask.allows(p.q_offset.value_or(0) + q, k) ? 1 : 0;
        }
        pairs += static_cast<double>(s.q_len * keys);
      }
    }
    const PlanCost cost = Plan(s, p.options()).cost();
    EXPECT_TRUE(cost.is_exact);
    EXPECT_EQ(cost.pairs, pairs) << p.describe();
    EXPECT_EQ(cost.allowed_pairs, allowed) << p.describe();
    EXPECT_GE(cost.computed_pairs, allowed);
    EXPECT_LE(cost.computed_pairs, pairs);
    EXPECT_EQ(cost.useful_flops, 2 * allowed * static_cast<double>(s.head_dim + s.value_dim));
  }
}

TEST(PlanCost, TilesAreThoseOfCountTiles) {
  for (const AnyMask& mask :
       {AnyMask(), AnyMask(CausalMask{}), AnyMask(CausalMask{} & WindowMask{300, 0}),
        AnyMask(StridedMask(5))}) {
    const Plan plan = Question{.mask = mask}.plan();
    const TileCounts counted = plan.count_tiles(), told = plan.cost().tiles;
    EXPECT_EQ(told.full, counted.full) << mask.describe();
    EXPECT_EQ(told.partial, counted.partial) << mask.describe();
    EXPECT_EQ(told.empty, counted.empty) << mask.describe();
  }
}

TEST(PlanCost, SomePartsStandForAll) {
  Question question{.mask = AnyMask(CausalMask{} & StridedMask(7))};
  question.shape.q_len = question.shape.kv_len = 20'000;
  AttentionOptions options{.mask = question.mask, .q_offset = 0};
  options.executor = &serial_executor();
  const Plan::Impl impl(question.shape, options);
  const plan::Work all = plan::count_work(impl.setup, impl.masks, plan::kAllParts);
  const plan::Work some = plan::count_work(impl.setup, impl.masks, 400);
  EXPECT_TRUE(all.is_exact);
  EXPECT_FALSE(some.is_exact);
  EXPECT_EQ(some.pairs, all.pairs);
  EXPECT_NEAR(some.allowed_pairs / all.allowed_pairs, 1, 0.1);
  EXPECT_NEAR(some.partial_tiles / all.partial_tiles, 1, 0.1);
  EXPECT_NEAR(some.empty_tiles / all.empty_tiles, 1, 0.1);
  EXPECT_NEAR(some.packed_keys / all.packed_keys, 1, 0.1);
}

// 17 billion pairs a head, and none is asked for.
TEST(PlanCost, OfALongPromptIsExact) {
  Question question{.mask = CausalMask{}};
  constexpr std::int64_t kLength = 131'072;
  question.shape.q_len = question.shape.kv_len = kLength;
  const PlanCost cost = question.cost();
  EXPECT_TRUE(cost.is_exact);
  EXPECT_EQ(cost.allowed_pairs, 8.0 * kLength * (kLength + 1) / 2);
}

TEST(PlanCost, GroupedHeadsDivideTheCache) {
  Question question;
  const PlanCost each = question.cost();
  EXPECT_EQ(each.cache_bytes, 8.0 * 1024 * (128 + 128) * 4);
  question.shape.num_kv_heads = 2;
  const PlanCost grouped = question.cost();
  EXPECT_EQ(grouped.cache_bytes, each.cache_bytes / 4);
  EXPECT_EQ(grouped.useful_flops, each.useful_flops);
  question.shape.key_dtype = question.shape.value_dtype = DType::kF16;
  EXPECT_EQ(question.cost().cache_bytes, each.cache_bytes / 8);
}

TEST(Predict, MoreWorkTakesLonger) {
  const auto seconds = [](auto change) {
    Question question;
    change(question.shape);
    return question.seconds();
  };
  const double before = seconds([](AttentionShape&) {});
  EXPECT_GT(seconds([](AttentionShape& s) { s.q_len *= 2; }), 1.8 * before);
  EXPECT_GT(seconds([](AttentionShape& s) { s.kv_len *= 2; }), 1.8 * before);
  EXPECT_GT(seconds([](AttentionShape& s) { s.batch = 2; }), 1.8 * before);
  EXPECT_GT(seconds([](AttentionShape& s) { s.head_dim = 256; }), 1.2 * before);
  EXPECT_GT(seconds([](AttentionShape& s) { s.value_dim = 256; }), 1.2 * before);
}

TEST(Predict, MasksSaveTime) {
  Question question;
  question.shape.q_len = question.shape.kv_len = 8192;
  const double full = question.seconds();
  question.mask = CausalMask{};
  const double causal = question.seconds();
  question.mask = CausalMask{} & WindowMask{256, 0};
  const double window = question.seconds();
  EXPECT_NEAR(causal / full, 0.5, 0.1);
  EXPECT_LT(window, causal / 5);
  question.mask = !AnyMask();
  EXPECT_LT(question.seconds(), window / 5);
}

TEST(Predict, FasterMachinesTakeLessTime) {
  Question prompt, step;
  step.shape.q_len = 1;
  step.shape.kv_len = 65'536;
  MachineLimits arithmetic = kLimits, memory = kLimits;
  arithmetic.fma_flops *= 2;
  memory.read_bytes_per_second *= 2;
  EXPECT_FALSE(prompt.plan().predict(kLimits).reading_binds());
  EXPECT_TRUE(step.plan().predict(kLimits).reading_binds());
  EXPECT_LT(prompt.seconds(arithmetic), 0.6 * prompt.seconds());
  EXPECT_LT(step.seconds(memory), 0.85 * step.seconds());
  EXPECT_GT(prompt.seconds(memory), 0.95 * prompt.seconds());
}

TEST(Predict, IsNeverShorterThanEitherAlone) {
  for (const std::int64_t queries : {1, 7, 64, 1024}) {
    Question question;
    question.shape.q_len = queries;
    const Prediction p = question.plan().predict(kLimits);
    EXPECT_GE(p.seconds, std::max(p.compute_seconds, p.read_seconds));
    EXPECT_LE(p.seconds, p.compute_seconds + p.read_seconds);
  }
}

TEST(Predict, MoreThreadsAreNotSlower) {
  for (const std::int64_t queries : {1, 50, 1024}) {
    Question question;
    question.shape.q_len = queries;
    question.shape.kv_len = 5000;
    double before = question.seconds();
    const double one = before;
    for (const int threads : {2, 4, 8, 16}) {
      Pool pool(threads);
      question.executor = &pool;
      const double now = question.seconds();
      EXPECT_LE(now, before * 1.03) << threads << " threads, " << queries << " queries";
      EXPECT_GE(now, 0.999 * one / threads);
      before = now;
    }
    EXPECT_LT(before, one / 4);
  }
}

TEST(Predict, SharedMemoryBoundsThreads) {
  Pool pool(8);
  Question question;
  question.shape.q_len = 1;
  question.shape.kv_len = 100'000;
  question.executor = &pool;
  MachineLimits limits = kLimits;
  const double free = question.plan().predict(limits).read_seconds;
  limits.shared_read_bytes_per_second = 2 * limits.read_bytes_per_second;
  EXPECT_NEAR(question.plan().predict(limits).read_seconds, 4 * free, 0.01 * free);
}

TEST(Predict, NothingTakesAlmostNoTime) {
  Question question;
  question.shape.kv_len = 0;
  EXPECT_EQ(question.cost().pairs, 0);
  EXPECT_EQ(question.plan().predict(kLimits).read_seconds, 0);
  question.shape.batch = 0;
  EXPECT_EQ(question.seconds(), 0);
}

TEST(Predict, RefusesLimitsThatAreNone) {
  const auto error_of = [](MachineLimits limits) -> std::string {
    try {
      Question().plan().predict(limits);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  MachineLimits limits = kLimits;
  limits.fma_flops = 0;
  EXPECT_EQ(error_of(limits), "limits.fma_flops is 0.000000, expected a finite number above 0");
  limits = kLimits;
  limits.dot_flops = -1;
  EXPECT_EQ(error_of(limits), "limits.dot_flops is -1.000000, expected a finite number, 0 or more");
  limits = kLimits;
  limits.read_bytes_per_second = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NE(error_of(limits).find("limits.read_bytes_per_second"), std::string::npos);
  EXPECT_THROW((void)Question().plan().explain(limits), std::invalid_argument);
}

TEST(Explain, SaysTheTimeWhereLimitsAreGiven) {
  Question question{.mask = CausalMask{}};
  const Plan plan = question.plan();
  EXPECT_EQ(plan.explain().find("time:"), std::string::npos);
  EXPECT_NE(plan.explain().find("causal: 50% of 8.4 M pairs"), std::string::npos) << plan.explain();
  const std::string timed = plan.explain(kLimits);
  EXPECT_EQ(timed.find(plan.explain()), 0u) << "the rest is the same";
  EXPECT_NE(timed.find("predicted on 1 thread\n           arithmetic binds"), std::string::npos)
      << timed;
}

}  // namespace
}  // namespace regard::test
