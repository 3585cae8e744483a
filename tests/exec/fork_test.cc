// tests/exec/fork_test.cc - after fork() a child computes the same bits, with threads of its own.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "regard/attention.h"
#include "regard/executor.h"
#include "regard/plan.h"
#include "support/child.h"
#include "support/problem.h"

namespace regard::test {
namespace {

constexpr const char* kNoFork = "ThreadSanitizer allows no threads in a forked child";

/// Threads that take part when as many tasks wait for each other.
int threads_at_once(Executor& executor, int wanted) {
  std::atomic<int> waiting{0};
  std::mutex mutex;
  std::set<std::thread::id> ids;
  executor.parallel_for(wanted, [&](std::int64_t, int) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      ids.insert(std::this_thread::get_id());
    }
    for (++waiting; waiting < wanted;) std::this_thread::yield();
  });
  return static_cast<int>(ids.size());
}

struct Setting {
  Setting() : problem(make_problem(rng, {1, 4, 2, 200, 700, 16, 16})) {
    expected = run_attention(problem, {.executor = &serial_executor()}).out.values();
  }
  bool right(Executor* executor) const {
    return same_bits(run_attention(problem, {.executor = executor}).out.values(), expected);
  }
  Rng rng{1};
  Problem problem;
  std::vector<float> expected;
};

TEST(Fork, TheDefaultExecutorWorksInTheChild) {
  if (!kMayFork) GTEST_SKIP() << kNoFork;
  const Setting s;
  ASSERT_TRUE(s.right(nullptr));
  const int threads = default_num_threads();
  const auto child = [&] {
    if (!s.right(nullptr)) return 1;
    return threads_at_once(default_executor(), threads) == threads ? 0 : 2;
  };
  for (int i = 0; i < 5; ++i) EXPECT_EQ(in_child(child), "exit code 0");
  EXPECT_EQ(in_child([&] { return in_child(child) == "exit code 0" ? 0 : 3; }), "exit code 0")
      << "a child's child";
  EXPECT_TRUE(s.right(nullptr)) << "the parent afterwards";
  EXPECT_EQ(threads_at_once(default_executor(), threads), threads);
}

TEST(Fork, APoolOfTheParentWorksInTheChildAndEnds) {
  if (!kMayFork) GTEST_SKIP() << kNoFork;
  const Setting s;
  for (const bool used_before : {false, true}) {
    std::unique_ptr<Executor> pool = make_thread_pool(3);
    if (used_before) {
      EXPECT_TRUE(s.right(pool.get()));
    }
    EXPECT_EQ(in_child([&] {
                if (!s.right(pool.get())) return 1;
                if (threads_at_once(*pool, 3) != 3) return 2;
                pool.reset();  // ends the child's threads
                return 0;
              }),
              "exit code 0");
    EXPECT_EQ(in_child([&] {
                pool.reset();  // must not wait for the parent's threads
                return 0;
              }),
              "exit code 0");
    EXPECT_EQ(threads_at_once(*pool, 3), 3) << "the parent's own";
  }
}

// exit() ends the default executor, which in the child has other threads, or none.
TEST(Fork, AChildExitsAsUsual) {
  if (!kMayFork) GTEST_SKIP() << kNoFork;
  const Setting s;
  ASSERT_TRUE(s.right(nullptr));
  EXPECT_EQ(in_child([&]() -> int { exit(3); }), "exit code 3");
  EXPECT_EQ(in_child([&]() -> int { exit(s.right(nullptr) ? 4 : 1); }), "exit code 4");
}

// The fork comes while another thread has the pool, so that in the child nobody gives it back.
TEST(Fork, DuringARunOfAnotherThread) {
  if (!kMayFork) GTEST_SKIP() << kNoFork;
  const Setting s;
  const std::unique_ptr<Executor> pool = make_thread_pool(2);
  std::atomic<bool> inside{false}, done{false};
  std::thread other([&] {
    pool->parallel_for(2, [&](std::int64_t, int) {
      inside = true;
      while (!done) std::this_thread::yield();
    });
  });
  while (!inside) std::this_thread::yield();
  EXPECT_EQ(in_child([&] {
              if (!s.right(pool.get())) return 1;
              return threads_at_once(*pool, 2) == 2 ? 0 : 2;
            }),
            "exit code 0");
  done = true;
  other.join();
  EXPECT_TRUE(s.right(pool.get()));
}

TEST(Fork, APlanOfTheParentRunsInTheChild) {
  if (!kMayFork) GTEST_SKIP() << kNoFork;
  const Setting s;
  const Plan plan(s.problem.shape);
  const auto right = [&] {
    const Result result = make_result(s.problem);
    plan.run(s.problem.query, s.problem.key, s.problem.value, result.out);
    return same_bits(result.out.values(), s.expected);
  };
  ASSERT_TRUE(right());
  EXPECT_EQ(in_child([&] { return right() ? 0 : 1; }), "exit code 0");
}

// Threads of the child that come at once: one makes the new crew, nobody takes the old one.
TEST(Fork, ManyThreadsOfTheChildComeAtOnce) {
  if (!kMayFork) GTEST_SKIP() << kNoFork;
  const Setting s;
  const std::unique_ptr<Executor> pool = make_thread_pool(3);
  EXPECT_EQ(in_child([&] {
              std::atomic<int> wrong{0};
              std::vector<std::thread> callers;
              for (int i = 0; i < 8; ++i) {
                callers.emplace_back([&] {
                  for (int run = 0; run < 5; ++run) wrong += !s.right(pool.get());
                });
              }
              for (std::thread& caller : callers) caller.join();
              return wrong.load();
            }),
            "exit code 0");
}

}  // namespace
}  // namespace regard::test
