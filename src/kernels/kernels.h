// src/kernels/kernels.h - the kernels as data: one table of function pointers per instruction set.
#pragma once

#include <cstdint>
#include <span>

namespace regard::kernels {

/// Rows of a matrix, as a kernel reads them: element (r, c) lies at data[r * row_stride + c *
/// column_stride].
struct Matrix {
  const float* data;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t row_stride;
  std::int64_t column_stride;
};

/// c[r][j] (+)= sum_k a[r][k] * b[k][j], then times scale; see README.md.
struct Product {
  const float* a;  ///< (rows, depth), rows a_stride apart, columns contiguous
  std::int64_t a_stride;
  std::int64_t rows;
  const float* b;  ///< panels as packed: [panel][b_depth][panel width]; the first `depth` rows of
                   ///< each are used
  std::int64_t b_depth;
  std::int64_t panels;
  std::int64_t depth;
  float* c;  ///< (rows, panels * panel width), rows c_stride apart
  std::int64_t c_stride;
  float scale;
  bool accumulate;   ///< the chains go on from what c holds, instead of from 0
  bool add = false;  ///< the chains begin at 0 and their results are added to what c holds
};

/// Rows of scores that become weights in place, with each row's maximum and sum.
struct Softmax {
  float*
      scores;  ///< (rows, columns), rows `stride` apart; room up to the next multiple of 16 columns
  std::int64_t stride;
  std::int64_t rows;
  std::int64_t columns;
  float* max;
  float* sum;
};

/// The state of some rows over some keys: out[r] = sum_j w_j value_j, sum[r] = sum_j w_j, w_j =
/// exp(score_j - max[r]). A row that saw no key has max = -inf, sum = 0, out = 0.
struct State {
  float* max;
  float* sum;
  float* out;  ///< (rows, out_stride)
};

/// README.md beside this file is the contract of each kernel. All are noexcept and allocate
/// nothing.
struct KernelTable {
  const char* isa;     ///< Highway's name of the target
  std::int64_t panel;  ///< columns of a packed panel; divides 64
  void (*pack_columns)(const Matrix& source, float* packed);
  bool (*pack_rows)(const Matrix& source, std::int64_t packed_depth, float* packed);
  void (*product)(const Product& p);
  void (*mask)(float* scores, std::int64_t columns, std::uint64_t bits);
  void (*softmax)(const Softmax& s);
  void (*merge)(const State& left, const State& right, std::int64_t rows, std::int64_t stride);
  void (*finish)(const State& state, std::int64_t rows, std::int64_t stride);
  void (*exp)(const float* x, float* y,
              std::int64_t n);  ///< for the test of every float; y[i] = exp(x[i]), x <= 0
  double (*fma_peak)(std::int64_t repeats);  ///< floating point operations done by `repeats` rounds
                                             ///< of independent FMAs
};

/// Tables that this CPU can run, best first; the portable one is last. At least one.
std::span<const KernelTable* const> supported_tables();

}  // namespace regard::kernels
