// tests/exec/concurrent_test.cc - many threads call at once: one plan, plans of their own,
// attention() on the default executor. Small enough for ThreadSanitizer.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "regard/c/regard.h"
#include "regard/isa.h"
#include "regard/linear.h"
#include "regard/plan.h"
#include "regard/rope.h"
#include "regard/state.h"
#include "support/c_problem.h"
#include "support/problem.h"

namespace regard::test {
namespace {

constexpr int kThreads = 6, kRuns = 4;

/// Calls f(thread) kRuns times on every thread, which begin together; counts how often it says no.
template <class F>
int wrong_of_many(F f) {
  std::atomic<int> wrong{0};
  std::barrier begin(kThreads);
  std::vector<std::thread> threads;
  for (int n = 0; n < kThreads; ++n) {
    threads.emplace_back([&, n] {
      begin.arrive_and_wait();
      for (int run = 0; run < kRuns; ++run) wrong += f(n) ? 0 : 1;
    });
  }
  for (std::thread& thread : threads) thread.join();
  return wrong;
}

/// A problem whose keys are split, with what it must give.
struct Setting {
  explicit Setting(std::uint64_t seed, std::int64_t q_len = 9)
      : rng(seed), problem(make_problem(rng, {1, 4, 2, q_len, 2100, 16, 24})) {
    problem.mask = {DocumentMask(std::vector<std::int64_t>(2100, 1)) & CausalMask{}, "Document"};
    problem.q_offset = 2000 - q_len;
    problem.score_mods.mods = {SoftCap{20}, Alibi{{0.5F, 0.25F, 0.1F, 0.01F}}};
    expected = run_attention(problem, options(&serial_executor())).out.values();
  }
  AttentionOptions options(Executor* executor) const {
    AttentionOptions options = problem.options();
    options.executor = executor;
    return options;
  }
  bool right(const Plan& plan, const RunOptions& run = {}) const {
    const Result result = make_result(problem);
    plan.run(problem.query, problem.key, problem.value, result.out, run);
    return same_bits(result.out.values(), expected);
  }
  Rng rng;
  Problem problem;
  std::vector<float> expected;
};

TEST(Concurrent, OnePlan) {
  const Setting s(1);
  const std::unique_ptr<Executor> pool = make_thread_pool(2);
  for (Executor* executor : {pool.get(), &default_executor(), &serial_executor()}) {
    const Plan plan(s.problem.shape, s.options(executor));
    EXPECT_EQ(wrong_of_many([&](int) { return s.right(plan); }), 0);
  }
}

TEST(Concurrent, PlansOfTheirOwnOnOnePool) {
  std::vector<std::unique_ptr<Setting>> settings;
  for (std::uint64_t n = 0; n < kThreads; ++n)
    settings.push_back(std::make_unique<Setting>(n, 3 + 20 * static_cast<std::int64_t>(n)));
  const std::unique_ptr<Executor> pool = make_thread_pool(3);
  EXPECT_EQ(wrong_of_many([&](int n) {
              const Setting& s = *settings[static_cast<std::size_t>(n)];
              return s.right(Plan(s.problem.shape, s.options(pool.get())));
            }),
            0);
}

// Everything at once, as in a host that serves several models.
TEST(Concurrent, EveryKindOfCall) {
  const Setting s(2);
  const Plan plan(s.problem.shape, s.options(nullptr)), copy = plan;
  const CProblem c(s.problem, false);
  const std::string explained = plan.explain();
  const std::atomic<bool> never{false}, raised{true};
  const auto one_shot = [&] {
    return same_bits(run_attention(s.problem, s.options(nullptr)).out.values(), s.expected);
  };
  const auto in_c = [&] {
    const Result result = make_result(s.problem);
    const regard_input query = c_input(s.problem.query), key = c_input(s.problem.key),
                       value = c_input(s.problem.value);
    const regard_output out = c_output(result.out);
    return regard_attention(&query, &key, &value, &out, &c.options, nullptr) == REGARD_OK &&
           same_bits(result.out.values(), s.expected);
  };
  const auto state = [&] {
    const Result result = make_result(s.problem);
    finish(partial_attention(s.problem.query, s.problem.key, s.problem.value, s.options(nullptr)),
           result.out);
    return same_bits(result.out.values(), s.expected);
  };
  const auto cancelled = [&] {
    try {
      s.right(plan, {.cancel = &raised});
      return false;
    } catch (const Cancelled&) {
      return true;
    }
  };
  const std::array<std::function<bool()>, kThreads> calls{
      one_shot,
      in_c,
      state,
      cancelled,
      [&] { return s.right(plan, {.cancel = &never}); },
      [&] { return s.right(copy) && plan.explain() == explained; }};
  EXPECT_EQ(wrong_of_many([&](int n) { return calls[static_cast<std::size_t>(n)](); }), 0);
}

TEST(Concurrent, ACancelRaisedByAnotherThread) {
  const Setting s(3, 60);
  const Plan plan(s.problem.shape, s.options(nullptr));
  std::array<std::atomic<bool>, kThreads> flags{};
  const auto run = [&](int n) {  // each raises the next one's flag: it is cancelled or done
    flags[static_cast<std::size_t>((n + 1) % kThreads)] = true;
    try {
      return s.right(plan, {.cancel = &flags[static_cast<std::size_t>(n)]});
    } catch (const Cancelled&) {
      return true;
    }
  };
  EXPECT_EQ(wrong_of_many(run), 0);
  EXPECT_TRUE(s.right(plan));
}

TEST(Concurrent, LayersAndRopes) {
  const Setting s(4);
  const TensorView<const float, 2> x(&s.problem.key.view()(0, 0, 0, 0), {2100, 16});
  const Linear linear(x, {});
  const Rope rope(16);
  const auto layer = [&] {
    std::vector<float> y(40 * 2100);
    linear.run({x.data, {40, 16}}, {y.data(), {40, 2100}});
    return y;
  };
  const auto turned = [&] {
    const Tensor<4> out(s.problem.query.shape());
    rope.apply(s.problem.query, out, 7);
    return out.values();
  };
  const std::vector<float> y = layer(), t = turned();
  EXPECT_EQ(wrong_of_many(
                [&](int n) { return n % 2 == 0 ? same_bits(layer(), y) : same_bits(turned(), t); }),
            0);
}

// The table may change while plans are made: each has one or the other, whole.
TEST(Concurrent, AForcedTable) {
  const Setting s(5);
  const std::vector<std::string> isas = supported_isas();
  std::vector<std::vector<float>> results;
  for (const std::string& isa : isas) {
    force_isa(isa);
    results.push_back(run_attention(s.problem, s.options(nullptr)).out.values());
  }
  EXPECT_EQ(wrong_of_many([&](int n) {
              if (n < 2) force_isa(n == 0 ? isas.front() : isas.back());
              const auto out = run_attention(s.problem, s.options(nullptr)).out.values();
              return std::ranges::any_of(results,
                                         [&](const auto& each) { return same_bits(each, out); });
            }),
            0);
  force_isa("");
}

}  // namespace
}  // namespace regard::test
