// tests/api/chunking_test.cc - D4 and D2 where rows are few: any cutting of a prompt, any split of
// the keys, the same bits.
#include <gtest/gtest.h>

#include "regard/plan.h"
#include "support/dense.h"
#include "support/hostile_executor.h"
#include "support/isa.h"
#include "support/masks.h"

namespace regard::test {
namespace {

/// A prompt of n tokens whose calls see the keys so far, cut where `ends` says.
template <class T>
Dense<float> prompt(Dense<T>& query, Dense<T>& key, Dense<T>& value, const AttentionOptions& base,
                    const std::vector<std::int64_t>& ends) {
  Dense<float> out({1, query.shape[1], query.shape[2], value.shape[3]});
  std::int64_t begin = 0;
  for (const std::int64_t end : ends) {
    AttentionOptions options = base;
    options.q_offset = begin;
    attention(query.rows(begin, end), key.rows(0, end), value.rows(0, end), out.rows(begin, end),
              options);
    begin = end;
  }
  return out;
}

std::vector<std::int64_t> random_ends(Rng& rng, std::int64_t n) {
  std::vector<std::int64_t> ends;
  for (std::int64_t at = 0; at < n;)
    ends.push_back(at = std::min(n, at + rng.pick({1, 2, 7, 13, 30, 64, 200, 300})));
  return ends;
}

template <class T>
void any_cutting(std::uint64_t seed) {
  Rng rng(seed);
  const std::int64_t n = rng.integer(250, 560), group = rng.integer(1, 5), dim = rng.integer(1, 40);
  Dense<T> query({1, 2 * group, n, dim}, rng), key({1, 2, n, dim}, rng),
      value({1, 2, n, rng.integer(1, 70)}, rng);
  AttentionOptions options;
  options.mask =
      CausalMask{} & (random_mask(rng, n, 1).mask | AnyMask(WindowMask{rng.integer(0, 300), 0}));
  if (rng.chance(0.3))
    options.score_mods = {SoftCap{5.0F},
                          Alibi{std::vector<float>(static_cast<std::size_t>(2 * group), 0.1F)}};
  options.executor = &serial_executor();
  std::vector<std::int64_t> tokens;
  for (std::int64_t i = n - 40; i <= n; ++i) tokens.push_back(i);
  REGARD_FOR_EACH_ISA(isa) {
    const Dense<float> whole = prompt(query, key, value, options, {n});
    EXPECT_TRUE(prompt(query, key, value, options, random_ends(rng, n)) == whole);
    EXPECT_TRUE(prompt(query, key, value, options, tokens) == whole) << "token by token at the end";
  }
}

TEST(Chunking, D4AnyCuttingOfAPrompt) {
  for (const std::uint64_t seed : trial_seeds(6)) {
    REGARD_TRIAL(seed);
    any_cutting<float>(seed);
    any_cutting<bf16>(seed + 1000);
    any_cutting<f16>(seed + 2000);
  }
}

TEST(Chunking, D4EveryTokenByItself) {
  Rng rng(1);
  Dense<bf16> query({1, 6, 300, 24}, rng), key({1, 2, 300, 24}, rng), value({1, 2, 300, 32}, rng);
  AttentionOptions options;
  options.mask = CausalMask{};
  std::vector<std::int64_t> tokens;
  for (std::int64_t i = 1; i <= 300; ++i) tokens.push_back(i);
  REGARD_FOR_EACH_ISA(isa) {
    EXPECT_TRUE(prompt(query, key, value, options, tokens) ==
                prompt(query, key, value, options, {300}));
  }
}

// Few rows over many keys: parts of the keys go to different threads, and meet in the order of the
// tree.
TEST(Chunking, D2KeysSplitOverThreads) {
  for (const std::uint64_t seed : trial_seeds(8)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const std::int64_t n = rng.integer(3000, 9000), rows = rng.pick({1, 3, 40}),
                       heads = rng.pick({1, 2, 5});
    Dense<float> query({1, heads, rows, 16}, rng), key({1, 1, n, 16}, rng),
        value({1, 1, n, 32}, rng);
    AttentionOptions options;
    options.mask = rng.chance(0.5) ? AnyMask(CausalMask{}) : random_mask(rng, n, 2).mask;
    options.q_offset = n - rows;
    const auto run = [&](Executor& executor) {
      options.executor = &executor;
      Dense<float> out({1, heads, rows, 32});
      attention(query.view(), key.view(), value.view(), out.view(), options);
      return out;
    };
    REGARD_FOR_EACH_ISA(isa) {
      const Dense<float> serial = run(serial_executor());
      for (int threads = 2; threads <= 4; ++threads) {
        const std::unique_ptr<Executor> pool = make_thread_pool(threads);
        EXPECT_TRUE(run(*pool) == serial) << threads << " threads";
        HostileExecutor hostile(threads, HostileExecutor::Order::kRandom, seed);
        EXPECT_TRUE(run(hostile) == serial) << threads << " hostile threads";
        EXPECT_GT(hostile.num_tasks(), 1) << "nothing was split";
      }
    }
  }
}

}  // namespace
}  // namespace regard::test
