// tests/api/kv_cache_int8_test.cc - a cache of 8 bits: what it keeps, and attention over it within
// the derived bound.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "regard/kv_cache.h"
#include "regard/reference_attention.h"
#include "support/compare.h"
#include "support/dense.h"
#include "support/isa.h"
#include "support/refusal.h"

namespace regard::test {
namespace {

/// A cache of random tokens, what it keeps of them, and queries.
struct Int8Problem {
  explicit Int8Problem(std::uint64_t seed)
      : rng(seed),
        n(rng.integer(1, 400)),
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

TEST(KvCacheInt8, KeepsEveryNumberToHalfAScale) {
  for (const std::uint64_t seed : trial_seeds(10)) {
    REGARD_TRIAL(seed);
    const Int8Problem p(seed);
    for (const auto& [given, kept] :
         {std::pair{&p.key, &p.kept_key}, std::pair{&p.value, &p.kept_value}}) {
      const std::size_t dim = static_cast<std::size_t>(given->shape[3]);
      for (std::size_t row = 0; row < given->data.size(); row += dim) {
        double largest = 0;
        for (std::size_t i = row; i < row + dim; ++i)
          largest = std::max(largest, std::abs(double{given->data[i]}));
        const double half = largest / 127 / 2 * (1 + 0x1p-22);
        for (std::size_t i = row; i < row + dim; ++i)
          ASSERT_LE(std::abs(double{given->data[i]} - double{kept->data[i]}), half);
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

/// A fault must break the bound nearly always.
TEST(KvCacheInt8, CanaryAScaleThatIsWrongIsSeen) {
  int trials = 0, seen = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Int8Problem p(seed);
    if (p.n < 2) continue;
    const Dense<float> out = p.run(0, p.n);
    const auto violates = [&](const Dense<float>& k, const Dense<float>& v) {
      const ReferenceResult reference = p.reference(k, v);
      return compare(out.data, reference.out, reference.out_bound).violations > 0;
    };
    Dense<float> wrong_key = p.kept_key, wrong_value = p.kept_value;
    const std::int64_t token = p.rng.integer(0, p.n - 1);
    for (std::int64_t i = 0; i < p.dim; ++i)
      wrong_key.data[static_cast<std::size_t>(token * p.dim + i)] *= 1.01F;
    for (std::int64_t i = 0; i < p.value.shape[3]; ++i)
      wrong_value.data[static_cast<std::size_t>(token * p.value.shape[3] + i)] *= 1.01F;
    trials += 2;
    seen += violates(wrong_key, p.kept_value);
    seen += violates(p.kept_key, wrong_value);
  }
  EXPECT_GE(seen, trials - 2) << "of " << trials;
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
