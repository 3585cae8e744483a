// src/reference/bound.cc - the bound's formulas, numbered as in docs/numerics.md.
#include "reference/bound.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace regard::bound {
namespace {

constexpr double kUnit = 0x1p-24;         // u: float32's unit roundoff
constexpr double kExpError = 4 * kUnit;   // eps_e: exp is within 2 ulp, an ulp is at most 2 u
constexpr double kExpSlope = kUnit / 16;  // and |x| times this
constexpr double kLogError = 4 * kUnit;   // eps_log: the same for log
constexpr double kTanhError = 8 * kUnit;  // eps_tanh: tanh is within 4 ulp
constexpr double kWeightUnit = 0x1p-8;    // u_p: bf16's unit roundoff
constexpr double kNormal = 0x1p-126;      // the smallest normal number of float32 and bf16
constexpr double kFlush = 0x1p-99;        // phi: a weight loses so much, or all it has
constexpr double kSubnormal = 0x1p-150;   // eta: half the smallest subnormal number
constexpr double kLargest = std::numeric_limits<float>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kChunk = 256;            // keys whose weights share one maximum
constexpr std::int64_t kLanes = 16;             // the sum runs in key mod 16
constexpr std::int64_t kFold = 4;               // log2(kLanes)
constexpr std::int64_t kInt8Roundings = 2;      // of a score or a weight, and of the number itself
constexpr double kInt8Largest = 128;            // |8 bits|
constexpr std::int64_t kRoundingsPerMerge = 2;  // multiply by the child's rescale, add

// g(n): n roundings in a row multiply a term by 1 + x, |x| <= g(n) (Higham 2002, lemma 3.1).
double gamma(std::int64_t n) {
  const double nu = static_cast<double>(n) * kUnit;
  return nu / (1 - nu);
}

// The chunks [first, end) that a sequence's keys lie in.
struct Chunks {
  explicit Chunks(const ExactRow& row)
      : first(row.kv_begin / kChunk), end((row.kv_end + kChunk - 1) / kChunk) {}
  std::int64_t count() const { return end - first; }
  // Merges above a leaf of a binary counter's tree, in which two chunks meet at the level of the
  // highest bit that their indices differ in.
  std::int64_t merge_depth() const {
    return count() <= 1 ? 0 : std::bit_width(static_cast<std::uint64_t>(first ^ (end - 1)));
  }
  std::int64_t first, end;
};

double finite_or_infinity(double x) { return std::isfinite(x) ? x : kInfinity; }

// x_j: the logarithm of a weight is wrong by at most this, after `exps` exps and with the maximum
// wrong by max_shift.
double log_weight_error(double below, double error, double max_shift, std::int64_t exps) {
  return error + static_cast<double>(exps) * -std::log1p(-kExpError) +
         (kUnit + kExpSlope) * (below + error + max_shift);
}

// The nearest multiple, ties to even, of 2^-bits of x's power of two, but of least_step at least.
double round_to_bits(double x, int bits, double least_step) {
  int exponent = 0;
  std::frexp(x, &exponent);
  const double step = std::max(std::ldexp(1.0, exponent - bits), least_step);
  return std::nearbyint(x / step) * step;
}

double round_to(double x, DType dtype) {
  const bool half = dtype == DType::kF16;
  const double y = half ? round_to_bits(x, 11, 0x1p-24) : round_to_bits(x, 8, 0x1p-133);
  const double largest = half ? 65504.0 : 0x1.FEp127;
  return std::abs(y) <= largest ? y : std::copysign(kInfinity, x);
}

}  // namespace

double score_error(const DotSize& size, double scale, std::int64_t head_dim, bool bf16_dots) {
  // An int8 key: the score is multiplied by the row's scale, and the key that the reference has is
  // the product of scale and bits, rounded.
  const std::int64_t roundings = size.row_scale > 0 ? kInt8Roundings : 0;
  const double a = std::abs(scale), dim = static_cast<double>(head_dim),
               g = gamma(head_dim + 1 + roundings);
  // Its 8 bits are what the query meets: without a scale below 1 they may overflow.
  const double products =
      size.row_scale > 0 ? std::max(size.products, size.products / size.row_scale) : size.products;
  const double largest = products * (1 + g) * std::max(a, 1.0);
  if (!(largest < kLargest)) return kInfinity;
  const double flushed =
      bf16_dots ? kNormal * (dim + size.factors) : dim * kSubnormal * std::max(1.0, size.row_scale);
  return g * a * size.products + a * flushed * (1 + g) + kSubnormal * (1 + size.row_scale);
}

double rounded(double value, double error) {
  if (!std::isfinite(error)) return kInfinity;
  if (std::isinf(value)) return 0;  // a number plus an infinite bias
  const double largest = (std::abs(value) + error) * (1 + kUnit);
  if (!(largest < kLargest)) return kInfinity;
  return error + kUnit * (std::abs(value) + error) + kSubnormal;
}

