// src/reference/bound.h - how far a float32 engine may be from the exact result; derivation in
// docs/numerics.md.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "regard/dtype.h"

namespace regard::bound {

/// What a dot product of D terms adds up.
struct DotSize {
  double products = 0;   ///< sum_d |q_d k_d|
  double factors = 0;    ///< sum_d |q_d| + |k_d|
  double row_scale = 0;  ///< of an int8 key: what its 8 bits are multiplied by; else 0
};

/// sigma_j: the error of one score before modifiers. Infinite when float32 may overflow.
double score_error(const DotSize& size, double scale, std::int64_t head_dim, bool bf16_dots);

/// A number of size |value| that is wrong by up to `error`, after one more rounding to float32.
double rounded(double value, double error);

/// cap * tanh(score / cap) of a score that is wrong by up to `error`.
double soft_cap_error(double score, double error, double cap);

/// slope * distance.
double alibi_error(double slope, double distance);

/// A row in exact (double) arithmetic, over its visible keys j; a sink is one more, the last.
struct ExactRow {
  std::span<const double> score;        ///< s_j
  std::span<const double> score_error;  ///< sigma_j
  std::span<const double> weight;       ///< exp(s_j - max)
  double max;
  double sum;                     ///< of weight
  std::int64_t kv_begin, kv_end;  ///< positions of the sequence's keys, visible or not: they
                                  ///< decide the merge tree's depth
  bool has_sink;
  bool bf16_dots;
  bool int8_rows = false;  ///< values are 8 bits times a scale
};

/// What the row's weights may lose or gain, in units where the weights sum to 1.
struct RowError {
  std::vector<double> weight_error;  ///< p_j t_j + f
  double gained;                     ///< sum_j p_j t_j
  double kept;                       ///< least possible sum of the perturbed weights
  double moved;                      ///< sum_j weight_error_j
  double max_shift;                  ///< how far the float32 maximum may be from the exact one
  double accumulation;               ///< relative error of the value product and the division
  double sum_accumulation;           ///< relative error of the sum
  double underflow;                  ///< absolute error of roundings to subnormal numbers
};

RowError row_error(const ExactRow& row);

/// A weight's last rounding: by which factor the reference changes it, and how far the engine's
/// factor may be from that.
struct Rounding {
  double factor = 1;  ///< rho_j
  double error = 0;   ///< delta_j
};

/// Any rounding of a weight to bf16, when the reference does none.
Rounding any_bf16_rounding();

/// The rounding to bf16 of exp(-below), a weight relative to its chunk's maximum, whose score is
/// wrong by up to `error` and the chunk's maximum by up to `max_shift`.
Rounding bf16_rounding(double below, double error, double max_shift);

/// Sums over the visible keys (and the sink, whose value is 0) for one output element.
struct ElementSums {
  double shift = 0;      ///< sum_j weight_error_j (|rho_j v_j - o| + delta_j |v_j|)
  double rounding = 0;   ///< sum_j p_j delta_j |v_j|
  double magnitude = 0;  ///< sum_j (p_j + weight_error_j) (rho_j + delta_j) |v_j|
  double values = 0;     ///< sum_j |v_j|
};

/// The bound of one float32 output element; infinite when float32 may overflow or an input is not
/// finite.
double out_error(const ElementSums& sums, const RowError& error);

/// The same once the element is rounded to `dtype`.
double stored_error(double out, double error, DType dtype);

/// The bound of lse.
double lse_error(double lse, double log_sum, const RowError& error);

}  // namespace regard::bound
