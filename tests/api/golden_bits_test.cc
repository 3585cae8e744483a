// tests/api/golden_bits_test.cc - the same bits on every machine: D9 of docs/numerics.md, between
// x86 and Arm.
#include <gtest/gtest.h>

#include <bit>
#include <vector>

#include "regard/attention.h"
#include "regard/linear.h"
#include "regard/rope.h"
#include "support/golden_digest.h"
#include "support/isa.h"
#include "support/problem.h"

namespace regard::test {
namespace {

/// What was computed with FMA and without it, first with AVX512 and SSE4. A deliberate change of
/// the arithmetic's order changes them: the failure prints the new ones.
struct Golden {
  const char* fma;
  const char* plain;
};

/// Multiples of `unit` up to a million of either sign: without a library's logarithm or cosine, and
/// long enough that every product is rounded.
template <std::size_t Rank>
void fill(Rng& rng, const Tensor<Rank>& tensor, float unit) {
  tensor.for_each(
      [&](float& x) { x = unit * static_cast<float>(rng.integer(-1'000'000, 1'000'000)); });
}

Problem golden_problem(std::uint64_t seed, const AttentionShape& shape) {
  Rng rng(seed);
  Problem p = make_problem(rng, shape);
  fill(rng, p.query, 0x1p-18F);
  fill(rng, p.key, 0x1p-19F);
  fill(rng, p.value, 0x1p-19F);
  return p;
}

template <std::size_t Rank>
void add(GoldenDigest& digest, const Tensor<Rank>& tensor) {
  tensor.for_each([&](float x) { digest.add(std::bit_cast<std::uint32_t>(x)); });
}

template <class Compute>
void expect_golden(const Golden& golden, Compute compute) {
  REGARD_FOR_EACH_ISA(isa) {
    GoldenDigest digest;
    compute(digest);
    EXPECT_EQ(digest.text(), has_fma(isa) ? golden.fma : golden.plain);
  }
}

void expect_golden(const Golden& golden, const Problem& p) {
  expect_golden(golden, [&](GoldenDigest& digest) {
    const Result result = run_attention(p);
    add(digest, result.out);
    add(digest, result.lse);
  });
}

TEST(GoldenBits, SeveralBlocksOfRows) {
  expect_golden({"edc9607a6300e2b6", "3521d4febb6d6de3"},
                golden_problem(1, {1, 1, 1, 500, 300, 17, 33}));
}

TEST(GoldenBits, OneQueryOverManyChunks) {
  expect_golden({"9c013f0a936a66f8", "053cdc3102f87400"},
                golden_problem(2, {2, 8, 2, 1, 1500, 64, 64}));
}

TEST(GoldenBits, CausalWithSubnormalValues) {
  Problem p = golden_problem(3, {1, 6, 2, 40, 600, 24, 40});
  p.mask = {CausalMask{}, "Causal"};
  p.q_offset = 560;
  p.value.for_each([](float& x) { x *= 0x1p-127F; });
  expect_golden({"629f8d536c9ec4e5", "e438f8eceb3f3815"}, p);
}

TEST(GoldenBits, MixedStorageWithScoreModifiersAndSinks) {
  Problem p = golden_problem(
      4, {1, 4, 2, 50, 700, 32, 48, DType::kF16, DType::kBf16, DType::kF16, DType::kBf16});
  p.mask = {WindowMask{300, 0}, "Window"};
  p.q_offset = 650;
  p.score_mods.mods = {SoftCap{20}, Alibi{{0.5F, 0.25F, 0.125F, 0.0625F}}};
  p.sinks = {0.5F, -1, 2, 0};
  expect_golden({"aa5ee8ee9abf0358", "4be4a4324f389083"}, p);
}

TEST(GoldenBits, LinearLayer) {
  Rng rng(5);
  const Tensor<2> x({30, 300}), weight({50, 300}), bias({1, 50});
  fill(rng, x, 0x1p-19F);
  fill(rng, weight, 0x1p-19F);
  fill(rng, bias, 0x1p-19F);
  expect_golden({"471f33e6a80a63e6", "8e14186a31a4ff4f"}, [&](GoldenDigest& digest) {
    const Tensor<2> y({30, 50});
    Linear(weight, bias.values()).run(x, y);
    add(digest, y);
  });
}

TEST(GoldenBits, Rope) {
  Rng rng(6);
  const Tensor<4> x({1, 2, 40, 64}, {}, DType::kBf16);
  fill(rng, x, 0x1p-19F);
  expect_golden({"a1df5c1cf25fb53e", "a1df5c1cf25fb53e"}, [&](GoldenDigest& digest) {
    const Tensor<4> out({1, 2, 40, 64});
    Rope(64).apply(x, out, 100'000);
    add(digest, out);
  });
}

}  // namespace
}  // namespace regard::test
