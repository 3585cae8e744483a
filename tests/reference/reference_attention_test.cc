// tests/reference/reference_attention_test.cc - the reference against results worked out by hand,
// and facts of softmax.
#include "regard/reference_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/problem.h"

namespace regard::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A problem of one head from plain numbers: queries, keys and values of one dimension each.
ReferenceResult attend(std::vector<float> query, std::vector<float> key, std::vector<float> value,
                       AttentionOptions options = {}) {
  const auto view = [](std::vector<float>& x) {
    return TensorView<const float, 4>(x.data(), {1, 1, static_cast<std::int64_t>(x.size()), 1});
  };
  return reference_attention(view(query), view(key), view(value), options);
}

TEST(Reference, OneKeyIsItsValue) {
  const ReferenceResult r = attend({3.0F}, {0.5F}, {7.25F});
  EXPECT_EQ(r.out[0], 7.25);
  EXPECT_EQ(r.lse[0], 1.5);  // scale 1 / sqrt(1)
}

TEST(Reference, TwoKeysAreALogistic) {
  const ReferenceResult r = attend({1.0F}, {0.0F, 1.0F}, {0.0F, 10.0F});
  EXPECT_NEAR(r.out[0], 7.310585786300049, 1e-14);   // 10 / (1 + 1/e)
  EXPECT_NEAR(r.lse[0], 1.3132616875182228, 1e-15);  // log(1 + e)
}

TEST(Reference, ScaleOfEitherSignAndZero) {
  AttentionOptions options;
  options.scale = -1.0F;
  EXPECT_NEAR(attend({1.0F}, {0.0F, 1.0F}, {0.0F, 10.0F}, options).out[0], 2.689414213699951,
              1e-14);
  options.scale = 0.0F;
  const ReferenceResult r = attend({1.0F}, {5.0F, 1.0F, -9.0F, 2.0F}, {1, 2, 3, 6}, options);
  EXPECT_EQ(r.out[0], 3.0);
  EXPECT_NEAR(r.lse[0], std::log(4.0), 1e-15);
}

TEST(Reference, DefaultScaleIsOneOverRootHeadDim) {
  std::vector<float> q(16, 1.0F), k(16, 0.25F), v{1.0F};
  const TensorView<const float, 4> query(q.data(), {1, 1, 1, 16}), key(k.data(), {1, 1, 1, 16});
  EXPECT_EQ(reference_attention(query, key, {v.data(), {1, 1, 1, 1}}).lse[0], 1.0);
}

TEST(Reference, CausalPositionsAreAbsolute) {
  AttentionOptions options;
  options.scale = 0.0F;  // a row's output is the mean of the values that it sees
  options.mask = CausalMask{};
  options.q_offset = 1;
  const ReferenceResult r = attend({1, 1}, {1, 1, 1, 1}, {1, 3, 8, 100}, options);
  EXPECT_EQ(r.out[0], 2.0);  // position 1 sees keys 0 and 1
  EXPECT_EQ(r.out[1], 4.0);
  options.q_offset = -1;
  const ReferenceResult before = attend({1, 1}, {1, 1, 1, 1}, {1, 3, 8, 100}, options);
  EXPECT_EQ(before.lse[0], -kInfinity);
  EXPECT_EQ(before.out[1], 1.0);
}

TEST(Reference, DocumentsAndKeyLengths) {
  AttentionOptions options;
  options.scale = 0.0F;
  options.mask = DocumentMask({7, -2, 7, -2});
  const std::vector<float> value{1, 2, 5, 10};
  const ReferenceResult r = attend({1, 1, 1, 1}, {1, 1, 1, 1}, value, options);
  EXPECT_EQ(r.out, (std::vector<double>{3, 6, 3, 6}));
  const std::vector<std::int64_t> kv_lens{3};
  options.kv_lens = kv_lens;
  EXPECT_EQ(attend({1, 1, 1, 1}, {1, 1, 1, 1}, value, options).out,
            (std::vector<double>{3, 2, 3, 2}));
}

TEST(Reference, QueryThatSeesNothing) {
  AttentionOptions options;
  options.mask = !FullMask{};
  const ReferenceResult r = attend({1}, {1}, {std::nanf("")}, options);
  EXPECT_EQ(r.out[0], 0.0);
  EXPECT_EQ(r.out_bound[0], 0.0);
  EXPECT_EQ(r.lse[0], -kInfinity);
  EXPECT_EQ(r.lse_bound[0], 0.0);
}

TEST(Reference, HeadsShareKeysInGroups) {
  std::vector<float> q(6, 1.0F), k(2, 1.0F), v{10.0F, 20.0F};
  const ReferenceResult r = reference_attention({q.data(), {1, 6, 1, 1}}, {k.data(), {1, 2, 1, 1}},
                                                {v.data(), {1, 2, 1, 1}});
  EXPECT_EQ(r.out, (std::vector<double>{10, 10, 10, 20, 20, 20}));
}

