// src/exec/linear.h - packed weights and the product over them.
#pragma once

#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "regard/executor.h"
#include "regard/tensor_view.h"

namespace regard::exec {

/// Rows of a weight matrix packed as keys are.
class PackedLinear {
 public:
  PackedLinear(const kernels::KernelTable& kernels, TensorView<const float, 2> weight,
               std::span<const float> bias);

  std::int64_t in_features() const { return in_; }
  std::int64_t out_features() const { return out_; }

  /// y = x weight^T + bias. Shapes have been checked.
  void run(TensorView<const float, 2> x, TensorView<float, 2> y, Executor& executor) const;

 private:
  /// The first row of x and the first panel of a part of the work.
  struct Part {
    std::int64_t row, panel;
  };
  void run_part(const Part& part, TensorView<const float, 2> x, TensorView<float, 2> y,
                float* memory) const noexcept;

  const kernels::KernelTable* kernels_;
  std::int64_t in_, out_;
  std::vector<float> packed_;  // [panel][in][panel width]
  std::vector<float> bias_;    // (out) or empty
};

}  // namespace regard::exec
