// src/model/layers.h - what stands between attention and linear layers: normalisation, activation.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
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

/// y = weight * x / sqrt(mean of x^2 + eps), or, with a bias, the layer normalisation of x. All
/// (rows, features), last dimension contiguous; out may be x. Computed in double and rounded once.
struct Norm {
  std::vector<float> weight;  // (features)
  std::vector<float> bias;    // (features), or empty: no mean is taken off
  double eps = 1e-5;

  void run(TensorView<const float, 2> x, TensorView<float, 2> out, Executor& executor) const;
};

/// An elementwise function, smooth or linear: read from a table, with the same bits for the same x
/// always.
class Activation {
 public:
  /// By its Hugging Face name (hidden_act): gelu (the exact form), gelu_new, gelu_pytorch_tanh,
  /// relu, silu.
  static std::optional<Activation> find(std::string_view name);

  /// x[i, k] = f(x[i, k]), within 1e-9 of f and rounded once. x (rows, features), contiguous.
  void run(TensorView<float, 2> x, Executor& executor) const;
  /// x[i, k] = f(x[i, k]) * gate[i, k]; rows contiguous, any row stride.
  void run_gated(TensorView<float, 2> x, TensorView<const float, 2> gate, Executor& executor) const;

 private:
  /// Beyond +-end the function is 0 or x to float32.
  Activation(double (*function)(double), double end);
  double operator()(double x) const;

  struct Node {
    double value, slope;  // slope times the distance of nodes
  };
  double end_;
  std::vector<Node> nodes_;  // empty: relu
};

/// Whether no number is infinite or NaN.
bool all_finite(std::span<const float> numbers);

}  // namespace regard::model