double soft_cap_error(double score, double error, double cap) {
  if (!std::isfinite(error)) return kInfinity;
  const double capped = cap * std::tanh(score / cap);
  double shift = 0;
  if (std::isfinite(score)) {  // tanh is monotone: the ends of the argument's interval decide
    const double off = error + gamma(2) * (std::abs(score) + error) + 2 * kSubnormal * cap;
    shift = std::max(cap * std::tanh((score + off) / cap) - capped,
                     capped - cap * std::tanh((score - off) / cap));
  }
  return rounded(capped, shift + kTanhError * (std::abs(capped) + shift) + 8 * kSubnormal * cap);
}

double alibi_error(double slope, double distance) {
  const double product = std::abs(slope * distance);
  const bool exact = distance <= 0x1p24;  // as a float32 number
  return rounded(product, exact ? 0 : kUnit * product);
}

RowError row_error(const ExactRow& row) {
  const std::size_t n = row.score.size();
  const Chunks chunks(row);
  const std::int64_t depth = chunks.merge_depth() + (row.has_sink ? 1 : 0);
  RowError error{};
  error.max_shift = *std::max_element(row.score_error.begin(), row.score_error.end());
  const double flushed = kFlush * std::exp(error.max_shift) / row.sum;  // f
  double kept = 0;
  for (std::size_t j = 0; j < n; ++j) {
    const double below = row.max - row.score[j], w = row.weight[j];
    const double x = log_weight_error(below, row.score_error[j], error.max_shift, 1 + depth);
    // w (e^x - 1); the second form where w is 0 in double.
    const double gained = (w > 0 ? w * std::expm1(x) : std::exp(x - below)) / row.sum;
    error.weight_error.push_back(gained + flushed);
    error.gained += gained;
    kept += w * std::exp(-x) / row.sum;
  }
  const double keys = static_cast<double>(n);
  error.kept = kept - keys * flushed;
  error.moved = error.gained + keys * flushed;
  const double g_sum = gamma(kChunk / kLanes + kFold + kRoundingsPerMerge * depth);
  const double g_out = gamma(std::min(kChunk, row.kv_end - row.kv_begin) +
                             kRoundingsPerMerge * depth + (row.int8_rows ? kInt8Roundings : 0));
  error.sum_accumulation = -std::log1p(-g_sum);
  error.accumulation = (1 + g_out) * (1 + gamma(2)) / (1 - g_sum) - 1;
  const std::int64_t merges = chunks.count() + (row.has_sink ? 1 : 0);
  const double others = static_cast<double>(kRoundingsPerMerge * merges + 2);
  const double products =
      row.bf16_dots ? 2 * keys * kNormal : keys * kSubnormal * (row.int8_rows ? kInt8Largest : 1);
  error.underflow = (products + others * kSubnormal) * (1 + error.accumulation);
  return error;
}

Rounding any_bf16_rounding() { return {1, kWeightUnit}; }

Rounding bf16_rounding(double below, double error, double max_shift) {
  // Relative to its chunk's maximum, so that the shift does not cancel.
  const double x = max_shift + log_weight_error(below, error, max_shift, 1);
  const double w = std::exp(-below), down = std::exp(-below - x), most = std::exp(x - below);
  if (most < kFlush / 2) return {};  // the weight is 0: nothing is left to round
  if (!(down > 0) || !std::isfinite(most)) return {1, kInfinity};
  const double least = std::max(down - kFlush, 0.0), factor = round_to_bits(w, 8, 0) / w;
  const double more = round_to_bits(most, 8, 0) / down, less = round_to_bits(least, 8, 0) / most;
  return {factor, std::max(more - factor, factor - less)};
}

double out_error(const ElementSums& sums, const RowError& error) {
  if (!(sums.values * (1 + error.accumulation) < kLargest)) return kInfinity;
  if (!(error.kept > 0)) return kInfinity;
  const double softmax = (sums.shift + sums.rounding * error.moved) / error.kept + sums.rounding;
  const double accumulation = error.accumulation * sums.magnitude / error.kept;
  return finite_or_infinity(softmax + accumulation + error.underflow);
}

double stored_error(double out, double error, DType dtype) {
  if (dtype == DType::kF32 || !std::isfinite(error)) return error;
  // The CPU's own conversion to bf16 flushes subnormals.
  if (dtype == DType::kBf16) error += kNormal;
  // Rounding is monotone: the ends of the interval decide.
  const double above = round_to(out + error, dtype) - out,
               below = out - round_to(out - error, dtype);
  return finite_or_infinity(std::max(above, below));
}

double lse_error(double lse, double log_sum, const RowError& error) {
  if (!(error.kept > 0)) return kInfinity;
  const double sum =
      std::max(std::log1p(error.gained), -std::log(error.kept)) + error.sum_accumulation;
  const double log = sum + kLogError * (log_sum + error.max_shift + sum);
  return finite_or_infinity(log + kUnit * (std::abs(lse) + log) + kSubnormal);
}

}  // namespace regard::bound
