// tests/api/state_test.cc - states over parts of the keys: merged as the engine merges, they are
// the whole.
#include "regard/state.h"

#include <gtest/gtest.h>

#include <limits>

#include "support/compare.h"
#include "support/dense.h"
#include "support/isa.h"
#include "support/problem.h"

namespace regard::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t kQueries = 9, kKeys = 2900, kValueDim = 24;

/// Two sequences of 4 heads over 2, and a result with lse.
template <class T>
struct Parts {
  explicit Parts(std::uint64_t seed, std::int64_t keys = kKeys)
      : rng(seed),
        query({2, 4, kQueries, 16}, rng),
        key({2, 2, keys, 16}, rng),
        value({2, 2, keys, kValueDim}, rng) {
    options.executor = &serial_executor();
    options.q_offset = 0;
  }
  AttentionState part(std::int64_t begin, std::int64_t end) {
    AttentionOptions at = options;
    at.kv_offset = begin;
    return partial_attention(query.view(), key.rows(begin, end), value.rows(begin, end), at);
  }
  Rng rng;
  Dense<T> query, key, value;
  AttentionOptions options;
};

struct Rows {
  Dense<float> out, lse;
  Rows() : out({2, 4, kQueries, kValueDim}), lse({2, 4, kQueries, 1}) {}
  TensorView<float, 3> lse_view() { return {lse.data.data(), {2, 4, kQueries}}; }
  bool operator==(const Rows&) const = default;
};

Rows finished(const AttentionState& state, const std::vector<float>& sinks = {}) {
  Rows rows;
  finish(state, rows.out.view(), rows.lse_view(), sinks);
  return rows;
}

template <class T>
Rows in_one_call(Parts<T>& p, const AttentionOptions& options) {
  Rows rows;
  attention(p.query.view(), p.key.view(), p.value.view(), rows.out.view(), options,
            {.lse = rows.lse_view()});
  return rows;
}

// Parts of 256 * 2^n keys, merged pairwise: nodes of the engine's own tree, so its bits.
template <class T>
AttentionState subtree(Parts<T>& p, std::int64_t begin, std::int64_t size, Rng& rng) {
  const std::int64_t end = std::min(begin + size, kKeys);
  if (size == 256 || rng.chance(0.4)) return p.part(begin, end);
  const std::int64_t half = size / 2;
  AttentionState left = subtree(p, begin, half, rng);
  return begin + half >= end ? left : merge(left, subtree(p, begin + half, half, rng));
}

template <class T>
void pairwise_is_the_whole(std::uint64_t seed) {
  Parts<T> p(seed);
  p.options.mask = random_mask(p.rng, kKeys, 1).mask;
  p.options.q_offset = p.rng.integer(-5, kKeys);
  const std::vector<float> sinks{0.3F, 0.0F, -2.0F, 1.0F};
  REGARD_FOR_EACH_ISA(isa) {
    AttentionOptions options = p.options;
    options.sinks = sinks;
    EXPECT_TRUE(finished(subtree(p, 0, 4096, p.rng), sinks) == in_one_call(p, options));
  }
}

TEST(States, MergedPairwiseAreTheWhole) {
  for (const std::uint64_t seed : trial_seeds(8)) {
    REGARD_TRIAL(seed);
    pairwise_is_the_whole<float>(seed);
    pairwise_is_the_whole<bf16>(seed + 100);
    pairwise_is_the_whole<f16>(seed + 200);
  }
}

// A part's chunks keep their places in the tree, wherever it begins and whichever multiples of a
// power of two it crosses: the part is what one call computes that hides the keys before it.
TEST(States, BeginAtAnyChunk) {
  for (const std::int64_t chunks : {1, 2, 3, 5}) {
    for (std::int64_t first = 0; first <= 9; ++first) {
      const std::int64_t begin = 256 * first, end = begin + 256 * chunks - 100;
      Parts<float> p(static_cast<std::uint64_t>(first), end);
      REGARD_FOR_EACH_ISA(isa) {
        AttentionOptions options = p.options;
        options.mask = !PrefixMask{begin};
        EXPECT_TRUE(finished(p.part(begin, end)) == in_one_call(p, options))
            << first << " + " << chunks;
      }
    }
  }
}

// Late parts of a very long sequence, on threads that split the keys.
TEST(States, BeginFarAway) {
  const std::unique_ptr<Executor> pool = make_thread_pool(3);
  Parts<float> p(1);
  const auto at = [&](std::int64_t offset, Executor& executor) {
    AttentionOptions options = p.options;
    options.kv_offset = offset;
    options.executor = &executor;
    return finished(partial_attention(p.query.view(), p.key.view(), p.value.view(), options));
  };
  REGARD_FOR_EACH_ISA(isa) {
    const Rows near = at(0, serial_executor());
    EXPECT_TRUE(at(0, *pool) == near);
    EXPECT_TRUE(at(std::int64_t{1} << 40, serial_executor()) == near) << "the same subtree";
    EXPECT_TRUE(at(std::int64_t{1} << 40, *pool) == near);
    const std::int64_t crossing = (std::int64_t{1} << 39) - 256;
    EXPECT_TRUE(at(crossing, *pool) == at(crossing, serial_executor()));
  }
}

