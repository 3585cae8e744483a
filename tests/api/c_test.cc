// tests/api/c_test.cc - what C computes has the bits of what C++ computes.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <thread>

#include "regard/c/regard.h"
#include "regard/linear.h"
#include "regard/plan.h"
#include "regard/rope.h"
#include "regard/state.h"
#include "regard/version.h"
#include "support/c_problem.h"
#include "support/dense.h"
#include "support/hostile_executor.h"

namespace regard::test {
namespace {

/// Frees a handle.
template <class T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

#define EXPECT_OK(call) EXPECT_EQ(call, REGARD_OK) << regard_last_error()
#define ASSERT_OK(call) ASSERT_EQ(call, REGARD_OK) << regard_last_error()

Owned<regard_executor> make_executor(std::int32_t threads) {
  regard_executor* executor = nullptr;
  EXPECT_OK(regard_executor_create(threads, &executor));
  return {executor, regard_executor_free};
}

Owned<regard_plan> make_plan(const AttentionShape& shape, const regard_options& options) {
  const regard_shape c = c_shape(shape);
  regard_plan* plan = nullptr;
  EXPECT_OK(regard_plan_create(&c, &options, &plan));
  return {plan, regard_plan_free};
}

/// The problem in C, out and lse.
struct CRun {
  explicit CRun(const Problem& problem)
      : result(make_result(problem)),
        query(c_input(problem.query)),
        key(c_input(problem.key)),
        value(c_input(problem.value)),
        out(c_output(result.out)),
        lse(c_lse(result.lse)) {
    run.size = sizeof(run);
    run.lse = &lse;
  }
  Result result;
  regard_input query, key, value;
  regard_output out;
  regard_lse lse;
  regard_run_options run{};
};

bool same(const Result& a, const Result& b) {
  return same_bits(a.out.values(), b.out.values()) && same_bits(a.lse.values(), b.lse.values());
}

constexpr Features kWhatCHas{true, true, true, true, true, false};

TEST(C, RandomProblemsHaveTheBitsOfCpp) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    Problem p = random_problem(rng, 200'000, kWhatCHas);
    SCOPED_TRACE(p.describe());
    const Result expected = run_attention(p);
    const CProblem c(p, rng.chance(0.3));
    CRun once(p);
    ASSERT_OK(
        regard_attention(&once.query, &once.key, &once.value, &once.out, &c.options, &once.run));
    EXPECT_TRUE(same(once.result, expected)) << "regard_attention";

    CRun planned(p);
    const auto plan = make_plan(p.shape, c.options);
    ASSERT_OK(regard_plan_run(plan.get(), &planned.query, &planned.key, &planned.value,
                              &planned.out, &planned.run));
    EXPECT_TRUE(same(planned.result, expected)) << "regard_plan_run";
  }
}

TEST(C, BothMasksMustAllow) {
  Rng rng(1);
  Problem p = make_problem(rng, {1, 2, 1, 9, 9, 8, 8});
  p.mask = {CausalMask{}, "Causal"};
  const CProblem causal(p, true);
  p.mask = {WindowMask{2, 3}, "Window"};
  CProblem both(p, false);
  both.options.dense_mask = causal.options.dense_mask;
  CRun c(p);
  ASSERT_OK(regard_attention(&c.query, &c.key, &c.value, &c.out, &both.options, &c.run));
  p.mask = {WindowMask{2, 0}, "Both"};
  EXPECT_TRUE(same(c.result, run_attention(p)));
}

TEST(C, ADenseMaskPerHead) {
  Rng rng(2);
  Problem p = make_problem(rng, {1, 2, 1, 5, 5, 8, 8});
  bool allowed[2][5][5];
  for (bool& allows : std::span(&allowed[0][0][0], 50)) allows = rng.chance(0.5);
  const TensorView<const bool, 4> view(&allowed[0][0][0], {1, 2, 5, 5});
  p.mask = {DenseMask(view), "Dense"};
  const regard_dense_mask dense{sizeof(dense), view.data, {1, 2, 5, 5}, {50, 25, 5, 1}, 0};
  regard_options options{};
  options.size = sizeof(options);
  options.dense_mask = &dense;
  CRun c(p);
  ASSERT_OK(regard_attention(&c.query, &c.key, &c.value, &c.out, &options, &c.run));
  EXPECT_TRUE(same(c.result, run_attention(p)));
}

// ---- hosts: threads, memory, positions of a run ----

struct HostThreads {
  HostileExecutor executor{3, HostileExecutor::Order::kRandom, 1};
  static void parallel_for(void* user, std::int64_t num_tasks, regard_task task, void* data) {
    static_cast<HostThreads*>(user)->executor.parallel_for(
        num_tasks, [&](std::int64_t i, int worker) { task(data, i, worker); });
  }
};

TEST(C, EveryExecutorGivesTheSameBits) {
  Rng rng(3);
  const Problem p = make_problem(rng, {2, 4, 2, 60, 700, 16, 24});
  const Result expected = run_attention(p);
  HostThreads threads;
  const regard_host_executor host{sizeof(host), HostThreads::parallel_for, &threads, 3};
  regard_executor* lent = nullptr;
  ASSERT_OK(regard_executor_create_host(&host, &lent));
  const Owned<regard_executor> owner(lent, regard_executor_free);
  const auto one = make_executor(1), two = make_executor(2);
  for (regard_executor* executor : {one.get(), two.get(), lent}) {
    CProblem problem(p, false);
    problem.options.executor = executor;
    CRun c(p);
    ASSERT_OK(regard_attention(&c.query, &c.key, &c.value, &c.out, &problem.options, &c.run));
    EXPECT_TRUE(same(c.result, expected));
  }
  EXPECT_GT(threads.executor.num_tasks(), 0) << "the host was not asked";
}

/// Counts what it gave and took back, with its size.
struct HostHeap {
  std::map<void*, std::size_t> given;
  std::int64_t allocations = 0;
  static void* allocate(void* user, std::size_t bytes, std::size_t alignment) {
    auto& heap = *static_cast<HostHeap*>(user);
    void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    heap.given[memory] = bytes;
    ++heap.allocations;
    return memory;
  }
  static void deallocate(void* user, void* memory, std::size_t bytes, std::size_t) {
    auto& heap = *static_cast<HostHeap*>(user);
    EXPECT_EQ(heap.given.at(memory), bytes);
    heap.given.erase(memory);
    std::free(memory);
  }
};

TEST(C, ScratchComesFromTheHost) {
  Rng rng(4);
  for (const std::int64_t batch : {0, 1}) {
    const Problem p = make_problem(rng, {batch, 2, 2, 20, 300, 16, 16});
    HostHeap heap;
    const regard_allocator allocator{sizeof(allocator), HostHeap::allocate, HostHeap::deallocate,
                                     &heap};
    CProblem problem(p, false);
    problem.options.allocator = &allocator;
    {
      const auto plan = make_plan(p.shape, problem.options);
      for (int i = 0; i < 3; ++i) {
        CRun c(p);
        ASSERT_OK(regard_plan_run(plan.get(), &c.query, &c.key, &c.value, &c.out, &c.run));
        EXPECT_TRUE(same(c.result, run_attention(p)));
      }
      EXPECT_EQ(heap.allocations, 1) << "the plan keeps its workspace";
    }
    EXPECT_TRUE(heap.given.empty());
  }
}

TEST(C, ARunsOwnPositionsLengthsAndWorkspace) {
  Rng rng(5);
  Problem p = make_problem(rng, {2, 2, 2, 3, 40, 8, 8});
  p.mask = {CausalMask{}, "Causal"};
  p.q_offset = 0;
  const CProblem problem(p, false);
  const auto plan = make_plan(p.shape, problem.options);
  const std::vector<std::int64_t> offsets{10, 30}, lens{12, 33};
  const auto bytes = static_cast<std::size_t>(regard_plan_workspace_bytes(plan.get()));
  ASSERT_GT(bytes, 0U);
  const std::unique_ptr<void, void (*)(void*)> memory(std::aligned_alloc(64, bytes), std::free);
  CRun c(p);
  c.run.q_offsets = c_ints(offsets);
  c.run.kv_lens = c_ints(lens);
  c.run.workspace = memory.get();
  c.run.workspace_bytes = bytes;
  ASSERT_OK(regard_plan_run(plan.get(), &c.query, &c.key, &c.value, &c.out, &c.run));
  p.q_offset.reset();
  p.q_offsets = offsets;
  p.kv_lens = lens;
  EXPECT_TRUE(same(c.result, run_attention(p)));
}

TEST(C, APlanExplainsItself) {
  Rng rng(6);
  const Problem p = make_problem(rng, {1, 2, 2, 20, 300, 16, 16});
  const CProblem problem(p, false);
  const auto plan = make_plan(p.shape, problem.options);
  const AttentionOptions options = p.options();
  EXPECT_EQ(std::string(regard_plan_explain(plan.get())), Plan(p.shape, options).explain());
  EXPECT_EQ(regard_plan_workspace_bytes(plan.get()), Plan(p.shape, options).workspace_bytes());
  EXPECT_STREQ(regard_version(), REGARD_VERSION);
  EXPECT_EQ(regard_default_num_threads(), default_num_threads());
}

// ---- cancellation ----

TEST(C, ARaisedFlagCancels) {
  Rng rng(7);
  const Problem p = make_problem(rng, {1, 2, 2, 20, 300, 16, 16});
  const CProblem problem(p, false);
  regard_cancel* cancel = nullptr;
  ASSERT_OK(regard_cancel_create(&cancel));
  const Owned<regard_cancel> owner(cancel, regard_cancel_free);
  CRun c(p);
  c.run.cancel = cancel;
  const auto attend = [&] {
    return regard_attention(&c.query, &c.key, &c.value, &c.out, &problem.options, &c.run);
  };
  regard_cancel_raise(cancel);
  EXPECT_EQ(attend(), REGARD_CANCELLED);
  EXPECT_STREQ(regard_last_error(), "attention: cancelled");
  regard_cancel_lower(cancel);
  EXPECT_OK(attend());
  EXPECT_TRUE(same(c.result, run_attention(p)));
}

TEST(C, AnotherThreadCancelsARunThatHasBegun) {
  Rng rng(12);
  const Problem p = make_problem(rng, {1, 1, 1, 384, 1, 512, 512});
  CRun c(p);
  c.key.shape[2] = c.value.shape[2] = 1 << 20;  // the same key again and again: half a minute
  c.key.strides[2] = c.value.strides[2] = 0;
  regard_cancel* cancel = nullptr;
  ASSERT_OK(regard_cancel_create(&cancel));
  const Owned<regard_cancel> owner(cancel, regard_cancel_free);
  c.run.cancel = cancel;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    regard_cancel_raise(cancel);
  });
  EXPECT_EQ(regard_attention(&c.query, &c.key, &c.value, &c.out, nullptr, &c.run),
            REGARD_CANCELLED);
  other.join();
}

