// tests/bench/run_test.cc - turns, medians, what is left out, and an early end, with cases that
// measure nothing.
#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "bench/bench.h"

namespace regard::bench {
namespace {

class Run : public testing::Test {
 protected:
  /// A case that gives the pairs one after the other, the last one for ever.
  Case of(std::vector<Pair> pairs) {
    return {
        .name = "window.test", .unit = "x", .prepare = [pairs, this](const Context&) -> Prepared {
          return {[pairs, this] {
                    const std::size_t turn = std::min(turns_, pairs.size() - 1);
                    ++turns_;
                    if (turns_ == stop_after_) stop_ = true;
                    return pairs[turn];
                  },
                  "a note"};
        }};
  }
  void run(std::vector<Case> cases, const Options& options = {.seconds = 1e-9}) {
    Observer observer;
    observer.measured = [&](const Row& row) { rows_.push_back(row); };
    observer.left_out = [&](const Case&, const std::string& reason) { reasons_.push_back(reason); };
    bench::run(cases, options, {machine(), stop_}, observer);
  }
  static Machine& machine() {
    static Machine measured;
    return measured;
  }

  std::atomic<bool> stop_{false};
  std::size_t turns_ = 0, stop_after_ = 0;
  std::vector<Row> rows_;
  std::vector<std::string> reasons_;
};

TEST_F(Run, ReportsTheTurnInTheMiddle) {
  run({of({{9, 10}, {1, 10}, {4, 8}})});
  ASSERT_EQ(rows_.size(), 1u);
  EXPECT_EQ(turns_, 3u);
  EXPECT_EQ(rows_[0].value, 4);
  EXPECT_EQ(rows_[0].limit, 8);
  EXPECT_EQ(rows_[0].ratio(), 0.5);
  EXPECT_FALSE(rows_[0].met());
  EXPECT_EQ(rows_[0].note, "a note");
}

TEST_F(Run, AsksThePlanForItsPrediction) {
  Case predicted = of({{5, 10}});
  const auto prepare = predicted.prepare;
  predicted.prepare = [prepare](const Context& context) {
    Prepared prepared = prepare(context);
    prepared.predicted = [](const MachineLimits& limits, double limit) {
      return limits.fma_flops > 0 ? 0.4 * limit : 0;
    };
    return prepared;
  };
  run({predicted, of({{1, 1}})});
  ASSERT_EQ(rows_.size(), 2u);
  EXPECT_EQ(rows_[0].predicted, 4);
  EXPECT_EQ(rows_[0].predicted_ratio(), 1.25);
  EXPECT_TRUE(rows_[0].is_predicted_well());
  rows_[0].predicted = 3;
  EXPECT_FALSE(rows_[0].is_predicted_well());
  EXPECT_EQ(rows_[1].predicted, 0) << "it does not say";
}

TEST_F(Run, AShortPromptIsPredicted) {
  for (const Case& c : all_cases()) {
    if (!c.name.starts_with("prefill.fp32.d64.n128")) continue;
    const Prepared prepared = c.prepare({machine(), stop_});
    ASSERT_TRUE(prepared.predicted) << c.name;
    EXPECT_GT(prepared.predicted(machine().limits(), 1), 0) << c.name;
  }
}

TEST_F(Run, GoesOnUntilTheTimeIsUp) {
  run({of({{1, 1}})}, {.seconds = 0.01});
  EXPECT_GT(turns_, 3u);
  EXPECT_TRUE(rows_.at(0).met());
}

TEST_F(Run, AnInterruptedCaseCountsAndIsTheLast) {
  stop_after_ = 1;
  run({of({{3, 4}}), of({{1, 1}})});
  ASSERT_EQ(rows_.size(), 1u);
  EXPECT_EQ(rows_[0].ratio(), 0.75);
}

TEST_F(Run, SaysWhyACaseIsLeftOut) {
  const auto throwing = [](auto error) {
    return Case{"window.test", "x", [error](const Context&) -> Prepared { throw error; }};
  };
  run({throwing(std::invalid_argument("no such type")), throwing(std::bad_alloc()), of({{1, 1}})});
  EXPECT_EQ(rows_.size(), 1u);
  EXPECT_EQ(reasons_, (std::vector<std::string>{"no such type", "there is not enough memory"}));
}

TEST_F(Run, ACancelledCaseEndsTheRun) {
  run({Case{"window.test", "x", [](const Context&) -> Prepared { throw Cancelled(); }},
       of({{1, 1}})});
  EXPECT_TRUE(rows_.empty());
  EXPECT_TRUE(reasons_.empty());
}

TEST_F(Run, LeavesOutWhatTakesAMinuteWhenAsked) {
  Case minute = of({{1, 1}});
  minute.takes_a_minute = true;
  run({minute}, {.seconds = 1e-9, .leave_out_long = true});
  EXPECT_EQ(reasons_.size(), 1u);
  run({minute});
  EXPECT_EQ(turns_, 1u) << "once is enough for it";
}

TEST_F(Run, TheMachineHasLimits) {
  EXPECT_GT(machine().median_fma(), 1e8);
  EXPECT_GT(machine().median_read(), 1e8);
  if (machine().median_dot()) {
    EXPECT_GT(*machine().median_dot(), machine().median_fma());
  }
  EXPECT_GE(beyond_cache_bytes(), std::min(4 * last_level_cache_bytes(), std::int64_t{1} << 30));
}

TEST(Median, IsTheLowerOfTheMiddle) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2);
  EXPECT_EQ(median({7}), 7);
}

TEST(RandomNumbers, HaveMeanZeroAndVarianceOne) {
  constexpr std::int64_t kSize = 250'000;  // more than the period
  const Buffer buffer = random_numbers(DType::kF16, kSize);
  ASSERT_EQ(buffer.bytes().size(), kSize * sizeof(f16));
  const auto* const x = reinterpret_cast<const f16*>(buffer.bytes().data());
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < kSize; ++i) {
    sum += static_cast<float>(x[i]);
    squares += static_cast<float>(x[i]) * static_cast<float>(x[i]);
  }
  EXPECT_NEAR(sum / kSize, 0, 0.02);
  EXPECT_NEAR(squares / kSize, 1, 0.02);
}

}  // namespace
}  // namespace regard::bench
