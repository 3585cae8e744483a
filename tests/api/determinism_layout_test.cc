// tests/api/determinism_layout_test.cc - D3 and D7: a sequence's bits do not depend on what it is
// batched with, nor on where its numbers lie, whatever type they are of.
#include <gtest/gtest.h>

#include <vector>

#include "support/compare.h"
#include "support/isa.h"

namespace regard::test {
namespace {

AttentionShape random_types(Rng& rng, AttentionShape s) {
  const auto any = [&] { return rng.pick({DType::kF32, DType::kBf16, DType::kF16}); };
  s.query_dtype = s.key_dtype = s.value_dtype = s.out_dtype = any();
  if (rng.chance(0.3)) s.value_dtype = any();
  if (rng.chance(0.3)) s.key_dtype = any();
  if (rng.chance(0.5)) s.out_dtype = DType::kF32;
  return s;
}

// One sequence of a batch as a problem of its own, its keys cut to their length or followed by NaN.
Problem sequence_of(const Problem& p, std::int64_t b, std::int64_t padding) {
  const auto& s = p.shape;
  const std::int64_t kv_len = p.kv_lens[static_cast<std::size_t>(b)];
  Problem one = p;
  one.shape.batch = 1;
  one.shape.kv_len = kv_len + padding;
  one.kv_lens = {kv_len};
  const auto copy = [b](const Tensor<4>& from, std::int64_t length, std::int64_t beyond) {
    const auto& shape = from.shape();
    Tensor<4> to({1, shape[1], length + beyond, shape[3]}, {}, from.dtype());  // starts as NaN
    for (std::int64_t h = 0; h < shape[1]; ++h) {
      for (std::int64_t i = 0; i < length; ++i) {
        for (std::int64_t d = 0; d < shape[3]; ++d) to.set(from.get(b, h, i, d), 0, h, i, d);
      }
    }
    return to;
  };
  one.query = copy(p.query, s.q_len, 0);
  one.key = copy(p.key, kv_len, padding);
  one.value = copy(p.value, kv_len, padding);
  return one;
}

// What a batch wrote for sequence b, out and then lse.
std::vector<float> sequence_bits(const Result& r, std::int64_t b) {
  std::vector<float> bits;
  for (const std::vector<float>& all : {r.out.values(), r.lse.values()}) {
    const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(all.size()) / r.out.shape()[0];
    bits.insert(bits.end(), all.begin() + b * size, all.begin() + (b + 1) * size);
  }
  return bits;
}

TEST(Determinism, D3AnyBatchAndPadding) {
  for (const std::uint64_t seed : trial_seeds(45)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const std::int64_t kv_len = rng.integer(1, 700), dim = rng.pick({1, 13, 32, 40});
    const AttentionShape shape{3, 4, 2, rng.integer(1, 80), kv_len, rng.integer(1, 40), dim};
    Problem p = make_problem(rng, random_types(rng, shape));
    p.mask = random_mask(rng, 800, 1);
    p.q_offset = rng.integer(0, kv_len);
    if (rng.chance(0.5)) p.sinks = {0.5F, -1.0F, 0.0F, 2.0F};
    for (int b = 0; b < 3; ++b) p.kv_lens.push_back(rng.integer(0, kv_len));
    REGARD_FOR_EACH_ISA(isa) {
      const Result batched = run_attention(p);
      for (std::int64_t b = 0; b < 3; ++b) {
        for (const std::int64_t padding : {0, 1, 300}) {
          const Result alone = run_attention(sequence_of(p, b, padding));
          EXPECT_TRUE(same_bits(sequence_bits(alone, 0), sequence_bits(batched, b)))
              << p.describe() << ", sequence " << b << ", padding " << padding;
        }
      }
    }
  }
}

// The same numbers, `offset` elements behind the start of a page.
Tensor<4> moved(const Tensor<4>& from, std::size_t offset) {
  Layout<4> layout;
  layout.flush = Flush::kStart;
  layout.offset = offset;
  Tensor<4> to(from.shape(), layout, from.dtype());
  const std::vector<float> values = from.values();
  std::size_t n = 0;
  to.for_each([&](float& x) { x = values[n++]; });
  return to;
}

void any_alignment(DType dtype, std::int64_t rows) {
  Rng rng(static_cast<std::uint64_t>(rows));
  // A width that packing leaves out where rows are few, and one that it does not.
  for (const std::int64_t value_dim : {21, 32}) {
    const Problem p =
        make_problem(rng, {1, 2, 1, rows, 300, 19, value_dim, dtype, dtype, dtype, DType::kF32});
    REGARD_FOR_EACH_ISA(isa) {
      const Result first = run_attention(p);
      for (std::size_t offset = 0; offset < 32; ++offset) {  // 0 to 62 or 124 bytes
        Problem other = p;
        other.query = moved(p.query, offset);
        other.key = moved(p.key, offset * 3 % 32);
        other.value = moved(p.value, offset * 5 % 32);
        EXPECT_TRUE(equal_bits(run_attention(other), first)) << offset << " elements";
      }
    }
  }
}

TEST(Determinism, D7AnyAlignment) {
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF16}) {
    SCOPED_TRACE(name_of(dtype));
    any_alignment(dtype, 1);
    any_alignment(dtype, 37);
  }
}

// Results too: wherever they are to lie, they are the same, and nothing between them is written.
TEST(Determinism, D7AnyStrides) {
  for (const std::uint64_t seed : trial_seeds(120)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    Problem p = random_problem(rng, 200'000, kEveryFeature);
    REGARD_FOR_EACH_ISA(isa) {
      const Result first = run_attention(p);
      for (int layout = 0; layout < 3; ++layout) {
        relayout(rng, p);
        const Result result{
            Tensor<4>(first.out.shape(), random_layout<4>(rng, false), first.out.dtype()),
            Tensor<3>(first.lse.shape(), random_layout<3>(rng, false))};
        attention(p.query, p.key, p.value, result.out, p.options(), {.lse = result.lse.view()});
        EXPECT_TRUE(equal_bits(result, first)) << p.describe();
        EXPECT_TRUE(result.out.gaps_untouched() && result.lse.gaps_untouched()) << p.describe();
      }
    }
  }
}

}  // namespace
}  // namespace regard::test
