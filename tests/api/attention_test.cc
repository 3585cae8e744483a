// tests/api/attention_test.cc - attention() against the reference, element by element, within the
// derived bound.
#include "regard/attention.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "support/compare.h"
#include "support/isa.h"
#include "support/problem.h"

namespace regard::test {
namespace {

// Runs the problem on every kernel table.
void expect_within_bound_everywhere(const Problem& problem) {
  Reference reference(problem);
  REGARD_FOR_EACH_ISA(isa) {
    EXPECT_TRUE(within_bound(run_attention(problem), reference.get())) << problem.describe();
  }
}

void expect_random_problems_within_bound(int trials, const Features& features) {
  for (const std::uint64_t seed : trial_seeds(trials)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem problem = random_problem(rng, 300'000, features);
    Reference reference(problem);
    REGARD_FOR_EACH_ISA(isa) {
      const Result result = run_attention(problem);
      EXPECT_TRUE(within_bound(result, reference.get())) << problem.describe();
      EXPECT_EQ(compare(result, reference.get()).unbounded, 0) << problem.describe();
    }
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Attention, RandomProblems) { expect_random_problems_within_bound(1000, {}); }

TEST(Attention, RandomProblemsOfEveryFeature) {
  expect_random_problems_within_bound(1000, {.dtypes = true,
                                             .mods = true,
                                             .sinks = true,
                                             .packed = true,
                                             .per_sequence = true,
                                             .varying_masks = true});
}

constexpr DType kDTypes[] = {DType::kF32, DType::kBf16, DType::kF16};

// The shape with all its tensors of one type.
AttentionShape of_dtype(AttentionShape shape, DType dtype) {
  shape.query_dtype = shape.key_dtype = shape.value_dtype = shape.out_dtype = dtype;
  return shape;
}

TEST(Attention, EveryHeadDim) {
  for (std::int64_t dim = 1; dim <= 1024; dim += dim < 160 ? 1 : 23) {
    for (const DType dtype : kDTypes) {
      Rng rng(static_cast<std::uint64_t>(dim));
      const AttentionShape shape{1, 2, 1, rng.integer(1, 9), rng.integer(1, 40), dim, 5};
      Problem p = make_problem(rng, of_dtype(shape, dtype));
      relayout(rng, p);
      expect_within_bound_everywhere(p);
    }
  }
}

TEST(Attention, EveryValueDim) {
  for (std::int64_t dim = 1; dim <= 1024; dim += dim < 160 ? 1 : 23) {
    for (const DType dtype : kDTypes) {
      Rng rng(static_cast<std::uint64_t>(dim));
      const AttentionShape shape{1, 2, 1, rng.integer(1, 9), rng.integer(1, 40), 5, dim};
      Problem p = make_problem(rng, of_dtype(shape, dtype));
      relayout(rng, p);
      expect_within_bound_everywhere(p);
    }
  }
}

TEST(Attention, LargestDims) {
  for (const auto& [head_dim, value_dim] :
       {std::pair{1024, 1024}, {1024, 1}, {1, 1024}, {1023, 513}}) {
    for (const DType dtype : kDTypes) {
      Rng rng(7);
      const AttentionShape shape{1, 2, 2, 9, 290, head_dim, value_dim};
      expect_within_bound_everywhere(make_problem(rng, of_dtype(shape, dtype)));
    }
  }
}

// Where a table multiplies pairs of bf16 it rounds weights as the reference models it: nothing in
// between would be within one of the two bounds and beyond the other.
TEST(Attention, Bf16DotsAreWhatTheReferenceModels) {
  Rng rng(3);
  const Problem p =
      make_problem(rng, {1, 2, 1, 6, 700, 64, 64, DType::kBf16, DType::kBf16, DType::kBf16});
  REGARD_FOR_EACH_ISA(isa) {
    const Result result = run_attention(p);
    const bool dots = !within_bound(result, run_reference(p, Bf16Dots::kNo));
    EXPECT_EQ(dots, !!within_bound(result, run_reference(p, Bf16Dots::kModelled)));
    EXPECT_EQ(dots, isa == "AVX3_ZEN4" || isa == "AVX3_SPR" || isa == "AVX10_2") << isa;
    EXPECT_TRUE(within_bound(result, run_reference(p, Bf16Dots::kPromised)));
  }
}

// Both lengths around every multiple that a tile or a chunk could end at.
TEST(Attention, EveryLengthNearATile) {
  for (const std::int64_t unit : {0, 16, 32, 48, 64, 96, 128, 256, 512}) {
    for (std::int64_t length = std::max<std::int64_t>(unit - 1, 0); length <= unit + 1; ++length) {
      for (const DType dtype : kDTypes) {
        Rng rng(static_cast<std::uint64_t>(length));
        expect_within_bound_everywhere(
            make_problem(rng, of_dtype({1, 1, 1, length, 3, 4, 4}, dtype)));
        Problem p = make_problem(rng, of_dtype({1, 1, 1, 3, length, 4, 4}, dtype));
        p.mask = {CausalMask{}, "Causal"};
        p.q_offset = length - 2;
        expect_within_bound_everywhere(p);
      }
    }
  }
}

// Every pair of small lengths, and every offset at which a causal diagonal can cross them.
TEST(Attention, CausalOfEverySmallShape) {
  for (std::int64_t q_len = 0; q_len <= 9; ++q_len) {
    for (std::int64_t kv_len = 0; kv_len <= 9; ++kv_len) {
      Rng rng(static_cast<std::uint64_t>(q_len * 10 + kv_len));
      Problem p = make_problem(rng, {1, 1, 1, q_len, kv_len, 3, 2});
      p.mask = {CausalMask{}, "Causal"};
      for (std::int64_t offset = -q_len - 1; offset <= kv_len + 1; offset += 2) {
        p.q_offset = offset;
        expect_within_bound_everywhere(p);
      }
    }
  }
}

TEST(Attention, EveryHeadRatio) {
  for (const std::int64_t ratio : {1, 2, 3, 5, 7, 8, 12, 33}) {
    Rng rng(static_cast<std::uint64_t>(ratio));
    expect_within_bound_everywhere(make_problem(rng, {2, 2 * ratio, 2, 5, 70, 16, 16}));
  }
}

TEST(Attention, LongSequencesMergeManyChunks) {
  for (const Data data : {Data::kNormal, Data::kAscending, Data::kPeaky, Data::kCancelling}) {
    for (const std::int64_t kv_len : {1279, 2048, 3500}) {
      for (const DType dtype : kDTypes) {
        Rng rng(static_cast<std::uint64_t>(kv_len));
        const AttentionShape shape = of_dtype({1, 2, 1, 6, kv_len, 32, 16}, dtype);
        expect_within_bound_everywhere(make_problem(rng, shape, data));
      }
    }
  }
}

TEST(Attention, WritesOnlyItsOutputs) {
  for (const std::uint64_t seed : trial_seeds(200)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = random_problem(rng, 50'000, {.dtypes = true, .packed = true});
    const auto& s = p.shape;
    const Result packed = run_attention(p);
    const Tensor<4> out({s.batch, s.num_heads, s.q_len, s.value_dim}, random_layout<4>(rng, false),
                        s.out_dtype);
    const Tensor<3> lse({s.batch, s.num_heads, s.q_len}, random_layout<3>(rng, false));
    attention(p.query, p.key, p.value, out, p.options(), {.lse = lse.view()});
    EXPECT_TRUE(out.gaps_untouched() && lse.gaps_untouched()) << p.describe();
    EXPECT_TRUE(same_bits(out.values(), packed.out.values())) << p.describe();
    EXPECT_TRUE(same_bits(lse.values(), packed.lse.values())) << p.describe();
  }
}

TEST(Attention, LseMayBeLeftOut) {
  Rng rng(1);
  const Problem p = make_problem(rng, {1, 2, 2, 5, 300, 8, 8});
  const Tensor<4> out({1, 2, 5, 8});
  attention(p.query, p.key, p.value, out);
  EXPECT_TRUE(same_bits(out.values(), run_attention(p).out.values()));
}

// +0 and -inf to the bit, in rows that see nothing, whatever the neighbours see.
TEST(Attention, RowsThatSeeNothing) {
  REGARD_FOR_EACH_ISA(isa) {
    for (const std::int64_t kv_len : {0, 1, 5, 300}) {
      Rng rng(5);
      Problem p = make_problem(rng, {1, 2, 1, 40, kv_len, 8, 24});
      p.mask = {CausalMask{}, "Causal"};
      p.q_offset = -20;
      const Result result = run_attention(p);
      for (std::int64_t h = 0; h < 2; ++h) {
        for (std::int64_t i = 0; i < (kv_len == 0 ? 40 : 20); ++i) {
          EXPECT_EQ(result.lse.view()(0, h, i), -std::numeric_limits<float>::infinity());
          for (std::int64_t e = 0; e < 24; ++e) {
            EXPECT_EQ(std::bit_cast<std::uint32_t>(result.out.view()(0, h, i, e)), 0U);
          }
        }
      }
      EXPECT_TRUE(within_bound(result, run_reference(p)));
    }
  }
}

// Views of no elements may point to nothing.
TEST(Attention, EmptyViewsMayBeNull) {
  const auto null_if_empty = [](Tensor<4>& tensor) {
    TensorView<float, 4> view = tensor.view();
    if (view.size() == 0) view.data = nullptr;
    return view;
  };
  for (const AttentionShape& s :
       {AttentionShape{0, 2, 1, 3, 4, 5, 6}, AttentionShape{2, 2, 1, 0, 4, 5, 6},
        AttentionShape{2, 2, 1, 3, 0, 5, 6}, AttentionShape{1, 2, 1, 0, 0, 5, 6}}) {
    Rng rng(1);
    Problem p = make_problem(rng, s);
    Tensor<4> out({s.batch, s.num_heads, s.q_len, s.value_dim});
    attention(null_if_empty(p.query), null_if_empty(p.key), null_if_empty(p.value),
              null_if_empty(out));
    out.for_each([](float x) { EXPECT_EQ(x, 0.0F); });  // kv_len 0: a row that sees nothing
  }
}

// Scores of -1e4 and subnormal inputs are numbers like others.
TEST(Attention, ExtremeNumbers) {
  for (const DType dtype : {DType::kF32, DType::kBf16}) {
    for (const float size : {1e-45F, 1e-40F, 1e-38F, 1e-20F, 1e10F, 1e15F}) {
      for (const float key_size : {1 / std::max(size, 1.0F), std::min(1 / size, 1e37F)}) {
        Rng rng(9);
        Problem p = make_problem(rng, of_dtype({1, 1, 1, 4, 300, 8, 8}, dtype));
        p.query.for_each([&](float& x) { x *= size; });
        p.value.for_each([&](float& x) { x *= size; });
        p.key.for_each([&](float& x) { x *= key_size; });
        expect_within_bound_everywhere(p);
      }
    }
  }
  Rng rng(10);
  Problem p = make_problem(rng, {1, 1, 1, 4, 600, 8, 8});
  p.scale = 1000.0F;  // nearly every weight is flushed
  expect_within_bound_everywhere(p);
}

}  // namespace
}  // namespace regard::test
