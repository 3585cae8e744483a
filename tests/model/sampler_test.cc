// tests/model/sampler_test.cc - which tokens may be picked, how often, and that a seed says it all.
#include "regard/model/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "model/temp_folder.h"

namespace regard::model {
namespace {

using testing::message_of;

std::map<std::int32_t, int> picks(const SamplingOptions& options, std::vector<float> logits,
                                  int n) {
  Sampler sampler(options);
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < n; ++i) ++counts[sampler.pick(logits)];
  return counts;
}

TEST(Sampler, Temperature0TakesTheFirstOfTheLargest) {
  Sampler sampler({});
  EXPECT_EQ(sampler.pick(std::vector<float>{1, 5, 3, 5}), 1);
  EXPECT_EQ(sampler.pick(std::vector<float>{-std::numeric_limits<float>::infinity(), -3}), 1);
}

TEST(Sampler, FrequenciesAreTheProbabilities) {
  const std::vector<float> logits{0, std::log(2.0F), std::log(5.0F)};
  const auto counts = picks({.temperature = 1, .seed = 3}, logits, 80'000);
  EXPECT_NEAR(counts.at(0), 10'000, 500);
  EXPECT_NEAR(counts.at(1), 20'000, 700);
  EXPECT_NEAR(counts.at(2), 50'000, 700);
  const auto colder = picks({.temperature = 0.5, .seed = 3}, logits, 30'000);  // 1 : 4 : 25
  EXPECT_NEAR(colder.at(0), 1'000, 150);
  EXPECT_NEAR(colder.at(1), 4'000, 300);
}

TEST(Sampler, FiltersKeepWhatTheySay) {
  const std::vector<float> logits{std::log(0.5F), std::log(0.25F), std::log(0.15F), std::log(0.1F)};
  EXPECT_EQ(picks({.temperature = 1, .top_k = 2}, logits, 1000).size(), 2U);
  EXPECT_EQ(picks({.temperature = 1, .top_k = 1}, logits, 1000).size(), 1U);
  EXPECT_EQ(picks({.temperature = 1, .top_p = 0.5}, logits, 1000).size(), 1U);
  EXPECT_EQ(picks({.temperature = 1, .top_p = 0.76}, logits, 1000).size(), 3U);
  EXPECT_EQ(picks({.temperature = 1, .min_p = 0.29}, logits, 1000).size(), 3U);
  EXPECT_EQ(picks({.temperature = 1, .min_p = 1}, logits, 1000).size(), 1U);
  EXPECT_EQ(picks({.temperature = 1, .top_k = 3, .top_p = 0.8, .min_p = 0.4}, logits, 1000).size(),
            2U);
  std::vector<float> many(5000, 0.0F);
  many[4321] = 20;
  EXPECT_EQ(picks({.temperature = 1, .top_p = 0.9}, many, 100).size(), 1U);
  EXPECT_EQ(picks({.temperature = 1, .top_p = 0.999}, std::vector<float>(900, 1.0F), 20'000).size(),
            900U);
}

TEST(Sampler, ASeedSaysItAll) {
  const std::vector<float> logits(1000, 1.0F);
  const auto run = [&](std::uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<std::int32_t> ids;
    for (int i = 0; i < 8; ++i) ids.push_back(sampler.pick(logits));
    return ids;
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
  // std::mt19937_64 is specified: it begins with 2947667278772165694 of 2^64, which is 0.1598.
  EXPECT_EQ(run(0), (std::vector<std::int32_t>{159, 992, 39, 597, 542, 57, 631, 423}));
}

TEST(Sampler, RefusesOptionsAndLogitsThatMeanNothing) {
  const auto said = [](const SamplingOptions& o) {
    return message_of<std::invalid_argument>([&] { Sampler sampler(o); });
  };
  EXPECT_EQ(said({.temperature = -1}),
            "sampling: temperature is -1.000000, expected a finite number, 0 or more");
  EXPECT_NE(said({.temperature = std::nan("")}).find("temperature is nan"), std::string::npos);
  EXPECT_NE(said({.top_k = -1}).find("top_k is -1"), std::string::npos);
  for (const double p : {0.0, -0.1, 1.1, std::nan("")})
    EXPECT_NE(said({.top_p = p}).find("expected above 0 and at most 1"), std::string::npos);
  EXPECT_NE(said({.min_p = 2}).find("min_p is 2"), std::string::npos);
  Sampler sampler({.temperature = 1});
  EXPECT_THROW(sampler.pick({}), std::invalid_argument);
  EXPECT_THROW(sampler.pick(std::vector<float>{1, std::nanf("")}), std::invalid_argument);
}

}  // namespace
}  // namespace regard::model