// ---- states ----

TEST(C, PartsPutTogetherAreTheWhole) {
  Rng rng(8);
  Problem p = make_problem(rng, {1, 4, 2, 7, 512, 16, 24});
  p.mask = {CausalMask{}, "Causal"};
  p.q_offset = 400;
  p.sinks = {0.5F, -1, 2, 0};
  const Result expected = run_attention(p);
  CProblem problem(p, false);
  problem.options.sinks = {};
  CRun c(p);
  c.key.shape[2] = c.value.shape[2] = 256;
  const auto part = [&](std::int64_t begin) {
    c.key.data = &p.key.view()(0, 0, begin, 0);
    c.value.data = &p.value.view()(0, 0, begin, 0);
    problem.options.kv_offset = begin;
    regard_state* state = nullptr;
    EXPECT_OK(
        regard_partial_attention(&c.query, &c.key, &c.value, &problem.options, nullptr, &state));
    return Owned<regard_state>(state, regard_state_free);
  };
  const auto left = part(0), right = part(256);

  // The left part comes from another machine, number by number.
  regard_state* copy = nullptr;
  ASSERT_OK(regard_state_create(1, 4, 7, 24, &copy));
  const Owned<regard_state> owner(copy, regard_state_free);
  regard_state_view from{}, to{};
  from.size = to.size = sizeof(from);
  ASSERT_OK(regard_state_get(left.get(), &from));
  ASSERT_OK(regard_state_get(copy, &to));
  EXPECT_EQ(from.batch * from.num_heads * from.q_len * from.value_dim, 1 * 4 * 7 * 24);
  std::copy_n(from.max, 28, to.max);
  std::copy_n(from.sum, 28, to.sum);
  std::copy_n(from.out, 28 * 24, to.out);

  ASSERT_OK(regard_state_merge(copy, right.get()));
  const regard_floats sinks = c_floats(p.sinks);
  ASSERT_OK(regard_state_finish(right.get(), &c.out, &c.lse, &sinks));
  EXPECT_TRUE(same(c.result, expected));
}

