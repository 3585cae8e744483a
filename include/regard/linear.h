// include/regard/linear.h - a linear layer on the engine's score kernel: rows of the weight matrix
// are keys.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "regard/executor.h"
#include "regard/tensor_view.h"

namespace regard {

/// y[i, o] = sum_k x[i, k] * weight[o, k] + bias[o], float32. The bits of a row of y do not depend
/// on the other rows, on the number of threads or on strides.
class Linear {
 public:
  /// weight (out_features, in_features), any strides; bias empty or (out_features). Both are copied
  /// (packed), so the caller may free them. Throws std::invalid_argument on a bias of the wrong
  /// length or an extent below 1.
  Linear(TensorView<const float, 2> weight, std::span<const float> bias);
  ~Linear();
  Linear(Linear&&) noexcept;
  Linear& operator=(Linear&&) noexcept;

  std::int64_t in_features() const;
  std::int64_t out_features() const;

  /// x (rows, in_features), y (rows, out_features), not overlapping. Runs on `executor`, or
  /// default_executor(). Throws std::invalid_argument on a shape that does not fit. Thread safe.
  void run(TensorView<const float, 2> x, TensorView<float, 2> y,
           Executor* executor = nullptr) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace regard
