// tests/api/mask_test.cc - masks that differ between sequences and heads: what attention() computes
// for each of them is what it computes for that one alone.
#include "regard/mask.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "regard/plan.h"
#include "support/compare.h"
#include "support/isa.h"
#include "support/problem.h"

namespace regard::test {
namespace {

// The rows of one sequence and head.
std::vector<float> slice(const Result& result, std::int64_t b, std::int64_t h) {
  const auto out = result.out.view();
  std::vector<float> values;
  for (std::int64_t i = 0; i < out.shape[2]; ++i) {
    for (std::int64_t e = 0; e < out.shape[3]; ++e) values.push_back(out(b, h, i, e));
    values.push_back(result.lse.view()(b, h, i));
  }
  return values;
}

TensorView<float, 4> one_head(const Tensor<4>& tensor, std::int64_t b, std::int64_t h) {
  TensorView<float, 4> view = tensor.view();
  view.data = &view(b, h, 0, 0);
  view.shape[0] = view.shape[1] = 1;
  return view;
}

// Sequence b and head h of the problem by themselves, with the mask that is theirs.
std::vector<float> alone(const Problem& p, std::int64_t b, std::int64_t h) {
  const auto& s = p.shape;
  const std::int64_t g = h / (s.num_heads / s.num_kv_heads);
  Result result{Tensor<4>({1, 1, s.q_len, s.value_dim}), Tensor<3>({1, 1, s.q_len})};
  AttentionOptions options;
  options.mask = p.mask.mask.at(b, h);
  options.q_offset = p.q_offset;
  options.scale = p.scale;
  attention(one_head(p.query, b, h), one_head(p.key, b, g), one_head(p.value, b, g), result.out,
            options, {.lse = result.lse.view()});
  return slice(result, 0, 0);
}

TEST(VaryingMask, EveryHeadIsComputedAsIfAlone) {
  for (const std::uint64_t seed : trial_seeds(60)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const std::int64_t group = rng.integer(1, 3), kv_heads = rng.integer(1, 2);
    const std::int64_t q_len = rng.integer(1, 90), kv_len = rng.integer(1, 600);
    Problem p = make_problem(rng, {rng.integer(1, 2), kv_heads * group, kv_heads, q_len, kv_len,
                                   rng.integer(1, 40), rng.integer(1, 40)});
    p.q_offset = rng.integer(-3, kv_len);
    p.mask = random_varying_mask(rng, kv_len, p.shape.batch, p.shape.num_heads);
    REGARD_FOR_EACH_ISA(isa) {
      const Result result = run_attention(p);
      for (std::int64_t b = 0; b < p.shape.batch; ++b) {
        for (std::int64_t h = 0; h < p.shape.num_heads; ++h) {
          ASSERT_TRUE(same_bits(slice(result, b, h), alone(p, b, h)))
              << "sequence " << b << ", head " << h << " of " << p.describe();
        }
      }
    }
  }
}

TEST(VaryingMask, IsWhatTheReferenceComputes) {
  for (const std::uint64_t seed : trial_seeds(100)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p =
        random_problem(rng, 200'000, {.packed = true, .per_sequence = true, .varying_masks = true});
    Reference reference(p);
    EXPECT_TRUE(within_bound(run_attention(p), reference.get())) << p.describe();
  }
}

// One plan per (1, 1), (B, 1) and (1, H), each against (B, H) with the same booleans repeated.
TEST(VaryingMask, ExtentsOfOneServeAll) {
  Rng rng(3);
  Problem p = make_problem(rng, {3, 4, 2, 20, 70, 8, 8});
  const auto allowed = std::make_unique<bool[]>(12 * 20 * 70);
  for (std::size_t i = 0; i < 12 * 20 * 70; ++i) allowed[i] = rng.chance(0.5);
  p.q_offset = 0;
  for (const auto& [b, h] : {std::pair{1, 1}, {3, 1}, {1, 4}}) {
    const std::int64_t n = 20 * 70, step_h = h == 1 ? 0 : n, step_b = b == 1 ? 0 : h * n;
    p.mask.mask = DenseMask({allowed.get(), {b, h, 20, 70}});
    const Result small = run_attention(p);
    p.mask.mask = DenseMask({allowed.get(), {3, 4, 20, 70}, {step_b, step_h, 70, 1}});
    EXPECT_TRUE(same_bits(small.out.values(), run_attention(p).out.values()));
  }
}

TEST(VaryingMask, MustFitTheCall) {
  const bool allowed[24] = {};
  AttentionOptions options;
  options.q_offset = 0;
  const auto refusal = [&](const AnyMask& mask) -> std::string {
    options.mask = mask;
    try {
      const Plan plan({2, 6, 3, 2, 2, 8, 8}, options);
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "nothing thrown";
  };
  EXPECT_EQ(refusal(DenseMask({allowed, {3, 1, 2, 2}})),
            "attention: mask.shape[0] is 3, expected 1 or 2 (batch)");
  EXPECT_EQ(refusal(CausalMask{} & !BlockMask({allowed, {1, 3, 2, 2}}, 1, 1)),
            "attention: mask.shape[1] is 3, expected 1 or 6 (num_heads)");
  EXPECT_EQ(refusal(DenseMask({allowed, {2, 6, 1, 2}})), "nothing thrown");
}

}  // namespace
}  // namespace regard::test