TEST(C, AnEmptyStateChangesNothing) {
  Rng rng(9);
  const Problem p = make_problem(rng, {1, 2, 2, 3, 50, 8, 8});
  const CProblem problem(p, false);
  CRun c(p);
  regard_state *state = nullptr, *empty = nullptr;
  ASSERT_OK(
      regard_partial_attention(&c.query, &c.key, &c.value, &problem.options, nullptr, &state));
  const Owned<regard_state> state_owner(state, regard_state_free);
  ASSERT_OK(regard_state_create(1, 2, 3, 8, &empty));
  const Owned<regard_state> empty_owner(empty, regard_state_free);
  ASSERT_OK(regard_state_merge(empty, state));
  ASSERT_OK(regard_state_finish(state, &c.out, &c.lse, nullptr));
  EXPECT_TRUE(same(c.result, run_attention(p)));
}

// ---- rotary positions, linear layers ----

struct RopeCase {
  const char* name;
  RopeOptions cpp;
  void (*fill)(regard_rope_options& c);
};

std::vector<RopeCase> rope_cases() {
  using C = regard_rope_options;
  return {
      {"none", {}, [](C&) {}},
      {"interleaved",
       {.base = 500, .style = RopeStyle::kInterleaved, .rotary_dim = 8},
       [](C& c) { c.base = 500, c.rotary_dim = 8, c.style = REGARD_ROPE_INTERLEAVED; }},
      {"linear",
       {.scaling = RopeLinear{2}},
       [](C& c) { c.scaling = REGARD_ROPE_LINEAR, c.factor = 2; }},
      {"ntk", {.scaling = RopeNtk{3}}, [](C& c) { c.scaling = REGARD_ROPE_NTK, c.factor = 3; }},
      {"dynamic",
       {.scaling = RopeDynamicNtk{2, 64, 256}},
       [](C& c) {
         c.scaling = REGARD_ROPE_DYNAMIC_NTK, c.factor = 2, c.original_max_len = 64,
         c.seq_len = 256;
       }},
      {"yarn",
       {.scaling = RopeYarn{.factor = 4, .original_max_len = 64}},
       [](C& c) { c.scaling = REGARD_ROPE_YARN, c.factor = 4, c.original_max_len = 64; }},
      {"yarn, all given",
       {.scaling = RopeYarn{4, 64, 16, 2, 1.5, 1, 2, false}},
       [](C& c) {
         c.scaling = REGARD_ROPE_YARN, c.factor = 4, c.original_max_len = 64, c.beta_fast = 16,
         c.beta_slow = 2, c.attention_factor = 1.5, c.mscale = 1, c.mscale_all_dim = 2,
         c.no_truncate = 1;
       }},
      {"llama3", {.scaling = RopeLlama3{}}, [](C& c) { c.scaling = REGARD_ROPE_LLAMA3; }},
      {"llama3, all given",
       {.scaling = RopeLlama3{4, 2, 8, 128}},
       [](C& c) {
         c.scaling = REGARD_ROPE_LLAMA3, c.factor = 4, c.original_max_len = 128,
         c.low_freq_factor = 2, c.high_freq_factor = 8;
       }},
  };
}

