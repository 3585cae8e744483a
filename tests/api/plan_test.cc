// tests/api/plan_test.cc - one plan, many runs: fewer keys, other positions, lent memory, no
// allocation.
#include "regard/plan.h"

#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <thread>

#include "support/allocations.h"
#include "support/dense.h"

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

// With and without lse, masks that are looked up, modifiers and sinks; the first run takes the
// plan's workspace.
void expect_no_allocation(const AttentionOptions& options, std::int64_t rows) {
  Setting s(rows, 3000);
  const Plan plan(s.shape(), options);
  Dense<float> lse({1, 1, 4, rows});
  const std::vector<std::int64_t> position{3000 - rows}, length{2900};
  const RunOptions bare{}, full{.lse = TensorView<float, 3>(lse.data.data(), {1, 4, rows}),
                                .q_offsets = position,
                                .kv_lens = length};
  plan.run(s.query.view(), s.key.view(), s.value.view(), s.out.view());
  const std::int64_t before = allocations;
  for (const RunOptions* run : {&bare, &full, &bare})
    plan.run(s.query.view(), s.key.view(), s.value.view(), s.out.view(), *run);
  EXPECT_EQ(allocations, before) << rows << " rows, " << options.executor->num_threads()
                                 << " threads";
}

TEST(PlanRuns, AllocateNothing) {
  if (!kCountsAllocations) GTEST_SKIP() << "a sanitizer's allocator is in place";
  const std::unique_ptr<Executor> pool = make_thread_pool(3);
  const std::vector<float> sinks{1, 2, 3, 4};
  for (const std::int64_t rows : {1, 100}) {
    for (Executor* executor : {&serial_executor(), pool.get()}) {
      AttentionOptions options;
      options.executor = executor;
      expect_no_allocation(options, rows);
      options.mask = CausalMask{} & !DocumentMask(std::vector<std::int64_t>(100));
      options.q_offset = 2900;
      options.score_mods = {SoftCap{9}, Alibi{sinks}, RelativeBias{std::vector<float>(4 * 32)}};
      options.sinks = sinks;
      expect_no_allocation(options, rows);
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

/// Hands out what malloc gives and counts what is out; or nothing.
class Counted final : public std::pmr::memory_resource {
 public:
  std::int64_t taken = 0, returned = 0;
  bool is_spent = false;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (is_spent) throw std::bad_alloc();
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

TEST(PlanRuns, SurviveAHostWithoutMemory) {
  Setting s(50, 300);
  Counted memory;
  AttentionOptions options;
  options.memory = &memory;
  const Plan plan(s.shape(), options);
  memory.is_spent = true;
  const auto run = [&] { plan.run(s.query.view(), s.key.view(), s.value.view(), s.out.view()); };
  EXPECT_THROW(run(), std::bad_alloc);
  EXPECT_TRUE(s.out == Dense<float>(s.out.shape)) << "something was written";
  memory.is_spent = false;
  EXPECT_NO_THROW(run());
  memory.is_spent = true;
  EXPECT_NO_THROW(run()) << "the plan has its workspace";
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

// Every sequence's numbers are the plan's own: the caller's may go.
TEST(PlanRuns, NeedNothingOfTheOptions) {
  Setting s(1, 700);
  const AttentionShape shape = s.shape();
  std::vector<std::int64_t> offsets{650}, lens{600}, ends{0, 1}, key_ends{0, 690};
  std::vector<float> sinks{1, 2, 3, 4};
  AttentionOptions options{.mask = CausalMask{},
                           .q_offsets = offsets,
                           .kv_lens = lens,
                           .cu_seqlens_q = ends,
                           .cu_seqlens_kv = key_ends,
                           .score_mods = {Alibi{{0.1F, 0.2F, 0.3F, 0.4F}}},
                           .sinks = sinks};
  Dense<float> want(s.out.shape);
  attention(s.query.view(), s.key.view(), s.value.view(), want.view(), options);
  const Plan plan(shape, options);
  for (auto* numbers : {&offsets, &lens, &ends, &key_ends}) numbers->assign(numbers->size(), -9);
  sinks.assign(4, -99.0F);
  options.score_mods.clear();
  const Plan copy = plan;  // NOLINT(performance-unnecessary-copy-initialization): it is the test
  copy.run(s.query.view(), s.key.view(), s.value.view(), s.out.view());
  EXPECT_TRUE(s.out == want);
}

}  // namespace
}  // namespace regard::test