// Other cuts give other bits, within the bound.
TEST(States, CutAnywhereStayWithinTheBound) {
  for (const std::uint64_t seed : trial_seeds(8)) {
    REGARD_TRIAL(seed);
    Parts<float> p(seed);
    p.options.mask = CausalMask{};
    p.options.q_offset = p.rng.integer(100, kKeys);
    const std::vector<float> sinks{0.3F, 0.0F, -2.0F, 1.0F};
    AttentionOptions options = p.options;
    options.sinks = sinks;
    const ReferenceResult exact =
        reference_attention(p.query.view(), p.key.view(), p.value.view(), options);
    const std::int64_t cut = 256 * p.rng.integer(1, 10);
    REGARD_FOR_EACH_ISA(isa) {
      const Rows rows = finished(merge(p.part(0, cut), p.part(cut, kKeys)), sinks);
      const Comparison out = compare(rows.out.data, exact.out, exact.out_bound);
      const Comparison lse = compare(rows.lse.data, exact.lse, exact.lse_bound);
      EXPECT_EQ(out.violations + lse.violations, 0) << out.first << lse.first;
      EXPECT_EQ(out.checked, 2 * 4 * kQueries * kValueDim);
    }
  }
}

TEST(States, OfNoKeysAreNeutral) {
  Parts<float> p(4);
  p.options.mask = CausalMask{};
  p.options.q_offset = 300;
  REGARD_FOR_EACH_ISA(isa) {
    const AttentionState seen = p.part(0, 256);
    for (const AttentionState& unseen : {p.part(1024, 1500), p.part(512, 512)}) {
      for (const float max : unseen.max) EXPECT_EQ(max, -kInfinity);
      for (const float sum : unseen.sum) EXPECT_EQ(sum, 0.0F);
      EXPECT_TRUE(finished(merge(seen, unseen)) == finished(seen));
      EXPECT_TRUE(finished(merge(unseen, seen)) == finished(seen));
      const Rows nothing = finished(merge(unseen, unseen));
      EXPECT_TRUE(nothing.out == Rows().out) << "+0, to the bit";
      for (const float lse : nothing.lse.data) EXPECT_EQ(lse, -kInfinity);
      const Rows sink = finished(unseen, {0.5F, 0.5F, 0.5F, 0.5F});
      EXPECT_TRUE(sink.out == Rows().out);
      for (const float lse : sink.lse.data) EXPECT_EQ(lse, 0.5F);
    }
  }
}

// Rows of no sequence are rows that saw nothing; the others are the engine's.
TEST(States, OfPackedSequences) {
  Rng rng(5);
  Dense<bf16> query({1, 2, 20, 8}, rng), key({1, 1, 700, 8}, rng), value({1, 1, 700, 8}, rng);
  const std::vector<std::int64_t> q{0, 3, 3, 17}, kv{0, 290, 300, 690};
  const AttentionOptions options{.cu_seqlens_q = q, .cu_seqlens_kv = kv};
  Dense<float> whole({1, 2, 20, 8}), out(whole.shape);
  attention(query.view(), key.view(), value.view(), whole.view(), options);
  finish(partial_attention(query.view(), key.view(), value.view(), options), out.view());
  EXPECT_TRUE(out == whole);  // whole began as zeros
}

TEST(States, FinishIntoAnyTypeAndStrides) {
  Parts<float> p(6);
  const AttentionState state = p.part(0, 300);
  const Rows dense = finished(state);
  for (const std::uint64_t seed : trial_seeds(20)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const DType dtype = rng.pick({DType::kF32, DType::kBf16, DType::kF16});
    const Tensor<4> out(dense.out.shape, random_layout<4>(rng, false), dtype),
        want(dense.out.shape, {}, dtype);
    const Tensor<3> lse({2, 4, kQueries}, random_layout<3>(rng, false));
    std::size_t n = 0;
    want.for_each([&](float& x) { x = dense.out.data[n++]; });
    REGARD_FOR_EACH_ISA(isa) {
      finish(state, out, lse.view());
      EXPECT_TRUE(same_bits(out.values(), want.values())) << name_of(dtype);
      EXPECT_TRUE(same_bits(lse.values(), dense.lse.data));
      EXPECT_TRUE(out.gaps_untouched() && lse.gaps_untouched());
    }
  }
}

}  // namespace
}  // namespace regard::test
