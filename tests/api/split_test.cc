// tests/api/split_test.cc - D2 where rows are few and keys many: parts of the keys go to different
// threads and meet in the order of the tree.
#include <gtest/gtest.h>

#include "regard/plan.h"
#include "support/dense.h"
#include "support/guarded_buffer.h"
#include "support/hostile_executor.h"
#include "support/isa.h"
#include "support/masks.h"

namespace regard::test {
namespace {

/// What a run writes.
struct Seen {
  Dense<float> out, lse, weights;
  Seen(const AttentionShape& s)
      : out({s.batch, s.num_heads, s.q_len, s.value_dim}),
        lse({s.batch, s.num_heads, s.q_len, 1}),
        weights({1, s.num_heads, s.q_len, s.kv_len}) {}
  bool operator==(const Seen&) const = default;
};

template <class T>
struct FewRows {
  FewRows(std::uint64_t seed, const AttentionShape& dims)
      : rng(seed),
        shape(dims),
        query({shape.batch, shape.num_heads, shape.q_len, shape.head_dim}, rng),
        key({shape.batch, shape.num_kv_heads, shape.kv_len, shape.head_dim}, rng),
        value({shape.batch, shape.num_kv_heads, shape.kv_len, shape.value_dim}, rng) {
    shape.query_dtype = shape.key_dtype = shape.value_dtype = dtype_of<T>;
    for (std::int64_t i = 0; i < shape.num_heads; ++i) {
      sinks.push_back(rng.normal());
      heads.push_back(i);
    }
    for (std::int64_t i = 0; i < shape.q_len; ++i) queries.push_back(i);
    options.sinks = sinks;
  }
  /// In a workspace of exactly the plan's size, between two pages that nobody may touch.
  Seen run(Executor& executor) {
    options.executor = &executor;
    const Plan plan(shape, options);
    const auto bytes = static_cast<std::size_t>(plan.workspace_bytes());
    const GuardedBuffer workspace(bytes, Flush::kEnd, 0, 1);
    Seen seen(shape);
    WeightsProbe probe(std::min<std::int64_t>(1, shape.batch - 1), heads, queries,
                       TensorView<float, 3>(seen.weights.data.data(),
                                            {shape.num_heads, shape.q_len, shape.kv_len}));
    plan.run(query.view(), key.view(), value.view(), seen.out.view(),
             {.lse = TensorView<float, 3>(seen.lse.data.data(),
                                          {shape.batch, shape.num_heads, shape.q_len}),
              .probe = &probe,
              .workspace = {static_cast<std::byte*>(workspace.begin()), bytes}});
    return seen;
  }
  void expect_the_same_on_every_executor(std::uint64_t seed) {
    const Seen serial = run(serial_executor());
    for (int threads = 2; threads <= 4; ++threads) {
      const std::unique_ptr<Executor> pool = make_thread_pool(threads);
      EXPECT_TRUE(run(*pool) == serial) << threads << " threads";
      HostileExecutor hostile(threads, HostileExecutor::Order::kRandom, seed);
      EXPECT_TRUE(run(hostile) == serial) << threads << " hostile threads";
      EXPECT_GT(hostile.num_tasks(), shape.batch * shape.num_kv_heads) << "nothing was split";
    }
  }

  Rng rng;
  AttentionShape shape;
  Dense<T> query, key, value;
  std::vector<float> sinks;
  std::vector<std::int64_t> heads, queries;
  AttentionOptions options;
};

template <class T>
void any_mask_any_length(std::uint64_t seed) {
  Rng rng(seed);
  const std::int64_t kv_heads = rng.integer(1, 2), keys = rng.integer(4100, 9000);
  FewRows<T> p(seed,
               {1, kv_heads * rng.integer(1, 5), kv_heads, rng.pick({1, 2, 9}), keys, 16, 24});
  p.options.mask = rng.chance(0.5) ? AnyMask(CausalMask{}) : random_mask(rng, keys, 2).mask;
  p.options.q_offset = keys - p.shape.q_len;
  REGARD_FOR_EACH_ISA(isa) { p.expect_the_same_on_every_executor(seed); }
}

TEST(Split, D2AnyMaskAnyLength) {
  for (const std::uint64_t seed : trial_seeds(3)) {
    REGARD_TRIAL(seed);
    any_mask_any_length<float>(seed);
    any_mask_any_length<bf16>(seed + 100);
    any_mask_any_length<f16>(seed + 200);
  }
}

// Most parts of most sequences have no keys, and some sequences none at all.
TEST(Split, D2SequencesOfVeryDifferentLengths) {
  const std::vector<std::int64_t> lens{0, 9000, 1, 300};
  for (const std::uint64_t seed : trial_seeds(2)) {
    REGARD_TRIAL(seed);
    FewRows<bf16> p(seed, {4, 2, 1, 1, 9000, 16, 32});
    p.options.kv_lens = lens;
    REGARD_FOR_EACH_ISA(isa) { p.expect_the_same_on_every_executor(seed); }
  }
}

TEST(Split, D2WindowsThatLeavePartsUnseen) {
  for (const std::uint64_t seed : trial_seeds(2)) {
    REGARD_TRIAL(seed);
    FewRows<float> p(seed, {1, 3, 1, 4, 8000, 16, 16});
    p.options.mask = WindowMask{600, 0} | PrefixMask{5};
    p.options.q_offset = p.rng.integer(0, 9000);
    REGARD_FOR_EACH_ISA(isa) { p.expect_the_same_on_every_executor(seed); }
  }
}

// A plan for many keys, cut for them, serves few, and the other way round gives the same.
TEST(Split, D2APlanForMoreKeys) {
  FewRows<float> p(1, {1, 4, 1, 1, 9000, 16, 32});
  const std::unique_ptr<Executor> pool = make_thread_pool(4);
  p.options.executor = pool.get();
  REGARD_FOR_EACH_ISA(isa) {
    const Plan plan(p.shape, p.options);
    for (const std::int64_t keys : {0, 1, 256, 1025, 4096, 8999}) {
      Dense<float> served({1, 4, 1, 32}), alone(served.shape);
      plan.run(p.query.view(), p.key.rows(0, keys), p.value.rows(0, keys), served.view());
      AttentionOptions serial = p.options;
      serial.executor = &serial_executor();
      attention(p.query.view(), p.key.rows(0, keys), p.value.rows(0, keys), alone.view(), serial);
      EXPECT_TRUE(served == alone) << keys;
    }
  }
}

}  // namespace
}  // namespace regard::test
