// tests/api/kv_cache_int8_test.cc - a cache of 8 bits: what it keeps, and attention over it within
// the derived bound.
#include <gtest/gtest.h>

#include <algorithm>
#include <cfenv>
#include <cmath>
#include <limits>
#include <utility>

#include "regard/kv_cache.h"
#include "regard/reference_attention.h"
#include "support/compare.h"
#include "support/isa.h"
#include "support/kv_cache.h"
#include "support/refusal.h"

namespace regard::test {
namespace {

/// A cache of random tokens, what it keeps of them, and queries.
struct Int8Problem {
  explicit Int8Problem(std::uint64_t seed, std::int64_t least = 1)
      : rng(seed),
        n(rng.integer(least, 400)),
        dim(rng.pick({8, 24, 64, 70, 128})),
        query({1, 2 * rng.integer(1, 4), n, dim}, rng),
        key({1, 2, n, dim}, rng),
        value({1, 2, n, rng.pick({8, 32, 64, 70})}, rng),
        kept_key(key.shape),
        kept_value(value.shape),
        cache(shape()),
        sequence(cache.create()) {
    cache.extend(sequence, n);
    cache.write(0, sequence, 0, InputView<3>(key.data.data(), {2, n, dim}),
                InputView<3>(value.data.data(), {2, n, value.shape[3]}));
    cache.read(0, sequence, {kept_key.data.data(), {2, n, dim}},
               {kept_value.data.data(), {2, n, value.shape[3]}});
    options.mask = CausalMask{};
    options.q_offset = 0;
  }
  KvCacheShape shape() {
    KvCacheShape s;
    s.num_kv_heads = 2;
    s.head_dim = dim;
    s.value_dim = value.shape[3];
    s.dtype = DType::kI8;
    s.page_size = rng.pick({16, 48, 256});
    return s;
  }
  Dense<float> run(std::int64_t begin, std::int64_t end) {
    Dense<float> out({1, query.shape[1], end - begin, value.shape[3]});
    AttentionOptions o = options;
    o.q_offset = begin;
    attention(query.rows(begin, end), cache.view(sequence), out.view(), o);
    return out;
  }
  ReferenceResult reference(const Dense<float>& k, const Dense<float>& v) {
    return reference_attention(query.view(), k.rows(0, n), v.rows(0, n), options,
                               {.int8_rows = true});
  }

