// tests/exec/thread_pool_test.cc - what every executor promises, and what a busy pool does.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "regard/attention.h"
#include "regard/executor.h"
#include "support/hostile_executor.h"
#include "support/problem.h"

namespace regard::test {
namespace {

// Runs n tasks; every one must run once, with a worker index in range that no other task has at the
// same time.
void expect_keeps_promises(Executor& executor, std::int64_t num_tasks) {
  std::vector<std::atomic<int>> runs(static_cast<std::size_t>(num_tasks));
  std::vector<std::atomic<int>> busy(static_cast<std::size_t>(executor.num_threads()));
  std::atomic<bool> ok{true};
  executor.parallel_for(num_tasks, [&](std::int64_t task, int worker) {
    if (worker < 0 || worker >= executor.num_threads()) {
      ok = false;
      return;
    }
    if (busy[static_cast<std::size_t>(worker)]++ != 0) ok = false;
    ++runs[static_cast<std::size_t>(task)];
    if (task % 5 == 0) std::this_thread::yield();
    --busy[static_cast<std::size_t>(worker)];
  });
  EXPECT_TRUE(ok);
  for (const auto& n : runs) EXPECT_EQ(n, 1);
}

TEST(Executors, RunEveryTaskOnce) {
  for (const std::int64_t tasks : {0, 1, 2, 3, 7, 100, 1000}) {
    expect_keeps_promises(serial_executor(), tasks);
    expect_keeps_promises(default_executor(), tasks);
    for (const int threads : {1, 2, 3, 8}) {
      const std::unique_ptr<Executor> pool = make_thread_pool(threads);
      EXPECT_EQ(pool->num_threads(), threads);
      for (int run = 0; run < 10; ++run) expect_keeps_promises(*pool, tasks);
    }
    HostileExecutor hostile(3, HostileExecutor::Order::kRandom, 1);
    expect_keeps_promises(hostile, tasks);
  }
}

TEST(Executors, PoolUsesItsThreads) {
  const std::unique_ptr<Executor> pool = make_thread_pool(3);
  std::atomic<int> waiting{0};
  std::set<std::thread::id> ids;
  std::mutex mutex;
  pool->parallel_for(3, [&](std::int64_t, int) {  // ends only when three threads have come
    {
      const std::lock_guard<std::mutex> lock(mutex);
      ids.insert(std::this_thread::get_id());
    }
    for (++waiting; waiting < 3;) std::this_thread::yield();
  });
  EXPECT_EQ(ids.size(), 3U);
  EXPECT_EQ(ids.count(std::this_thread::get_id()), 1U);  // the caller included
}

// A second caller does not wait: its tasks run on its own thread.
TEST(Executors, BusyPoolServesTheSecondCallerSerially) {
  const std::unique_ptr<Executor> pool = make_thread_pool(2);
  std::atomic<bool> inside{false}, done{false};
  std::thread first([&] {
    pool->parallel_for(2, [&](std::int64_t, int) {
      inside = true;
      while (!done) std::this_thread::yield();
    });
  });
  while (!inside) std::this_thread::yield();
  const std::thread::id self = std::this_thread::get_id();
  int tasks = 0;
  pool->parallel_for(10, [&](std::int64_t, int) {
    EXPECT_EQ(std::this_thread::get_id(), self);
    ++tasks;
  });
  EXPECT_EQ(tasks, 10);
  done = true;
  first.join();
}

TEST(Executors, TaskMayUseItsOwnPool) {
  const std::unique_ptr<Executor> pool = make_thread_pool(3);
  std::atomic<int> inner{0};
  pool->parallel_for(
      4, [&](std::int64_t, int) { pool->parallel_for(5, [&](std::int64_t, int) { ++inner; }); });
  EXPECT_EQ(inner, 20);
}

TEST(Executors, ConcurrentCallersGetTheSameBits) {
  Rng rng(1);
  Problem p = make_problem(rng, {2, 4, 2, 100, 600, 16, 16});
  const std::unique_ptr<Executor> pool = make_thread_pool(2);
  AttentionOptions options = p.options();
  options.executor = pool.get();
  const std::vector<float> expected = run_attention(p, options).out.values();
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int n = 0; n < 4; ++n) {
    callers.emplace_back([&] {
      for (int run = 0; run < 10; ++run) {
        wrong += !same_bits(run_attention(p, options).out.values(), expected);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

// Any of many workers may take one of few tasks.
TEST(Executors, MoreThreadsThanTasks) {
  Rng rng(1);
  Problem p = make_problem(rng, {1, 2, 2, 5, 600, 16, 16});
  AttentionOptions options = p.options();
  options.executor = &serial_executor();
  const std::vector<float> expected = run_attention(p, options).out.values();
  for (const int threads : {2, 3, 16}) {
    HostileExecutor hostile(threads, HostileExecutor::Order::kReverse, 1);
    const std::unique_ptr<Executor> pool = make_thread_pool(threads);
    for (Executor* executor : {static_cast<Executor*>(&hostile), pool.get()}) {
      options.executor = executor;
      for (int run = 0; run < 20; ++run) {
        EXPECT_TRUE(same_bits(run_attention(p, options).out.values(), expected));
      }
    }
  }
}

TEST(Executors, IdleThreadsSleep) {
  const std::unique_ptr<Executor> pool = make_thread_pool(3);
  for (int run = 0; run < 100; ++run) expect_keeps_promises(*pool, 10);
  const std::clock_t before = std::clock();  // CPU time of all threads
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 20) << "a quarter of one thread's time";
}

TEST(Executors, TheDefaultLeavesSmallWorkToTheCaller) {
  const auto executor = [](std::int64_t q_len, std::int64_t kv_len) {
    return &default_executor({.num_heads = 4,
                              .num_kv_heads = 4,
                              .q_len = q_len,
                              .kv_len = kv_len,
                              .head_dim = 64,
                              .value_dim = 64});
  };
  EXPECT_EQ(executor(1, 16), &serial_executor());
  EXPECT_EQ(executor(0, 0), &serial_executor());
  EXPECT_EQ(executor(1, 4096), &default_executor());
  EXPECT_EQ(executor(128, 128), &default_executor());
  EXPECT_EQ(executor(std::int64_t{1} << 40, std::int64_t{1} << 40), &default_executor());
}

TEST(Executors, DefaultIsTheAffinityMask) {
  EXPECT_EQ(default_executor().num_threads(), default_num_threads());
  EXPECT_GE(default_num_threads(), 1);
}

}  // namespace
}  // namespace regard::test