TEST(C, RopesTurnAlike) {
  Rng rng(10);
  Dense<float> x({2, 3, 5, 16}, rng), expected(x.shape), out(x.shape);
  const regard_input in = c_input(x.view());
  const regard_output to = c_output(out.view());
  const std::vector<std::int64_t> positions{3, -1, 700, 8, 8};
  const regard_ints at = c_ints(positions);
  for (const RopeCase& each : rope_cases()) {
    SCOPED_TRACE(each.name);
    const Rope rope(16, each.cpp);
    regard_rope_options options{};
    options.size = sizeof(options);
    each.fill(options);
    regard_rope* handle = nullptr;
    ASSERT_OK(regard_rope_create(16, &options, &handle));
    const Owned<regard_rope> owner(handle, regard_rope_free);
    rope.apply(x.view(), expected.view(), 100);
    ASSERT_OK(regard_rope_apply(handle, &in, &to, 100, nullptr));
    EXPECT_TRUE(out == expected);
    rope.apply(x.view(), expected.view(), positions);
    ASSERT_OK(regard_rope_apply_at(handle, &in, &to, &at, nullptr));
    EXPECT_TRUE(out == expected);
  }
}

TEST(C, LinearLayersAreAlike) {
  Rng rng(11);
  Dense<float> weight({1, 1, 30, 20}, rng), bias({1, 1, 1, 30}, rng), x({1, 1, 7, 20}, rng);
  Dense<float> y({1, 1, 7, 30}), expected(y.shape);
  const auto executor = make_executor(2);
  for (const bool with_bias : {false, true}) {
    const float* b = with_bias ? bias.data.data() : nullptr;
    Linear({weight.data.data(), {30, 20}}, {b, with_bias ? 30U : 0U})
        .run({x.data.data(), {7, 20}}, {expected.data.data(), {7, 30}});
    regard_linear* linear = nullptr;
    ASSERT_OK(regard_linear_create(weight.data.data(), b, 30, 20, &linear));
    const Owned<regard_linear> owner(linear, regard_linear_free);
    ASSERT_OK(regard_linear_run(linear, x.data.data(), y.data.data(), 7, executor.get()));
    EXPECT_TRUE(y == expected);
  }
}

}  // namespace
}  // namespace regard::test
