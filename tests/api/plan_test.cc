// tests/api/plan_test.cc - one plan, many runs: fewer keys, other positions, lent memory, no
// allocation, cancellation.
#include "regard/plan.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>

#include "support/dense.h"

namespace regard::test {
namespace {

std::atomic<std::int64_t> allocations{0};

}  // namespace
}  // namespace regard::test

// Every allocation of this program is counted. Not inlined: the compiler would think free() a
// mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++regard::test::allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  ++regard::test::allocations;
  const auto align = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(align, (size + align - 1) / align * align)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace regard::test {
namespace {

struct Setting {
  explicit Setting(std::int64_t rows, std::int64_t keys)
      : rng(7),
        query({1, 4, rows, 24}, rng),
        key({1, 2, keys, 24}, rng),
        value({1, 2, keys, 32}, rng),
        out({1, 4, rows, 32}) {}
  AttentionShape shape() const { return {1, 4, 2, query.shape[2], key.shape[2], 24, 32}; }
  Rng rng;
  Dense<float> query, key, value, out;
};

TEST(PlanRuns, AllocateNothing) {
  const std::unique_ptr<Executor> pool = make_thread_pool(3);
  for (const std::int64_t rows : {1, 100}) {
    for (Executor* executor : {&serial_executor(), pool.get()}) {
      Setting s(rows, 3000);
      AttentionOptions options;
      options.executor = executor;
      const Plan plan(s.shape(), options);
      Dense<float> lse({1, 1, 4, rows});
      const RunOptions run{.lse = TensorView<float, 3>(lse.data.data(), {1, 4, rows})};
      plan.run(s.query.view(), s.key.view(), s.value.view(), s.out.view(),
               run);  // takes the plan's workspace
      const std::int64_t before = allocations;
      for (int i = 0; i < 5; ++i)
        plan.run(s.query.view(), s.key.view(), s.value.view(), s.out.view(), run);
      EXPECT_EQ(allocations, before) << rows << " rows, " << executor->num_threads() << " threads";
    }
  }
}

TEST(PlanRuns, ServeAGrowingCache) {
  Setting s(1, 700);
  AttentionOptions options;
  options.mask = CausalMask{} & WindowMask{400, 0};
  options.q_offset = 699;
  const Plan plan(s.shape(), options);
  for (std::int64_t keys : {1, 2, 255, 256, 257, 513, 700}) {
    const std::int64_t position[] = {keys - 1};
    plan.run(s.query.view(), s.key.rows(0, keys), s.value.rows(0, keys), s.out.view(),
             {.q_offsets = position});
    Dense<float> want(s.out.shape);
    options.q_offset = keys - 1;
    attention(s.query.view(), s.key.rows(0, keys), s.value.rows(0, keys), want.view(), options);
    EXPECT_TRUE(s.out == want) << keys;
    Dense<float> by_length(s.out.shape);
    const std::int64_t lens[] = {keys};
    plan.run(s.query.view(), s.key.view(), s.value.view(), by_length.view(),
             {.q_offsets = position, .kv_lens = lens});
    EXPECT_TRUE(by_length == want) << keys;
  }
}

TEST(PlanRuns, UseTheCallersWorkspace) {
  Setting s(50, 300);
  const Plan plan(s.shape());
  Dense<float> want(s.out.shape);
  plan.run(s.query.view(), s.key.view(), s.value.view(), want.view());
  const auto bytes = static_cast<std::size_t>(plan.workspace_bytes());
  std::vector<std::byte> memory(bytes + 192, std::byte{0x5A});
  const std::size_t first = (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64 + 64;
  const auto run = [&](std::size_t begin, std::size_t size) {
    try {
      plan.run(s.query.view(), s.key.view(), s.value.view(), s.out.view(),
               {.workspace = {memory.data() + begin, size}});
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(run(first, bytes - 1), "attention: workspace.size() is " + std::to_string(bytes - 1) +
                                       ", expected " + std::to_string(bytes) + " or more");
  EXPECT_EQ(
      run(first + 4, bytes),
      "attention: workspace.data() is not aligned, expected an address that is a multiple of 64");
  EXPECT_EQ(run(first, bytes), "");
  EXPECT_TRUE(s.out == want);
  for (std::size_t i = 0; i < first; ++i) ASSERT_EQ(memory[i], std::byte{0x5A});
  for (std::size_t i = first + bytes; i < memory.size(); ++i) ASSERT_EQ(memory[i], std::byte{0x5A});
}

/// Hands out what malloc gives and counts what is out.
class Counted final : public std::pmr::memory_resource {
 public:
  std::int64_t taken = 0, returned = 0;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    taken += static_cast<std::int64_t>(bytes);
    return ::operator new(bytes, std::align_val_t(alignment));
  }
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override {
    returned += static_cast<std::int64_t>(bytes);
    ::operator delete(memory, std::align_val_t(alignment));
  }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

TEST(PlanRuns, TakeMemoryFromTheHostAndGiveItBack) {
  Setting s(50, 300);
  Counted memory;
  AttentionOptions options;
  options.memory = &memory;
  {
    const Plan plan(s.shape(), options);
    plan.run(s.query.view(), s.key.view(), s.value.view(), s.out.view());
    EXPECT_EQ(memory.taken, plan.workspace_bytes());
    plan.run(s.query.view(), s.key.view(), s.value.view(), s.out.view());
    EXPECT_EQ(memory.taken, plan.workspace_bytes());
  }
  EXPECT_EQ(memory.returned, memory.taken);
}

TEST(PlanRuns, FromSeveralThreadsAtOnce) {
  Setting s(60, 900);
  const Plan plan(s.shape());
  plan.run(s.query.view(), s.key.view(), s.value.view(), s.out.view());
  std::vector<Dense<float>> outs(4, Dense<float>(s.out.shape));
  std::vector<std::thread> threads;
  for (Dense<float>& out : outs) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i)
        plan.run(s.query.view(), s.key.view(), s.value.view(), out.view());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Dense<float>& out : outs) EXPECT_TRUE(out == s.out);
}

/// Raises a flag after some tiles, and counts them.
struct Canceller final : Probe {
  std::atomic<bool> flag{false};
  std::atomic<int> tiles{0};
  int after = 0;
  void tile(const WeightTile&) noexcept override { flag = ++tiles > after; }
  void finished(const FinishedRows&) noexcept override {}
};

TEST(PlanRuns, StopWhenCancelled) {
  Setting s(400, 20'000);
  AttentionOptions options;
  options.executor = &serial_executor();
  const Plan plan(s.shape(), options);
  Canceller canceller;
  canceller.after = 100;
  const auto run = [&] {
    plan.run(s.query.view(), s.key.view(), s.value.view(), s.out.view(),
             {.probe = &canceller, .cancel = &canceller.flag});
  };
  EXPECT_THROW(run(), Cancelled);
  EXPECT_GT(canceller.tiles, 100);
  EXPECT_LT(canceller.tiles, 100 + 40);  // the strips of one chunk
  const int so_far = canceller.tiles;
  EXPECT_THROW(run(), Cancelled);  // the flag still stands: nothing is begun
  EXPECT_EQ(canceller.tiles, so_far);
}

}  // namespace
}  // namespace regard::test
