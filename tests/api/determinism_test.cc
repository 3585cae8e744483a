// tests/api/determinism_test.cc - the determinism contract, bit by bit (docs/numerics.md).
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "regard/attention.h"
#include "support/hostile_executor.h"
#include "support/isa.h"
#include "support/problem.h"

namespace regard::test {
namespace {

testing::AssertionResult equal(const Result& a, const Result& b) {
  if (!same_bits(a.out.values(), b.out.values()))
    return testing::AssertionFailure() << "out differs";
  if (!same_bits(a.lse.values(), b.lse.values()))
    return testing::AssertionFailure() << "lse differs";
  return testing::AssertionSuccess();
}

// Longer than one chunk, more rows than one block: work for several threads and a tree to merge.
Problem large_problem(Rng& rng) {
  Problem p = make_problem(rng, {2, 6, 2, rng.integer(60, 150), rng.integer(500, 1100),
                                 rng.integer(8, 40), rng.integer(8, 40)});
  p.mask = random_mask(rng, 1200, 1);
  p.q_offset = p.shape.kv_len - p.shape.q_len;
  return p;
}

TEST(Determinism, D1EveryRun) {
  Rng rng(1);
  const Problem p = large_problem(rng);
  REGARD_FOR_EACH_ISA(isa) {
    const Result first = run_attention(p);
    for (int run = 0; run < 5; ++run) EXPECT_TRUE(equal(run_attention(p), first));
  }
}

TEST(Determinism, D2AnyNumberOfThreads) {
  for (const std::uint64_t seed : trial_seeds(6)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = seed % 2 == 0 ? large_problem(rng) : random_problem(rng, 3'000'000);
    REGARD_FOR_EACH_ISA(isa) {
      AttentionOptions options = p.options();
      options.executor = &serial_executor();
      const Result serial = run_attention(p, options);
      for (int threads = 1; threads <= 4; ++threads) {
        const std::unique_ptr<Executor> pool = make_thread_pool(threads);
        options.executor = pool.get();
        for (int run = 0; run < 3; ++run) {
          EXPECT_TRUE(equal(run_attention(p, options), serial)) << threads << " threads";
        }
      }
      EXPECT_TRUE(equal(run_attention(p), serial)) << "default executor";
    }
  }
}

TEST(Determinism, D2AnySchedule) {
  for (const std::uint64_t seed : trial_seeds(6)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = large_problem(rng);
    REGARD_FOR_EACH_ISA(isa) {
      AttentionOptions options = p.options();
      options.executor = &serial_executor();
      const Result serial = run_attention(p, options);
      for (const auto order : {HostileExecutor::Order::kReverse, HostileExecutor::Order::kRandom}) {
        for (int threads = 1; threads <= 5; threads += 2) {
          HostileExecutor hostile(threads, order, seed);
          options.executor = &hostile;
          EXPECT_TRUE(equal(run_attention(p, options), serial)) << threads << " threads";
          EXPECT_GT(hostile.num_tasks(), 0);
        }
      }
    }
  }
}

// One sequence of a batch as a problem of its own, its keys cut to their length or followed by NaN.
Problem sequence_of(const Problem& p, std::int64_t b, std::int64_t padding) {
  const auto& s = p.shape;
  const std::int64_t kv_len = p.kv_lens[static_cast<std::size_t>(b)];
  Problem one = p;
  one.shape.batch = 1;
  one.shape.kv_len = kv_len + padding;
  one.kv_lens = {kv_len};
  one.query = Tensor<4>({1, s.num_heads, s.q_len, s.head_dim});
  one.key = Tensor<4>({1, s.num_kv_heads, kv_len + padding, s.head_dim});  // starts as NaN
  one.value = Tensor<4>({1, s.num_kv_heads, kv_len + padding, s.value_dim});
  const auto copy = [b](const Tensor<4>& from, const Tensor<4>& to, std::int64_t length) {
    const auto& shape = to.view().shape;
    for (std::int64_t h = 0; h < shape[1]; ++h) {
      for (std::int64_t i = 0; i < length; ++i) {
        for (std::int64_t d = 0; d < shape[3]; ++d) to.view()(0, h, i, d) = from.view()(b, h, i, d);
      }
    }
  };
  copy(p.query, one.query, s.q_len);
  copy(p.key, one.key, kv_len);
  copy(p.value, one.value, kv_len);
  return one;
}

std::vector<float> sequence_out(const Result& r, std::int64_t b) {
  const std::vector<float> all = r.out.values();
  const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(all.size()) / r.out.view().shape[0];
  return {all.begin() + b * size, all.begin() + (b + 1) * size};
}

TEST(Determinism, D3AnyBatchAndPadding) {
  for (const std::uint64_t seed : trial_seeds(30)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const std::int64_t kv_len = rng.integer(1, 700);
    Problem p = make_problem(
        rng, {3, 4, 2, rng.integer(1, 80), kv_len, rng.integer(1, 40), rng.integer(1, 40)});
    p.mask = random_mask(rng, 800, 1);
    p.q_offset = rng.integer(0, kv_len);
    for (int b = 0; b < 3; ++b) p.kv_lens.push_back(rng.integer(0, kv_len));
    REGARD_FOR_EACH_ISA(isa) {
      const Result batched = run_attention(p);
      for (std::int64_t b = 0; b < 3; ++b) {
        for (const std::int64_t padding : {0, 1, 300}) {
          const Result alone = run_attention(sequence_of(p, b, padding));
          EXPECT_TRUE(same_bits(sequence_out(alone, 0), sequence_out(batched, b)))
              << p.describe() << ", sequence " << b << ", padding " << padding;
        }
      }
    }
  }
}

// A row's bits do not depend on the rows beside it, so neither on how a prompt is cut. Promised
// later as D4.
TEST(Determinism, RowsDoNotDependOnTheirNeighbours) {
  for (const std::uint64_t seed : trial_seeds(10)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    Problem p = make_problem(rng, {1, 3, 1, 70, 600, 16, 16});
    p.mask = {CausalMask{}, "Causal"};
    p.q_offset = 530;
    REGARD_FOR_EACH_ISA(isa) {
      const Result whole = run_attention(p);
      for (const std::int64_t i : {0, 1, 31, 64, 69}) {
        const auto q = p.query.view();
        const Tensor<4> out({1, 3, 1, 16});
        AttentionOptions options = p.options();
        options.q_offset = *p.q_offset + i;
        attention(TensorView<const float, 4>(&q(0, 0, i, 0), {1, 3, 1, 16}, q.strides), p.key,
                  p.value, out, options);
        for (std::int64_t h = 0; h < 3; ++h) {
          for (std::int64_t e = 0; e < 16; ++e) {
            EXPECT_EQ(out.view()(0, h, 0, e), whole.out.view()(0, h, i, e));
          }
        }
      }
    }
  }
}

TEST(Determinism, D7AnyAlignment) {
  Rng rng(1);
  Problem p = make_problem(rng, {1, 2, 1, 37, 300, 19, 21});
  const std::vector<float> q = p.query.values(), k = p.key.values(), v = p.value.values();
  REGARD_FOR_EACH_ISA(isa) {
    const Result first = run_attention(p);
    for (std::size_t offset = 0; offset < 16; ++offset) {  // 0 to 60 bytes
      Layout<4> layout;
      layout.flush = Flush::kStart;
      Problem moved = p;
      const auto move = [&](const std::vector<float>& values, Tensor<4>& tensor,
                            std::size_t shift) {
        layout.offset = (offset * shift) % 16;
        tensor = Tensor<4>(tensor.view().shape, layout);
        std::size_t n = 0;
        tensor.for_each([&](float& x) { x = values[n++]; });
      };
      move(q, moved.query, 1);
      move(k, moved.key, 3);
      move(v, moved.value, 5);
      EXPECT_TRUE(equal(run_attention(moved), first)) << offset * 4 << " bytes";
    }
  }
}

TEST(Determinism, D7AnyStrides) {
  for (const std::uint64_t seed : trial_seeds(100)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    Problem p = random_problem(rng, 200'000);
    REGARD_FOR_EACH_ISA(isa) {
      const Result first = run_attention(p);
      for (int layout = 0; layout < 3; ++layout) {
        relayout(rng, p);
        EXPECT_TRUE(equal(run_attention(p), first)) << p.describe();
      }
    }
  }
}

// Tables with FMA agree with each other, and those without among themselves: lanes are virtual.
// Aimed at as D9.
TEST(Determinism, D9TablesOfOneKind) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = random_problem(rng, 200'000);
    std::map<bool, Result> first;  // by whether the table has FMA
    REGARD_FOR_EACH_ISA(isa) {
      const bool has_fma = isa.starts_with("AVX") || isa.starts_with("NEON");
      const Result result = run_attention(p);
      const auto [other, is_first] = first.emplace(has_fma, result);
      EXPECT_TRUE(is_first || equal(result, other->second)) << p.describe();
    }
  }
}

// Exact facts: a power of two moves between query and key; keys that nobody sees may follow.
TEST(Determinism, ExactScalingOfQueryAndKey) {
  Rng rng(5);
  const Problem p = make_problem(rng, {1, 2, 2, 20, 400, 24, 24});
  REGARD_FOR_EACH_ISA(isa) {
    const Result before = run_attention(p);
    p.query.for_each([](float& x) { x *= 2; });
    p.key.for_each([](float& x) { x *= 0.5F; });
    EXPECT_TRUE(equal(run_attention(p), before));
  }
}

// How the plan learns what a mask allows must not matter.
TEST(Determinism, MaskThatKnowsOnlyItsDefinition) {
  for (const std::uint64_t seed : trial_seeds(40)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = random_problem(rng, 200'000);
    AttentionOptions options = p.options();
    options.q_offset = p.q_offset.value_or(0);
    options.mask = PredicateMask{p.mask.mask};
    REGARD_FOR_EACH_ISA(isa) {
      EXPECT_TRUE(equal(run_attention(p, options), run_attention(p))) << p.describe();
    }
  }
}

}  // namespace
}  // namespace regard::test