  Rng rng;
  std::int64_t n, dim;
  Dense<float> query, key, value, kept_key, kept_value;
  PagedKvCache cache;
  PagedKvCache::Sequence sequence;
  AttentionOptions options;
};

constexpr double kUnit = 0x1p-24;

/// c', what a number of a row may lose (docs/numerics.md).
double most_lost(const float* row, std::int64_t dim) {
  double largest = 0;
  for (std::int64_t d = 0; d < dim; ++d) largest = std::max(largest, std::abs(double{row[d]}));
  return std::max(largest / 127 * (0.5 + 382 * kUnit), 0x1p-100);
}

/// 127 u c more for what read() rounds.
void expect_kept(const Dense<float>& given, const Dense<float>& kept) {
  const std::int64_t dim = given.shape[3];
  for (std::size_t row = 0; row < given.data.size(); row += static_cast<std::size_t>(dim)) {
    const double most = most_lost(&given.data[row], dim) * (1 + 2 * 127 * kUnit);
    for (std::size_t i = row; i < row + static_cast<std::size_t>(dim); ++i)
      ASSERT_LE(std::abs(double{given.data[i]} - double{kept.data[i]}), most);
  }
}

TEST(KvCacheInt8, KeepsEveryNumberToHalfAScale) {
  for (const std::uint64_t seed : trial_seeds(10)) {
    REGARD_TRIAL(seed);
    const Int8Problem p(seed);
    expect_kept(p.key, p.kept_key);
    expect_kept(p.value, p.kept_value);
  }
}

/// Numbers beside the middle of two integers, where a rounding decides.
TEST(KvCacheInt8, KeepsEveryNumberToHalfAScaleWhereItIsHardest) {
  Rng rng(1);
  std::int64_t beyond_half = 0;
  for (int trial = 0; trial < 300; ++trial) {
    constexpr std::int64_t kTokens = 16, kDim = 128;
    Dense<float> x({1, 1, kTokens, kDim});
    for (std::int64_t row = 0; row < kTokens; ++row) {
      const double largest = std::ldexp(rng.uniform(1, 2), static_cast<int>(rng.integer(-20, 20)));
      for (std::int64_t d = 0; d < kDim; ++d) {
        const double middle = static_cast<double>(rng.integer(-127, 126)) + 0.5;
        x.data[static_cast<std::size_t>(row * kDim + d)] = static_cast<float>(
            d == 0 ? largest : largest / 127 * middle * (1 + rng.uniform(-4, 4) * kUnit));
      }
    }
    PagedKvCache cache({.head_dim = kDim, .value_dim = kDim, .dtype = DType::kI8});
    const auto s = cache.create();
    cache.extend(s, kTokens);
    const InputView<3> view(x.data.data(), {1, kTokens, kDim});
    cache.write(0, s, 0, view, view);
    Dense<float> key(x.shape), value(x.shape);
    cache.read(0, s, {key.data.data(), {1, kTokens, kDim}},
               {value.data.data(), {1, kTokens, kDim}});
    expect_kept(x, key);
    EXPECT_EQ(key, value);
    for (std::size_t i = 0; i < x.data.size(); ++i) {
      const double c = double{x.data[i / kDim * kDim]} / 127;
      beyond_half += std::abs(double{x.data[i]} - double{key.data[i]}) > c / 2 * (1 + 4 * kUnit);
    }
  }
  EXPECT_GT(beyond_half, 0) << "no trial was hard";
}

/// The same bits on every instruction set and in any rounding mode of the caller.
TEST(KvCacheInt8, StoresTheSameEverywhere) {
  for (const DType dtype : {DType::kI8, DType::kF16, DType::kBf16}) {
    Rng rng(3);
    const Dense<float> x({1, 1, 100, 70}, rng);
    const InputView<3> view(x.data.data(), {1, 100, 70});
    const auto stored = [&] {
      PagedKvCache cache({.head_dim = 70, .value_dim = 70, .dtype = dtype});
      const auto s = cache.create();
      cache.extend(s, 100);
      cache.write(0, s, 0, view, view);
      Dense<float> kept({2, 1, 100, 70});
      cache.read(0, s, {kept.data.data(), {1, 100, 70}}, {kept.data.data() + 7000, {1, 100, 70}});
      return kept;
    };
    const Dense<float> want = stored();
    REGARD_FOR_EACH_ISA(isa) {
      for (const int mode : {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
        std::fesetround(mode);
        const Dense<float> got = stored();
        std::fesetround(FE_TONEAREST);
        EXPECT_TRUE(got == want) << name_of(dtype) << ", rounding mode " << mode;
      }
    }
  }
}

TEST(KvCacheInt8, AttentionIsWithinTheBound) {
  for (const std::uint64_t seed : trial_seeds(8)) {
    REGARD_TRIAL(seed);
    Int8Problem p(seed);
    const ReferenceResult reference = p.reference(p.kept_key, p.kept_value);
    REGARD_FOR_EACH_ISA(isa) {
      const Dense<float> out = p.run(0, p.n);
      const Comparison c = compare(out.data, reference.out, reference.out_bound);
      EXPECT_EQ(c.violations, 0) << c.first;
      EXPECT_GT(c.checked, 0);
    }
  }
}

TEST(KvCacheInt8, D4PrefillAndDecodeAgree) {
  for (const std::uint64_t seed : trial_seeds(8)) {
    REGARD_TRIAL(seed);
    Int8Problem p(seed);
    REGARD_FOR_EACH_ISA(isa) {
      const Dense<float> whole = p.run(0, p.n);
      for (std::int64_t at = 0; at < p.n;) {
        const std::int64_t end = std::min(p.n, at + p.rng.pick({1, 1, 5, 40, 200}));
        const Dense<float> part = p.run(at, end);
        const std::size_t row = static_cast<std::size_t>(whole.shape[3]);
        for (std::int64_t h = 0; h < whole.shape[1]; ++h) {
          for (std::int64_t i = at; i < end; ++i) {
            ASSERT_EQ(
                0, std::memcmp(&part.data[static_cast<std::size_t>(h * (end - at) + i - at) * row],
                               &whole.data[static_cast<std::size_t>(h * p.n + i) * row],
                               row * sizeof(float)));
          }
        }
        at = end;
      }
    }
  }
}

/// How far exact attention over the rows of the cache may be from that over the numbers that were
/// given, and that itself: one row of one head, derived in docs/numerics.md.
struct Original {
  std::vector<double> out, bound;
};

Original original_row(const Int8Problem& p, std::int64_t h, std::int64_t i) {
  const std::int64_t group = p.query.shape[1] / 2, g = h / group, dim = p.dim,
                     value_dim = p.value.shape[3];
  const float* query = &p.query.data[static_cast<std::size_t>((h * p.n + i) * dim)];
  const auto key = [&](std::int64_t j) {
    return &p.key.data[static_cast<std::size_t>((g * p.n + j) * dim)];
  };
  const auto value = [&](std::int64_t j) {
    return &p.value.data[static_cast<std::size_t>((g * p.n + j) * value_dim)];
  };
  const double scale = double{static_cast<float>(1 / std::sqrt(static_cast<double>(dim)))};
  std::vector<double> weight, moved;
  double max = -std::numeric_limits<double>::infinity(), sum = 0, kept = 0, lost = 0;
  for (std::int64_t j = 0; j <= i; ++j) {
    double score = 0, size = 0;
    for (std::int64_t d = 0; d < dim; ++d) {
      score += scale * double{query[d]} * double{key(j)[d]};
      size += std::abs(double{query[d]});
    }
    weight.push_back(score);
    moved.push_back(scale * most_lost(key(j), dim) * size);
    max = std::max(max, score);
    lost = std::max(lost, most_lost(value(j), value_dim));
  }
  for (double& w : weight) sum += w = std::exp(w - max);
  for (std::size_t j = 0; j < weight.size(); ++j) kept += weight[j] / sum * std::exp(-moved[j]);
  Original row;
  for (std::int64_t e = 0; e < value_dim; ++e) {
    double out = 0, off = 0;
    for (std::int64_t j = 0; j <= i; ++j)
      out += weight[static_cast<std::size_t>(j)] / sum * double{value(j)[e]};
    for (std::int64_t j = 0; j <= i; ++j) {
      const auto n = static_cast<std::size_t>(j);
      off += weight[n] / sum * std::expm1(moved[n]) * std::abs(double{value(j)[e]} - out);
    }
    row.out.push_back(out);
    row.bound.push_back(off / kept + lost);
  }
  return row;
}

TEST(KvCacheInt8, AttentionIsNearThatOverTheOriginalNumbers) {
  double worst = 0;
  for (const std::uint64_t seed : trial_seeds(8)) {
    REGARD_TRIAL(seed);
    Int8Problem p(seed);
    const ReferenceResult reference = p.reference(p.kept_key, p.kept_value);
    const Dense<float> out = p.run(0, p.n);
    for (int trial = 0; trial < 20; ++trial) {
      const std::int64_t h = p.rng.integer(0, p.query.shape[1] - 1), i = p.rng.integer(0, p.n - 1);
      const Original row = original_row(p, h, i);
      for (std::size_t e = 0; e < row.out.size(); ++e) {
        const std::size_t at = static_cast<std::size_t>(h * p.n + i) * row.out.size() + e;
        const double error = std::abs(double{out.data[at]} - row.out[e]);
        const double bound = row.bound[e] + reference.out_bound[at];
        ASSERT_LE(error, bound);
        worst = std::max(worst, error / bound);
      }
    }
  }
  EXPECT_GT(worst, 0.1) << "a bound that nothing comes near says little";
}

/// Where the query times the 8 bits overflows, nothing is promised, and the bound says so.
TEST(KvCacheInt8, TheBoundKnowsThatBitsOverflowBeforeTheirScaleIsApplied) {
  Int8Problem p(1);
  for (float& x : p.query.data) x *= 1e36F;
  for (float& x : p.kept_key.data) x *= 0x1p-20F;
  p.options.scale = 0x1p-100F;
  const ReferenceResult reference = p.reference(p.kept_key, p.kept_value);
  EXPECT_TRUE(std::ranges::all_of(reference.out_bound, [](double b) { return std::isinf(b); }));
}

/// A fault in the scales must break the bound nearly always.
class KvCacheInt8Canary : public testing::Test {
 public:
  /// Of 20 problems, how many are caught; `run` computes with a fault and the right tensors.
  template <class Run>
  static int caught(const Run& run) {
    int seen = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      Int8Problem p(seed, 20);
      const ReferenceResult reference = p.reference(p.kept_key, p.kept_value);
      EXPECT_EQ(compare(p.run(0, p.n).data, reference.out, reference.out_bound).violations, 0);
      const Dense<float> out = run(p);
      seen += compare(out.data, reference.out, reference.out_bound).violations > 0;
    }
    return seen;
  }
  static Dense<float> run_view(Int8Problem& p, const PagedView& view) {
    Dense<float> out({1, p.query.shape[1], p.n, p.value.shape[3]});
    attention(p.query.view(), view, out.view(), p.options);
    return out;
  }
  /// One row of x times 1.01, stored again.
  static Dense<float> run_with_one_scale_wrong(Int8Problem& p, Dense<float>& x) {
    const std::int64_t dim = x.shape[3], token = p.rng.integer(0, p.n - 1);
    for (std::int64_t d = 0; d < dim; ++d)
      x.data[static_cast<std::size_t>(token * dim + d)] *= 1.01F;
    p.cache.write(0, p.sequence, 0, tokens(p.key, 0, p.n), tokens(p.value, 0, p.n));
    return p.run(0, p.n);
  }
};

TEST_F(KvCacheInt8Canary, OneScaleIsWrong) {
  EXPECT_GE(caught([](Int8Problem& p) { return run_with_one_scale_wrong(p, p.key); }), 19);
  EXPECT_GE(caught([](Int8Problem& p) { return run_with_one_scale_wrong(p, p.value); }), 19);
}

TEST_F(KvCacheInt8Canary, ScalesOfKeysAndValuesAreSwapped) {
  EXPECT_EQ(caught([](Int8Problem& p) {
              PagedView view = p.cache.view(p.sequence);
              std::swap(view.key_scale_offset, view.value_scale_offset);
              return run_view(p, view);
            }),
            20);
}

TEST_F(KvCacheInt8Canary, ScalesAreThoseOfTheTokenBefore) {
  for (const bool keys : {true, false}) {
    EXPECT_EQ(caught([keys](Int8Problem& p) {
                PagedView view = p.cache.view(p.sequence);
                (keys ? view.key_scale_offset : view.value_scale_offset) -= sizeof(float);
                return run_view(p, view);
              }),
              20);
  }
}

TEST(KvCacheInt8, RefusesWhatIsNotFiniteAndKeepsTinyRowsAsZero) {
  KvCacheShape shape;
  shape.head_dim = shape.value_dim = 16;
  shape.dtype = DType::kI8;
  PagedKvCache cache(shape);
  const auto s = cache.create();
  cache.extend(s, 1);
  std::vector<float> good(16, 0x1p-110F), bad(16, 1.0F), kept(32);
  cache.write(0, s, 0, InputView<3>(good.data(), {1, 1, 16}),
              InputView<3>(good.data(), {1, 1, 16}));
  cache.read(0, s, {kept.data(), {1, 1, 16}}, {kept.data() + 16, {1, 1, 16}});
  EXPECT_EQ(kept, std::vector<float>(32, 0.0F));
  for (const float x : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    bad[7] = x;
    EXPECT_EQ(refusal([&] {
                cache.write(0, s, 0, InputView<3>(good.data(), {1, 1, 16}),
                            InputView<3>(bad.data(), {1, 1, 16}));
              }),
              "kv_cache: value[0, 0] is not finite, expected finite numbers in an int8 cache");
  }
}

}  // namespace
}  // namespace regard::test
