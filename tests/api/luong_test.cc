// tests/api/luong_test.cc - attention with Luong's dot and general scores against plain loops of
// double.
#include "regard/luong.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "regard/attention.h"
#include "support/isa.h"
#include "support/random.h"

namespace regard::test {
namespace {

std::vector<float> normals(Rng& rng, std::int64_t count) {
  std::vector<float> numbers;
  for (std::int64_t i = 0; i < count; ++i) numbers.push_back(rng.normal());
  return numbers;
}

double at(const std::vector<float>& numbers, std::int64_t i) {
  return static_cast<double>(numbers[static_cast<std::size_t>(i)]);
}

/// softmax_j(q^T W k_j) . v for one query.
std::vector<double> luong(const double* q, const std::vector<float>& w, const std::vector<float>& k,
                          const std::vector<float>& v, std::int64_t q_dim, std::int64_t dim) {
  const std::int64_t keys = static_cast<std::int64_t>(k.size()) / dim;
  std::vector<double> out(static_cast<std::size_t>(dim));
  double sum = 0;
  for (std::int64_t j = 0; j < keys; ++j) {
    double score = 0;
    for (std::int64_t a = 0; a < q_dim; ++a) {
      for (std::int64_t b = 0; b < dim; ++b)
        score += q[a] * at(w, a * dim + b) * at(k, j * dim + b);
    }
    sum += std::exp(score);
    for (std::int64_t e = 0; e < dim; ++e)
      out[static_cast<std::size_t>(e)] += std::exp(score) * at(v, j * dim + e);
  }
  for (double& x : out) x /= sum;
  return out;
}

TEST(Luong, GeneralScore) {
  Rng rng(1);
  const std::int64_t queries = 5, keys = 30, q_dim = 6, dim = 4;
  const std::vector<float> q = normals(rng, queries * q_dim), w = normals(rng, q_dim * dim);
  const std::vector<float> k = normals(rng, keys * dim), v = normals(rng, keys * dim);
  REGARD_FOR_EACH_ISA(isa) {
    std::vector<float> projected(static_cast<std::size_t>(queries * dim)), out = projected;
    luong_general({w.data(), {q_dim, dim}})
        .run({q.data(), {queries, q_dim}}, {projected.data(), {queries, dim}});
    attention({projected.data(), {1, 1, queries, dim}}, {k.data(), {1, 1, keys, dim}},
              {v.data(), {1, 1, keys, dim}}, {out.data(), {1, 1, queries, dim}}, {.scale = 1.0F});
    for (std::int64_t i = 0; i < queries; ++i) {
      std::vector<double> query;
      for (std::int64_t a = 0; a < q_dim; ++a) query.push_back(at(q, i * q_dim + a));
      const std::vector<double> exact = luong(query.data(), w, k, v, q_dim, dim);
      for (std::int64_t e = 0; e < dim; ++e) {
        // Scores of up to some tens, each wrong by some 2^-20: weights by as much, relatively.
        EXPECT_NEAR(at(out, i * dim + e), exact[static_cast<std::size_t>(e)], 1e-4);
      }
    }
  }
}

TEST(Luong, DotScoreIsScaleOne) {
  Rng rng(2);
  const std::int64_t keys = 20, dim = 4;
  const std::vector<float> q = normals(rng, dim), k = normals(rng, keys * dim),
                           v = normals(rng, keys * dim);
  std::vector<float> identity(static_cast<std::size_t>(dim * dim)),
      out(static_cast<std::size_t>(dim));
  for (std::int64_t i = 0; i < dim; ++i) identity[static_cast<std::size_t>(i * dim + i)] = 1;
  attention({q.data(), {1, 1, 1, dim}}, {k.data(), {1, 1, keys, dim}},
            {v.data(), {1, 1, keys, dim}}, {out.data(), {1, 1, 1, dim}}, {.scale = 1.0F});
  const std::vector<double> query(q.begin(), q.end());
  const std::vector<double> exact = luong(query.data(), identity, k, v, dim, dim);
  for (std::int64_t e = 0; e < dim; ++e)
    EXPECT_NEAR(at(out, e), exact[static_cast<std::size_t>(e)], 1e-5);
}

TEST(Luong, AnyStrides) {
  const std::vector<float> w{1, 2, 3, 4, 5, 6};  // (3, 2) stored by columns
  const std::vector<float> x{1, 10, 100};
  std::vector<float> y(2);
  const Linear general = luong_general({w.data(), {3, 2}, {1, 3}});
  EXPECT_EQ(general.in_features(), 3);
  EXPECT_EQ(general.out_features(), 2);
  general.run({x.data(), {1, 3}}, {y.data(), {1, 2}});
  EXPECT_EQ(y, (std::vector<float>{321, 654}));
}

std::string refusal(TensorView<const float, 2> weight) {
  try {
    luong_general(weight);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(Luong, Refusals) {
  const float one = 1;
  EXPECT_EQ(refusal({&one, {0, 1}}), "luong_general: weight.shape[0] is 0, expected 1..2147483648");
  EXPECT_EQ(refusal({&one, {1, -1}}),
            "luong_general: weight.shape[1] is -1, expected 1..2147483648");
  EXPECT_EQ(refusal({nullptr, {1, 1}}),
            "luong_general: weight.data is null, expected a pointer to its elements");
}

}  // namespace
}  // namespace regard::test
