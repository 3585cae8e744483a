// src/reference/bound.h - how far a float32 engine may be from the exact result; derivation in
// docs/numerics.md.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace regard::bound {

/// A row in exact (double) arithmetic, over its visible keys j.
struct ExactRow {
  std::span<const double> score;        ///< s_j
  std::span<const double> score_error;  ///< sigma_j
  std::span<const double> weight;       ///< exp(s_j - max)
  double max;
  double sum;  ///< of weight
  std::int64_t
      kv_len;  ///< keys of the sequence, visible or not: they decide the merge tree's depth
};

/// What the row's weights may lose or gain, in units where the weights sum to 1.
struct RowError {
  std::vector<double> weight_error;  ///< p_j t_j + f
  double gained;                     ///< sum_j p_j t_j
  double kept;                       ///< least possible sum of the perturbed weights
  double max_shift;                  ///< how far the float32 maximum may be from the exact one
  double accumulation;               ///< relative error of the value product and the division
  double sum_accumulation;           ///< relative error of the sum
  double underflow;                  ///< absolute error of roundings to subnormal numbers
};

/// Sums over the visible keys for one output element.
struct ElementSums {
  double shift = 0;      ///< sum_j weight_error_j |v_j - o|
  double magnitude = 0;  ///< sum_j (p_j + weight_error_j) |v_j|
  double values = 0;     ///< sum_j |v_j|
};

/// sigma_j: the error of one score, where magnitude = sum_d |q_d k_d|. Infinite when float32 may
/// overflow.
double score_error(double magnitude, double scale, std::int64_t head_dim);

RowError row_error(const ExactRow& row);

/// The bound of one output element; infinite when float32 may overflow or an input is not finite.
double out_error(const ElementSums& sums, const RowError& error);

/// The bound of lse.
double lse_error(double lse, double log_sum, const RowError& error);

}  // namespace regard::bound
