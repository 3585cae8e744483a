// tests/api/poison_test.cc - what a query may not see does not change one bit of it, not even NaN.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "regard/attention.h"
#include "support/compare.h"
#include "support/isa.h"
#include "support/problem.h"

namespace regard::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kPoisons[] = {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity, 3e38F};

void poison_key(const Problem& p, std::int64_t b, std::int64_t g, std::int64_t j, float poison) {
  for (std::int64_t d = 0; d < p.shape.head_dim; ++d) p.key.view()(b, g, j, d) = poison;
}
void poison_value(const Problem& p, std::int64_t b, std::int64_t g, std::int64_t j, float poison) {
  for (std::int64_t e = 0; e < p.shape.value_dim; ++e) p.value.view()(b, g, j, e) = poison;
}

// Row-major numbers without broadcast, so that one key can be changed alone.
Problem random_plain_problem(Rng& rng) {
  Problem shape = random_problem(rng, 60'000);
  Problem p = make_problem(rng, shape.shape);
  relayout(rng, p);
  p.mask = shape.mask;
  p.q_offset = shape.q_offset;
  p.scale = shape.scale;
  p.kv_lens = shape.kv_lens;
  return p;
}

bool sees(const Problem& p, std::int64_t b, std::int64_t i, std::int64_t j) {
  const std::int64_t kv_len =
      p.kv_lens.empty() ? p.shape.kv_len : p.kv_lens[static_cast<std::size_t>(b)];
  return j < kv_len && p.mask.mask.allows(p.q_offset.value_or(0) + i, j);
}

bool same_row(const Result& a, const Result& b, std::int64_t batch, std::int64_t h,
              std::int64_t i) {
  std::vector<float> x{a.lse.view()(batch, h, i)}, y{b.lse.view()(batch, h, i)};
  for (std::int64_t e = 0; e < a.out.view().shape[3]; ++e) {
    x.push_back(a.out.view()(batch, h, i, e));
    y.push_back(b.out.view()(batch, h, i, e));
  }
  return same_bits(x, y);
}

// Every key of sequence b, in turn poisoned, leaves the rows that do not see it as they were.
TEST(Poison, InOneKeyChangesNoRowThatDoesNotSeeIt) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = random_plain_problem(rng);
    const auto& s = p.shape;
    if (s.batch * s.kv_len == 0) continue;
    const std::int64_t b = rng.integer(0, s.batch - 1), g = rng.integer(0, s.num_kv_heads - 1);
    const std::int64_t j = rng.integer(0, s.kv_len - 1);
    const float poison = kPoisons[rng.integer(0, 3)];
    const bool in_key = rng.chance(0.7), in_value = !in_key || rng.chance(0.5);
    REGARD_FOR_EACH_ISA(isa) {
      const Problem poisoned = [&] {
        Problem copy = p;
        copy.key = Tensor<4>(p.key.view().shape);
        copy.value = Tensor<4>(p.value.view().shape);
        std::size_t n = 0;
        const std::vector<float> keys = p.key.values(), values = p.value.values();
        copy.key.for_each([&](float& x) { x = keys[n++]; });
        n = 0;
        copy.value.for_each([&](float& x) { x = values[n++]; });
        if (in_key) poison_key(copy, b, g, j, poison);
        if (in_value) poison_value(copy, b, g, j, poison);
        return copy;
      }();
      const Result before = run_attention(p), after = run_attention(poisoned);
      for (std::int64_t bb = 0; bb < s.batch; ++bb) {
        for (std::int64_t h = 0; h < s.num_heads; ++h) {
          for (std::int64_t i = 0; i < s.q_len; ++i) {
            const bool touched =
                bb == b && h / (s.num_heads / s.num_kv_heads) == g && sees(p, b, i, j);
            if (touched) continue;
            ASSERT_TRUE(same_row(before, after, bb, h, i))
                << p.describe() << "; key " << j << " of head " << g << ", row " << bb << " " << h
                << " " << i;
          }
        }
      }
      // and the rows that do see it agree with the reference on what is finite
      EXPECT_TRUE(within_bound(after, run_reference(poisoned))) << p.describe();
    }
  }
}

// Every key that nobody sees and everything beyond kv_lens, all poisoned at once.
TEST(Poison, InEverythingUnseenChangesNothing) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = random_plain_problem(rng);
    const auto& s = p.shape;
    REGARD_FOR_EACH_ISA(isa) {
      const Result before = run_attention(p);
      const std::vector<float> keys = p.key.values(), values = p.value.values();
      for (std::int64_t b = 0; b < s.batch; ++b) {
        for (std::int64_t j = 0; j < s.kv_len; ++j) {
          bool seen = false;
          for (std::int64_t i = 0; i < s.q_len; ++i) seen = seen || sees(p, b, i, j);
          if (seen) continue;
          for (std::int64_t g = 0; g < s.num_kv_heads; ++g) {
            poison_key(p, b, g, j, kPoisons[j % 4]);
            poison_value(p, b, g, j, kPoisons[(j + 1) % 4]);
          }
        }
      }
      const Result after = run_attention(p);
      EXPECT_TRUE(same_bits(before.out.values(), after.out.values())) << p.describe();
      EXPECT_TRUE(same_bits(before.lse.values(), after.lse.values())) << p.describe();
      std::size_t n = 0;
      p.key.for_each([&](float& x) { x = keys[n++]; });
      n = 0;
      p.value.for_each([&](float& x) { x = values[n++]; });
    }
  }
}

// NaN in a query: that row alone, all of it. NaN in one value element: that element of the rows
// that see it, alone.
TEST(Poison, ThatIsSeenSpreadsNoFurther) {
  REGARD_FOR_EACH_ISA(isa) {
    Rng rng(3);
    Problem p = make_problem(rng, {1, 2, 2, 70, 300, 16, 20});
    const Result before = run_attention(p);
    p.query.view()(0, 1, 33, 7) = std::nanf("");
    p.value.view()(0, 0, 299, 19) = std::nanf("");
    const Result after = run_attention(p);
    for (std::int64_t h = 0; h < 2; ++h) {
      for (std::int64_t i = 0; i < 70; ++i) {
        const bool query_is_nan = h == 1 && i == 33;
        EXPECT_EQ(std::isnan(after.lse.view()(0, h, i)), query_is_nan);
        for (std::int64_t e = 0; e < 20; ++e) {
          const float x = after.out.view()(0, h, i, e);
          const bool value_is_nan = h == 0 && e == 19;
          EXPECT_EQ(std::isnan(x), query_is_nan || value_is_nan);
          if (!query_is_nan && !value_is_nan) {
            EXPECT_EQ(x, before.out.view()(0, h, i, e));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace regard::test
