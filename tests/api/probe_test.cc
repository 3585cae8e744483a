// tests/api/probe_test.cc - a probe sees the weights that the output was made of, and changes
// nothing.
#include "regard/probe.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <numeric>
#include <vector>

#include "regard/attention.h"
#include "support/compare.h"
#include "support/isa.h"
#include "support/problem.h"

namespace regard::test {
namespace {

std::vector<std::int64_t> indices(std::int64_t n) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

Result run_probed(const Problem& p, Probe& probe) {
  const auto& s = p.shape;
  Result result{Tensor<4>({s.batch, s.num_heads, s.q_len, s.value_dim}),
                Tensor<3>({s.batch, s.num_heads, s.q_len})};
  attention(p.query, p.key, p.value, result.out, p.options(),
            {.lse = result.lse.view(), .probe = &probe});
  return result;
}

// The exact weights with their bounds: attention to the identity matrix, whose output is the
// weights; 512 columns of it at a time, because that is the largest value_dim.
ReferenceResult exact_weights(const Problem& p) {
  const std::int64_t n = p.shape.kv_len, rows = p.shape.batch * p.shape.num_heads * p.shape.q_len;
  ReferenceResult all;
  all.out.resize(static_cast<std::size_t>(rows * n));
  all.out_bound.resize(all.out.size());
  for (std::int64_t first = 0; first < n; first += 512) {
    const std::int64_t columns = std::min<std::int64_t>(512, n - first);
    Problem identity = p;
    identity.value = Tensor<4>({p.shape.batch, p.shape.num_kv_heads, n, columns});
    std::int64_t at = 0;
    identity.value.for_each([&](float& x) {
      x = at / columns % n == first + at % columns ? 1.0F : 0.0F;
      ++at;
    });
    const ReferenceResult some = run_reference(identity);
    for (std::int64_t i = 0; i < rows * columns; ++i) {
      const auto to = static_cast<std::size_t>(i / columns * n + first + i % columns);
      all.out[to] = some.out[static_cast<std::size_t>(i)];
      all.out_bound[to] = some.out_bound[static_cast<std::size_t>(i)];
    }
  }
  return all;
}

Problem probed_problem(Rng& rng) {
  Problem p = random_problem(rng, 100'000);
  while (p.shape.batch == 0 || p.shape.kv_len == 0 || p.shape.q_len == 0) {
    p = random_problem(rng, 100'000);
  }
  return p;
}

TEST(WeightsProbe, SeesTheWeightsThatRan) {
  for (const std::uint64_t seed : trial_seeds(120)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = probed_problem(rng);
    const auto& s = p.shape;
    const ReferenceResult exact = exact_weights(p);
    const ReferenceResult reference = run_reference(p);
    const std::int64_t b = rng.integer(0, s.batch - 1);
    REGARD_FOR_EACH_ISA(isa) {
      const Tensor<3> weights({s.num_heads, s.q_len, s.kv_len}, random_layout<3>(rng, false));
      WeightsProbe probe(b, indices(s.num_heads), indices(s.q_len), weights);
      const Result probed = run_probed(p, probe);
      EXPECT_TRUE(weights.gaps_untouched());
      // the bits are those of a run without a probe
      const Result alone = run_attention(p);
      EXPECT_TRUE(same_bits(probed.out.values(), alone.out.values()));
      EXPECT_TRUE(same_bits(probed.lse.values(), alone.lse.values()));
      // every weight is right
      const std::vector<float> got = weights.values();
      const std::size_t first = static_cast<std::size_t>(b) * got.size();
      const Comparison c = compare(got, std::span(exact.out).subspan(first, got.size()),
                                   std::span(exact.out_bound).subspan(first, got.size()));
      EXPECT_EQ(c.violations, 0) << p.describe() << ": " << c.first;
      // and weights times values is the output
      for (std::int64_t h = 0; h < s.num_heads; ++h) {
        for (std::int64_t i = 0; i < s.q_len; ++i) {
          double sum = 0, sum_bound = 0;
          std::vector<double> out(static_cast<std::size_t>(s.value_dim));
          for (std::int64_t j = 0; j < s.kv_len; ++j) {
            const double w = static_cast<double>(weights.view()(h, i, j));
            sum += w;
            sum_bound +=
                exact.out_bound[first + static_cast<std::size_t>((h * s.q_len + i) * s.kv_len + j)];
            if (w == 0) continue;
            for (std::size_t e = 0; e < out.size(); ++e) {
              out[e] += w * static_cast<double>(
                                p.value.view()(b, h / (s.num_heads / s.num_kv_heads), j, e));
            }
          }
          const std::size_t row = static_cast<std::size_t>((b * s.num_heads + h) * s.q_len + i);
          const bool sees_something = std::isfinite(reference.lse[row]);
          EXPECT_NEAR(sum, sees_something ? 1 : 0, sum_bound);
          for (std::size_t e = 0; e < out.size(); ++e) {
            const std::size_t at = row * out.size() + e;
            EXPECT_NEAR(out[e], reference.out[at], reference.out_bound[at]);
          }
        }
      }
    }
  }
}

TEST(WeightsProbe, OnlyWhatWasAskedFor) {
  Rng rng(3);
  Problem p = make_problem(rng, {2, 6, 2, 70, 300, 8, 8});
  p.mask = {CausalMask{}, "Causal"};
  p.q_offset = 200;
  const Tensor<3> all({6, 70, 300});
  WeightsProbe everything(1, indices(6), indices(70), all);
  run_probed(p, everything);
  const std::vector<std::int64_t> heads{4, 1}, queries{69, 0, 50};
  const Tensor<3> some({2, 3, 300});
  WeightsProbe probe(1, heads, queries, some);
  run_probed(p, probe);
  for (std::int64_t h = 0; h < 2; ++h) {
    for (std::int64_t i = 0; i < 3; ++i) {
      for (std::int64_t j = 0; j < 300; ++j) {
        EXPECT_EQ(some.view()(h, i, j), all.view()(heads[static_cast<std::size_t>(h)],
                                                   queries[static_cast<std::size_t>(i)], j));
      }
    }
  }
}

// Another sequence of the batch, heads and rows that do not exist: nothing to see, nothing to
// break.
TEST(WeightsProbe, OfWhatDoesNotExistStaysZero) {
  Rng rng(3);
  const Problem p = make_problem(rng, {1, 2, 2, 5, 40, 8, 8});
  for (const std::int64_t batch : {1, 1000}) {
    const Tensor<3> out({2, 5, 40});
    WeightsProbe probe(batch, indices(2), indices(5), out);
    run_probed(p, probe);
    out.for_each([](float x) { EXPECT_EQ(x, 0.0F); });
  }
  const std::vector<std::int64_t> heads{7}, queries{5, 900};
  const Tensor<3> out({1, 2, 40});
  WeightsProbe probe(0, heads, queries, out);
  run_probed(p, probe);
  out.for_each([](float x) { EXPECT_EQ(x, 0.0F); });
}

// out may have fewer or more keys than the problem.
TEST(WeightsProbe, OfAnotherLength) {
  Rng rng(3);
  const Problem p = make_problem(rng, {1, 1, 1, 3, 300, 8, 8});
  const Tensor<3> exact({1, 3, 300});
  WeightsProbe same(0, indices(1), indices(3), exact);
  run_probed(p, same);
  for (const std::int64_t kv_len : {0, 1, 256, 299, 301, 700}) {
    const Tensor<3> out({1, 3, kv_len});
    WeightsProbe probe(0, indices(1), indices(3), out);
    run_probed(p, probe);
    for (std::int64_t i = 0; i < 3; ++i) {
      for (std::int64_t j = 0; j < kv_len; ++j) {
        EXPECT_EQ(out.view()(0, i, j), j < 300 ? exact.view()(0, i, j) : 0.0F);
      }
    }
  }
}

// Counts what the protocol promises: tiles of a row ascend, come before finished(), hold a key that
// the rows see.
class ProtocolProbe final : public Probe {
 public:
  explicit ProtocolProbe(const Problem& problem) : problem_(problem) {}

  void tile(const WeightTile& t) noexcept override {
    const std::lock_guard<std::mutex> lock(mutex_);
    bool seen = false;
    for (std::int64_t r = 0; r < t.num_rows; ++r) {
      Row& row = rows_[{t.batch, t.head(r), t.query(r)}];
      in_order_ &= !row.finished && t.kv_begin >= row.next_key;
      row.next_key = t.kv_begin + t.num_keys;
      for (std::int64_t j = 0; j < t.num_keys; ++j) {
        const bool visible =
            problem_.mask.mask.allows(problem_.q_offset.value_or(0) + t.query(r), t.kv_begin + j);
        seen |= visible;
        weights_right_ &= visible || t.weights[r * t.stride + j] == 0.0F;
      }
    }
    needed_ &= seen;
  }
  void finished(const FinishedRows& f) noexcept override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (std::int64_t r = 0; r < f.num_rows; ++r) {
      Row& row = rows_[{f.batch, f.head(r), f.query(r)}];
      in_order_ &= !row.finished;
      row.finished = true;
      num_finished_++;
    }
  }

  bool in_order() const { return in_order_; }
  bool needed() const { return needed_; }
  bool masked_weights_are_zero() const { return weights_right_; }
  std::int64_t num_finished() const { return num_finished_; }

 private:
  struct Row {
    std::int64_t next_key = 0;
    bool finished = false;
  };
  const Problem& problem_;
  std::mutex mutex_;
  std::map<std::array<std::int64_t, 3>, Row> rows_;
  bool in_order_ = true, needed_ = true, weights_right_ = true;
  std::int64_t num_finished_ = 0;
};

TEST(Probe, ReceivesEveryRowInOrderAndNoTileInVain) {
  for (const std::uint64_t seed : trial_seeds(60)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const Problem p = random_problem(rng, 300'000);
    ProtocolProbe probe(p);
    run_probed(p, probe);
    EXPECT_TRUE(probe.in_order()) << p.describe();
    EXPECT_TRUE(probe.needed()) << p.describe();
    EXPECT_TRUE(probe.masked_weights_are_zero()) << p.describe();
    EXPECT_EQ(probe.num_finished(), p.shape.batch * p.shape.num_heads * p.shape.q_len);
  }
}

}  // namespace
}  // namespace regard::test
