// src/model/projection.h - linear layers side by side: what reads the same rows writes neighbours.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "regard/linear.h"

namespace regard::model {

/// y = (x W_0^T + b_0, x W_1^T + b_1, ...). One layer where all parts are stored alike.
class Projection {
 public:
  explicit Projection(std::vector<Linear> parts) : parts_(std::move(parts)) {}

  /// x (rows, in_features), y (rows, sum of out_features).
  void run(TensorView<const float, 2> x, TensorView<float, 2> y, Executor& executor) const {
    std::int64_t begin = 0;
    for (const Linear& part : parts_) {
      TensorView<float, 2> columns = y;
      columns.data += begin * y.strides[1];
      columns.shape[1] = part.out_features();
      part.run(x, columns, &executor);
      begin += part.out_features();
    }
  }
  std::int64_t weight_bytes() const {
    std::int64_t bytes = 0;
    for (const Linear& part : parts_) bytes += part.weight_bytes();
    return bytes;
  }

 private:
  std::vector<Linear> parts_;
};

}  // namespace regard::model
