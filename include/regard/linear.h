// include/regard/linear.h - a linear layer on the engine's score kernel: rows of the weight matrix
// are keys.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "regard/executor.h"
#include "regard/tensor_view.h"

namespace regard {

/// Weights in blocks of few bits, as quantised models have them: `length` neighbours of a row share
/// a scale. 4 bits, 0..15, mean scale * q + offset, in blocks of 32; 8 bits, -128..127, mean scale
/// * q, in blocks of 32 with f16 scales or of 16 with f32 ones. A weight is that number, the
/// product rounded to float32 and then the sum.
struct BlockShape {
  std::int64_t out_features = 0;
  std::int64_t in_features = 0;  ///< a multiple of length
  int bits = 4;
  std::int64_t length = 32;
  DType scale_dtype = DType::kF16;  ///< kF16 (every scale and offset must be one) or kF32
};

/// One row of such a matrix.
struct BlockRow {
  std::span<std::int8_t> q;  ///< (in_features)
  std::span<float> scale;    ///< (in_features / length)
  std::span<float> offset;   ///< the same; of 8 bits empty
};

/// y[i, o] = sum_k x[i, k] * weight[o, k] + bias[o] in float32, whatever the weights are stored as.
/// The bits of a row of y do not depend on the other rows, on the number of threads or on strides.
class Linear {
 public:
  /// weight (out_features, in_features), f32, bf16 or f16, any strides; bias empty or
  /// (out_features). Both are copied (packed, in the type that they have), so the caller may free
  /// them. Throws std::invalid_argument on a bias of the wrong length or an extent below 1.
  Linear(InputView<2> weight, std::span<const float> bias);
  /// Weights that stay in blocks. `read` is called for every row, ascending, and fills it in.
  /// Throws std::invalid_argument for shapes that are not as BlockShape says, and for numbers that
  /// do not fit.
  Linear(const BlockShape& shape,
         const std::function<void(std::int64_t row, const BlockRow& to)>& read,
         std::span<const float> bias);
  ~Linear();
  Linear(Linear&&) noexcept;
  Linear& operator=(Linear&&) noexcept;

  std::int64_t in_features() const;
  std::int64_t out_features() const;
  std::int64_t weight_bytes() const;  ///< in memory

  /// x (rows, in_features), y (rows, out_features), not overlapping. Runs on `executor`, or
  /// default_executor(). Throws std::invalid_argument on a shape that does not fit. Thread safe.
  void run(TensorView<const float, 2> x, TensorView<float, 2> y,
           Executor* executor = nullptr) const;

  /// Row o of the weight matrix, (in_features): tied embeddings are such rows.
  void weight_row(std::int64_t o, std::span<float> row) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace regard
