// src/model/layers.h - what stands between attention and linear layers: normalisation, activation.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "regard/executor.h"
#include "regard/tensor_view.h"

namespace regard::model {

/// y = weight * (x - mean) / sqrt(variance + eps) + bias over a row.
struct LayerNorm {
  std::vector<float> weight, bias;  // (features)
  double eps = 1e-12;

  /// out[i, :] = the above of a[i, :] + b[i, :]. All (rows, features), last dimension contiguous;
  /// out may be a or b. Computed in double and rounded once.
  void run_sum(TensorView<const float, 2> a, TensorView<const float, 2> b, TensorView<float, 2> out,
               Executor& executor) const;
};

/// An elementwise function.
using Activation = double (*)(double);

/// By its Hugging Face name (hidden_act), or null: gelu (the exact form), gelu_new,
/// gelu_pytorch_tanh, relu.
Activation find_activation(std::string_view name);

/// x[i, k] = activation(x[i, k]), computed in double and rounded once. x (rows, features),
/// contiguous.
void activate(Activation activation, TensorView<float, 2> x, Executor& executor);

}  // namespace regard::model
