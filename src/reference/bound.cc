// src/reference/bound.cc - the bound's formulas, numbered as in docs/numerics.md.
#include "reference/bound.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace regard::bound {
namespace {

constexpr double kUnit = 0x1p-24;        // u: float32's unit roundoff
constexpr double kExpError = 4 * kUnit;  // eps_e: exp is within 2 ulp, an ulp is at most 2 u
constexpr double kLogError = 4 * kUnit;  // eps_log: the same for log
constexpr double kFlush = 0x1p-126 * (1 + kExpError);  // phi: exp gives 0 for results below 2^-126
constexpr double kSubnormal = 0x1p-150;                // eta: half the smallest subnormal number
constexpr double kLargest = std::numeric_limits<float>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kChunk = 256;            // keys whose weights share one maximum
constexpr std::int64_t kLanes = 16;             // the sum runs in key mod 16
constexpr std::int64_t kFold = 4;               // log2(kLanes)
constexpr std::int64_t kRoundingsPerMerge = 2;  // multiply by the child's rescale, add

// g(n): n roundings in a row multiply a term by 1 + x, |x| <= g(n) (Higham 2002, lemma 3.1).
double gamma(std::int64_t n) {
  const double nu = static_cast<double>(n) * kUnit;
  return nu / (1 - nu);
}

std::int64_t num_chunks(std::int64_t kv_len) { return (kv_len + kChunk - 1) / kChunk; }

// ceil(log2(chunks)): merges above a leaf of a binary counter's tree.
std::int64_t merge_depth(std::int64_t kv_len) {
  const std::int64_t chunks = std::max<std::int64_t>(num_chunks(kv_len), 1);
  return std::bit_width(static_cast<std::uint64_t>(chunks - 1));
}

double finite_or_infinity(double x) { return std::isfinite(x) ? x : kInfinity; }

}  // namespace

double score_error(double magnitude, double scale, std::int64_t head_dim) {
  const double a = std::abs(scale);
  const double largest = magnitude * (1 + gamma(head_dim + 1)) * std::max(a, 1.0);
  if (!(largest < kLargest)) return kInfinity;
  const double subnormal =
      (a * static_cast<double>(head_dim) * (1 + gamma(head_dim + 1)) + 1) * kSubnormal;
  return gamma(head_dim + 1) * a * magnitude + subnormal;
}

RowError row_error(const ExactRow& row) {
  const std::size_t n = row.score.size();
  const std::int64_t depth = merge_depth(row.kv_len);
  const double exps = static_cast<double>(1 + depth) * -std::log1p(-kExpError);
  RowError error{};
  error.max_shift = *std::max_element(row.score_error.begin(), row.score_error.end());
  const double flushed = kFlush * std::exp(error.max_shift) / row.sum;  // f
  double kept = 0;
  for (std::size_t j = 0; j < n; ++j) {
    const double below = row.max - row.score[j];
    const double x =
        row.score_error[j] + exps + kUnit * (below + row.score_error[j] + error.max_shift);  // x_j
    const double w = row.weight[j];
    // w (e^x - 1); the second form where w is 0 in double.
    const double gained = (w > 0 ? w * std::expm1(x) : std::exp(x - below)) / row.sum;
    error.weight_error.push_back(gained + flushed);
    error.gained += gained;
    kept += w * std::exp(-x) / row.sum;
  }
  error.kept = kept - static_cast<double>(n) * flushed;
  const double g_sum = gamma(kChunk / kLanes + kFold + kRoundingsPerMerge * depth);
  const double g_out = gamma(std::min(kChunk, row.kv_len) + kRoundingsPerMerge * depth);
  error.sum_accumulation = -std::log1p(-g_sum);
  error.accumulation = (1 + g_out) * (1 + gamma(2)) / (1 - g_sum) - 1;
  const double roundings = static_cast<double>(static_cast<std::int64_t>(n) +
                                               kRoundingsPerMerge * num_chunks(row.kv_len) + 2);
  error.underflow = roundings * kSubnormal * (1 + error.accumulation);
  return error;
}

double out_error(const ElementSums& sums, const RowError& error) {
  if (!(sums.values * (1 + error.accumulation) < kLargest)) return kInfinity;
  if (!(error.kept > 0)) return kInfinity;
  return finite_or_infinity((sums.shift + error.accumulation * sums.magnitude) / error.kept +
                            error.underflow);
}

double lse_error(double lse, double log_sum, const RowError& error) {
  if (!(error.kept > 0)) return kInfinity;
  const double sum =
      std::max(std::log1p(error.gained), -std::log(error.kept)) + error.sum_accumulation;
  const double log = sum + kLogError * (log_sum + error.max_shift + sum);
  return finite_or_infinity(log + kUnit * (std::abs(lse) + log) + kSubnormal);
}

}  // namespace regard::bound