TEST(Reference, NotANumberStaysInItsRow) {
  AttentionOptions options;
  options.mask = CausalMask{};
  const ReferenceResult r = attend({1, 1, 1}, {1, std::nanf(""), 1}, {1, 2, 3}, options);
  EXPECT_EQ(r.out[0], 1.0);
  EXPECT_TRUE(std::isnan(r.out[1]) && std::isnan(r.out[2]));
  EXPECT_EQ(r.out_bound[1], kInfinity);
}

TEST(Reference, RefusesWhatAttentionRefuses) {
  std::vector<float> memory(100);
  const TensorView<const float, 4> query(memory.data(), {1, 2, 3, 4}),
      key(memory.data(), {1, 1, 5, 4});
  const auto refusal = [&](TensorView<const float, 4> k, std::array<std::int64_t, 4> value,
                           const AttentionOptions& options) -> std::string {
    try {
      reference_attention(query, k, {memory.data(), value}, options);
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "nothing thrown";
  };
  EXPECT_EQ(refusal(key, {1, 1, 5, 2}, {}), "nothing thrown");
  EXPECT_EQ(refusal(key, {1, 1, 6, 2}, {}), "reference_attention: value.shape[2] is 6, expected 5");
  EXPECT_EQ(refusal({memory.data(), {1, 1, 5, 3}}, {1, 1, 5, 2}, {}),
            "reference_attention: key.shape[3] is 3, expected 4");
  const std::vector<std::int64_t> kv_lens{6};
  AttentionOptions options;
  options.kv_lens = kv_lens;
  EXPECT_EQ(refusal(key, {1, 1, 5, 2}, options), "attention: kv_lens[0] is 6, expected 0..5");
}

TEST(Reference, RowOfMinusInfinityAloneSeesNothing) {
  const float inf = std::numeric_limits<float>::infinity();
  const ReferenceResult r = attend({1}, {-inf, -inf}, {1, 2});
  EXPECT_EQ(r.out[0], 0.0);
  EXPECT_EQ(r.lse[0], -kInfinity);
  EXPECT_EQ(attend({1}, {-inf, 3}, {1, 2}).out[0], 2.0);
}

TEST(Reference, MasksOfSequencesAndHeads) {
  const bool allowed[4] = {true, false, false, true};  // (B, H, 1, 1)
  std::vector<float> one(4, 1.0F), values{3, 5, 7, 9};
  const std::array<std::int64_t, 4> shape{2, 2, 1, 1};
  const AttentionOptions options{.mask = DenseMask({allowed, shape})};
  const ReferenceResult r = reference_attention({one.data(), shape}, {one.data(), shape},
                                                {values.data(), shape}, options);
  EXPECT_EQ(r.out, (std::vector<double>{3, 0, 0, 9}));
}

TEST(Reference, RefusesBf16DotsOfOtherTypes) {
  std::vector<float> x(1);
  const TensorView<const float, 4> view(x.data(), {1, 1, 1, 1});
  try {
    reference_attention(view, view, view, {}, {.bf16_dots = Bf16Dots::kModelled});
    ADD_FAILURE() << "nothing thrown";
  } catch (const std::invalid_argument& e) {
    EXPECT_STREQ(
        e.what(),
        "reference_attention: bf16_dots is given for a tensor of f32, expected all of bf16");
  }
}

// Two keys of scores 0 and -1: the second weight, e^-1, is rounded, the sum is not.
TEST(Reference, Bf16DotsRoundWeightsOfTheirChunk) {
  const std::vector<bf16> query{bf16(1.0F)};
  std::vector<bf16> key(300, bf16(-4.0F)), value(300, bf16(0.0F));
  key[0] = bf16(0.0F);
  key[1] = bf16(-1.0F);
  value[1] = bf16(1.0F);
  key[256] = bf16(-2.0F);  // the maximum of its chunk: not rounded, though e^-2 would be
  value[256] = bf16(2.0F);
  const auto out = [&](std::int64_t kv_len, Bf16Dots dots) {
    const AttentionOptions options{.scale = 1.0F};
    return reference_attention({query.data(), {1, 1, 1, 1}}, {key.data(), {1, 1, kv_len, 1}},
                               {value.data(), {1, 1, kv_len, 1}}, options, {.bf16_dots = dots});
  };
  const double w = std::exp(-1), rounded = 0.3671875;  // 188 / 512
  EXPECT_NEAR(out(2, Bf16Dots::kModelled).out[0], rounded / (1 + w), 1e-15);
  EXPECT_NEAR(out(2, Bf16Dots::kPromised).out[0], w / (1 + w), 1e-15);
  EXPECT_GT(out(2, Bf16Dots::kPromised).out_bound[0], 0x1p-8 * w / (1 + w));
  EXPECT_LT(out(2, Bf16Dots::kModelled).out_bound[0], 0x1p-20);  // no weight is near a boundary
  const double sum = 1 + w + std::exp(-2) + (254 + 43) * std::exp(-4);
  EXPECT_NEAR(out(300, Bf16Dots::kModelled).out[0], (rounded + 2 * std::exp(-2)) / sum, 1e-14);
}

TEST(Reference, PackedSequencesAreSequencesOfTheirOwn) {
  Rng rng(1);
  Problem packed = make_problem(rng, {1, 4, 2, 12, 40, 8, 4});
  packed.mask = {CausalMask{}, "Causal"};
  packed.q_offset = 9;
  packed.cu_seqlens_q = {0, 5, 5, 10};
  packed.cu_seqlens_kv = {0, 13, 20, 36};
  const ReferenceResult all = run_reference(packed);
  const auto rows = [](const Tensor<4>& t, std::int64_t begin, std::int64_t end) {
    TensorView<const float, 4> view = t.view();
    view.data += begin * view.strides[2];
    view.shape[2] = end - begin;
    return view;
  };
  for (std::size_t s = 0; s < 3; ++s) {
    const std::int64_t begin = packed.cu_seqlens_q[s], end = packed.cu_seqlens_q[s + 1];
    const std::int64_t kv_begin = packed.cu_seqlens_kv[s], kv_end = packed.cu_seqlens_kv[s + 1];
    const ReferenceResult one = reference_attention(
        rows(packed.query, begin, end), rows(packed.key, kv_begin, kv_end),
        rows(packed.value, kv_begin, kv_end), {.mask = CausalMask{}, .q_offset = 9});
    for (std::int64_t h = 0; h < 4; ++h) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::size_t at = static_cast<std::size_t>(h * 12 + i);
        const std::size_t at_one = static_cast<std::size_t>(h * (end - begin) + i - begin);
        EXPECT_EQ(all.lse[at], one.lse[at_one]);
        EXPECT_EQ(all.out[4 * at + 3], one.out[4 * at_one + 3]);
        EXPECT_EQ(all.out_bound[4 * at], one.out_bound[4 * at_one]);
      }
    }
  }
  EXPECT_TRUE(std::isnan(all.out[4 * 10]) && std::isnan(all.out_bound[4 * 11]));  // of no sequence
  EXPECT_TRUE(std::isnan(all.lse[10]) && std::isnan(all.lse_bound[47]));
}

