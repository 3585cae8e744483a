// src/exec/linear.h - packed weights and the product over them.
#pragma once

#include <span>
#include <vector>

#include "exec/weights.h"
#include "regard/executor.h"
#include "regard/tensor_view.h"

namespace regard::exec {

/// Rows of a weight matrix packed as keys are.
class PackedLinear {
 public:
  PackedLinear(PackedWeights weights, std::span<const float> bias);

  const PackedWeights& weights() const { return weights_; }

  /// y = x weight^T + bias. Shapes have been checked.
  void run(TensorView<const float, 2> x, TensorView<float, 2> y, Executor& executor) const;

 private:
  /// The first row of x and the first panel of a part of the work.
  struct Part {
    std::int64_t row, panel;
  };
  void run_part(const Part& part, TensorView<const float, 2> x, TensorView<float, 2> y,
                float* memory) const noexcept;

  PackedWeights weights_;
  std::vector<float> bias_;  // (out) or empty
};

}  // namespace regard::exec
