// tests/api/cancel_test.cc - a run that is told to stop does, and leaves the plan as it was.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <span>
#include <thread>

#include "regard/plan.h"
#include "regard/state.h"
#include "support/dense.h"
#include "support/guarded_buffer.h"
#include "support/hostile_executor.h"

namespace regard::test {
namespace {

constexpr std::int64_t kKeys = 20'000;
/// 50 ms are promised; the rest is for a machine that is busy or watched by a sanitizer.
constexpr std::chrono::milliseconds kSoon{500};

struct Setting {
  explicit Setting(std::int64_t rows, Executor& executor)
      : rng(7),
        query({1, 4, rows, 24}, rng),
        key({1, 2, kKeys, 24}, rng),
        value({1, 2, kKeys, 32}, rng),
        plan({1, 4, 2, rows, kKeys, 24, 32}, {.executor = &executor}) {}
  Dense<float> run(const RunOptions& options = {}) {
    Dense<float> out({1, 4, query.shape[2], 32});
    plan.run(query.view(), key.view(), value.view(), out.view(), options);
    return out;
  }
  Rng rng;
  Dense<float> query, key, value;
  Plan plan;
};

/// Raises a flag after some tiles, and counts them.
struct Canceller final : Probe {
  std::atomic<bool> flag{false};
  std::atomic<int> tiles{0}, finished_rows{0};
  int after = 0;
  void tile(const WeightTile&) noexcept override {
    if (++tiles > after) flag = true;
  }
  void finished(const FinishedRows&) noexcept override { ++finished_rows; }
  RunOptions options() { return {.probe = this, .cancel = &flag}; }
};

TEST(Cancel, BeforeTheRunNothingIsComputed) {
  Setting s(5, serial_executor());
  Canceller canceller;
  canceller.flag = true;
  Dense<float> out({1, 4, 5, 32});
  const auto run = [&] {
    s.plan.run(s.query.view(), s.key.view(), s.value.view(), out.view(), canceller.options());
  };
  EXPECT_THROW(run(), Cancelled);
  EXPECT_EQ(canceller.tiles + canceller.finished_rows, 0);
  EXPECT_TRUE(out == Dense<float>(out.shape)) << "something was written";
}

TEST(Cancel, StopsWithinAStrip) {
  Setting s(400, serial_executor());
  const Dense<float> whole = s.run();
  Canceller canceller;
  canceller.after = 100;
  EXPECT_THROW(s.run(canceller.options()), Cancelled);
  EXPECT_GT(canceller.tiles, 100);
  EXPECT_EQ(canceller.tiles, 101);
  EXPECT_EQ(canceller.finished_rows, 0);
  EXPECT_TRUE(s.run() == whole) << "a cancelled run left something behind";
}

// Decode on threads: each may end the chunk that it has begun, no more.
TEST(Cancel, StopsEveryThread) {
  const std::unique_ptr<Executor> pool = make_thread_pool(3);
  HostileExecutor hostile(4, HostileExecutor::Order::kRandom, 1);
  for (Executor* executor : std::initializer_list<Executor*>{pool.get(), &hostile}) {
    Setting s(2, *executor);
    const Dense<float> whole = s.run();
    for (const int after : {0, 7, 60}) {
      Canceller canceller;
      canceller.after = after;
      EXPECT_THROW(s.run(canceller.options()), Cancelled);
      EXPECT_LE(canceller.tiles, after + executor->num_threads());
      EXPECT_EQ(canceller.finished_rows, 0);
      EXPECT_TRUE(s.run() == whole) << "a cancelled run left something behind";
    }
  }
}

/// Runs the first task, raises the flag, and takes the queries away before it runs the others.
struct Taker final : Executor {
  std::atomic<bool> flag{false};
  std::span<std::byte> memory;
  std::int64_t tasks = 0;
  int num_threads() const override { return 1; }
  void parallel_for(std::int64_t num_tasks, const Task& task) override {
    tasks = num_tasks;
    task(0, 0);
    flag = true;
    mprotect(memory.data(), memory.size(), PROT_NONE);
    for (std::int64_t i = 1; i < num_tasks; ++i) task(i, 0);
    mprotect(memory.data(), memory.size(), PROT_READ | PROT_WRITE);
  }
};

TEST(Cancel, TasksThatHaveNotBegunTouchNothing) {
  const GuardedBuffer queries(std::size_t{1} << 20);
  constexpr std::int64_t kRows = (1 << 20) / 16;
  Rng rng(8);
  Dense<float> key({1, 1, 3, 16}, rng), out({1, 1, kRows, 16});
  Taker taker;
  taker.memory = {static_cast<std::byte*>(queries.begin()), (std::size_t{1} << 20) * 4};
  const TensorView<const float, 4> query(static_cast<const float*>(queries.begin()),
                                         {1, 1, kRows, 16});
  EXPECT_THROW(attention(query, key.view(), key.view(), out.view(), {.executor = &taker},
                         {.cancel = &taker.flag}),
               Cancelled);
  EXPECT_GT(taker.tasks, 100);
}

// One task of widest rows: every row is read from the same place, so that it is only long.
TEST(Cancel, AHugeTask) {
  Rng rng(9);
  Dense<float> query({1, 1, 384, 1024}, rng), key({1, 1, 1, 1024}, rng), out(query.shape);
  const TensorView<const float, 4> keys(key.data.data(), {1, 1, 1 << 20, 1024},
                                        {0, 0, 0, 1});  // a minute of work
  std::atomic<bool> flag{false};
  std::chrono::steady_clock::time_point raised;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    raised = std::chrono::steady_clock::now();
    flag = true;
  });
  const auto run = [&] {
    attention(query.view(), keys, keys, out.view(), {.executor = &serial_executor()},
              {.cancel = &flag});
  };
  EXPECT_THROW(run(), Cancelled);
  const auto stopped = std::chrono::steady_clock::now();
  other.join();
  EXPECT_LT(stopped - raised, kSoon);
}

TEST(Cancel, ByAnotherThread) {
  Setting s(3000, serial_executor());  // seconds of work
  std::atomic<bool> flag{false};
  std::chrono::steady_clock::time_point raised;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    raised = std::chrono::steady_clock::now();
    flag = true;
  });
  EXPECT_THROW(s.run({.cancel = &flag}), Cancelled);
  const auto stopped = std::chrono::steady_clock::now();
  other.join();
  EXPECT_LT(stopped - raised, kSoon);
}

TEST(Cancel, AFlagThatIsNeverRaisedChangesNothing) {
  const std::unique_ptr<Executor> pool = make_thread_pool(2);
  for (const std::int64_t rows : {1, 50}) {
    Setting s(rows, *pool);
    const std::atomic<bool> flag{false};
    EXPECT_TRUE(s.run({.cancel = &flag}) == s.run());
  }
}

TEST(Cancel, PartsToo) {
  Setting s(5, serial_executor());
  Canceller canceller;
  canceller.after = 3;
  EXPECT_THROW(partial_attention(s.query.view(), s.key.view(), s.value.view(),
                                 {.executor = &serial_executor()}, canceller.options()),
               Cancelled);
  EXPECT_LT(canceller.tiles, 10);
}

TEST(Cancel, SaysSo) { EXPECT_STREQ(Cancelled().what(), "attention: cancelled"); }

}  // namespace
}  // namespace regard::test