TEST(Reference, SequencesHaveTheirOwnOffsets) {
  std::vector<float> ones(4, 1.0F), values{1, 3, 5, 11};
  const std::vector<std::int64_t> q_offsets{0, 1};
  const AttentionOptions options{.mask = CausalMask{}, .scale = 0.0F, .q_offsets = q_offsets};
  const ReferenceResult r =
      reference_attention({ones.data(), {2, 1, 2, 1}}, {ones.data(), {2, 1, 2, 1}},
                          {values.data(), {2, 1, 2, 1}}, options);
  EXPECT_EQ(r.out, (std::vector<double>{1, 2, 8, 8}));
}

TEST(Reference, KeysMayBeginLater) {
  AttentionOptions options{.mask = CausalMask{}, .scale = 0.0F, .q_offset = 256, .kv_offset = 256};
  const ReferenceResult r = attend({1, 1}, {1, 1, 1}, {2, 4, 100}, options);
  EXPECT_EQ(r.out, (std::vector<double>{2, 3}));
}

TEST(Reference, ShiftedValuesShiftTheResult) {
  Rng rng(1);
  Problem p = make_problem(rng, {2, 3, 3, 5, 70, 8, 4});
  const ReferenceResult before = run_reference(p);
  p.value.for_each([](float& x) { x = std::round(x * 64) / 64; });  // so that adding is exact
  const ReferenceResult rounded = run_reference(p);
  p.value.for_each([](float& x) { x += 4; });
  const ReferenceResult after = run_reference(p);
  for (std::size_t i = 0; i < after.out.size(); ++i) {
    EXPECT_NEAR(after.out[i], rounded.out[i] + 4, 1e-14);
    EXPECT_NE(before.out[i], rounded.out[i]);
  }
  EXPECT_EQ(before.lse, after.lse);
}

TEST(Reference, OrderOfKeysDoesNotMatter) {
  Rng rng(2);
  Problem p = make_problem(rng, {1, 2, 2, 4, 90, 16, 8});
  const ReferenceResult before = run_reference(p);
  for (Tensor<4>* t : {&p.key, &p.value}) {  // read backwards: key j is now key M - 1 - j
    const auto view = t->view();
    for (std::int64_t h = 0; h < 2; ++h) {
      for (std::int64_t j = 0; j < 45; ++j) {
        for (std::int64_t d = 0; d < view.shape[3]; ++d) {
          std::swap(view(0, h, j, d), view(0, h, 89 - j, d));
        }
      }
    }
  }
  const ReferenceResult after = run_reference(p);
  for (std::size_t i = 0; i < after.out.size(); ++i)
    EXPECT_NEAR(after.out[i], before.out[i], 1e-14);
}

}  // namespace
}  // namespace regard::test
