// tests/model/layers_test.cc - normalisation and activations against their definitions in double.
#include "model/layers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace regard::model {
namespace {

double gelu(double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double relu(double x) { return std::max(x, 0.0); }

float apply(const char* name, float x) {
  Activation::find(name).value().run({&x, {1, 1}}, serial_executor());
  return x;
}

TEST(Activation, WithinItsPromiseOfTheDefinition) {
  const struct {
    const char* name;
    double (*function)(double);
  } cases[] = {
      {"gelu", gelu}, {"gelu_new", gelu_tanh}, {"gelu_pytorch_tanh", gelu_tanh}, {"relu", relu}};
  for (const auto& c : cases) {
    std::vector<float> x, y;
    for (int i = -120'000; i <= 120'000; ++i) x.push_back(static_cast<float>(i) / 9973.0F);
    for (int exponent = -140; exponent <= 127; ++exponent) {
      x.push_back(std::ldexp(1.3F, exponent));
      x.push_back(-std::ldexp(1.3F, exponent));
    }
    for (const float edge : {-8.0F, 8.0F}) {
      for (const float to : {-100.0F, 100.0F}) x.push_back(std::nextafter(edge, to));
    }
    y = x;
    Activation::find(c.name).value().run({y.data(), {static_cast<std::int64_t>(y.size()), 1}},
                                         default_executor());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double wanted = c.function(x[i]);
      // 1e-9, the rounding to float, and near 0 no more than two roundings of the result.
      const double bound = std::min(1e-9, std::abs(wanted) * 0x1p-22 + 1e-14) +
                           std::abs(wanted) * 0x1p-24 + 0x1p-149;
      ASSERT_LE(std::abs(y[i] - wanted),
                std::abs(x[i]) < 1 ? bound : 1e-9 + std::abs(wanted) * 0x1p-24)
          << c.name << "(" << x[i] << ")";
    }
  }
}

TEST(Activation, SpecialValues) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const char* name : {"gelu", "gelu_new", "relu"}) {
    EXPECT_EQ(apply(name, 0), 0) << name;
    EXPECT_EQ(apply(name, infinity), infinity) << name;
    EXPECT_EQ(apply(name, -infinity), 0) << name;
    EXPECT_TRUE(std::isnan(apply(name, NAN))) << name;
  }
  EXPECT_FALSE(Activation::find("swish"));
  EXPECT_FALSE(Activation::find(""));
}

TEST(LayerNorm, EqualsTheDefinitionForRowsFarFromZero) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const std::size_t features : {1U, 2U, 7U, 8U, 384U, 1000U}) {
    LayerNorm norm{
        .weight = std::vector<float>(features), .bias = std::vector<float>(features), .eps = 1e-5};
    std::vector<float> a(3 * features), b(3 * features), out(3 * features);
    for (float& x : norm.weight) x = normal(random);
    for (float& x : norm.bias) x = normal(random);
    for (float& x : a) x = 1000 + normal(random);  // float32 sums of squares would lose everything
    for (float& x : b) x = normal(random);
    const auto n = static_cast<std::int64_t>(features);
    norm.run_sum(TensorView<const float, 2>(a.data(), {3, n}),
                 TensorView<const float, 2>(b.data(), {3, n}), {out.data(), {3, n}},
                 serial_executor());
    for (std::size_t row = 0; row < 3; ++row) {
      long double mean = 0, variance = 0;
      const auto x = [&](std::size_t k) {
        return static_cast<long double>(a[row * features + k]) +
               static_cast<long double>(b[row * features + k]);
      };
      for (std::size_t k = 0; k < features; ++k) mean += x(k) / static_cast<long double>(features);
      for (std::size_t k = 0; k < features; ++k) {
        variance += (x(k) - mean) * (x(k) - mean) / static_cast<long double>(features);
      }
      for (std::size_t k = 0; k < features; ++k) {
        const long double wanted =
            (x(k) - mean) / std::sqrt(variance + 1e-5L) * norm.weight[k] + norm.bias[k];
        ASSERT_NEAR(out[row * features + k], static_cast<double>(wanted),
                    std::abs(static_cast<double>(wanted)) * 0x1p-24 + 1e-9)
            << features << " features";
      }
    }
  }
}

TEST(LayerNorm, MayWriteOverItsInputAndGivesTheSameBitsForAnyNumberOfThreads) {
  constexpr std::int64_t kRows = 77, kFeatures = 384;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  const LayerNorm norm{.weight = std::vector<float>(kFeatures, 1.5F),
                       .bias = std::vector<float>(kFeatures, 0.25F),
                       .eps = 1e-12};
  std::vector<float> a(kRows * kFeatures), b(a.size()), out(a.size());
  for (float& x : a) x = normal(random);
  for (float& x : b) x = normal(random);
  const TensorView<const float, 2> from_a(a.data(), {kRows, kFeatures}),
      from_b(b.data(), {kRows, kFeatures});
  norm.run_sum(from_a, from_b, {out.data(), {kRows, kFeatures}}, serial_executor());
  const auto pool = make_thread_pool(3);
  norm.run_sum(from_a, from_b, {b.data(), {kRows, kFeatures}}, *pool);
  EXPECT_EQ(out, b);
}

TEST(AllFinite, FindsOneInMany) {
  for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
    std::vector<float> numbers(1001, std::numeric_limits<float>::max());
    EXPECT_TRUE(all_finite(numbers));
    numbers[777] = bad;
    EXPECT_FALSE(all_finite(numbers));
  }
  EXPECT_TRUE(all_finite({}));
}

}  // namespace
}  // namespace regard::model
