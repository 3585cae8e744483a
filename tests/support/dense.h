// tests/support/dense.h - row-major tensors of any storage type, for tests that compare runs with
// each other bit by bit.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "regard/tensor_view.h"
#include "support/random.h"

namespace regard::test {

/// (B, H, N, D), row-major.
template <class T>
struct Dense {
  std::array<std::int64_t, 4> shape;
  std::vector<T> data;

  explicit Dense(const std::array<std::int64_t, 4>& extents)
      : shape(extents),
        data(static_cast<std::size_t>(extents[0] * extents[1] * extents[2] * extents[3])) {}
  Dense(const std::array<std::int64_t, 4>& extents, Rng& rng) : Dense(extents) {
    for (T& x : data) x = T(rng.normal());
  }

  TensorView<T, 4> view() { return {data.data(), shape}; }
  /// Positions [begin, end) of the third axis.
  TensorView<T, 4> rows(std::int64_t begin, std::int64_t end) {
    TensorView<T, 4> all = view();
    all.data += begin * all.strides[2];
    all.shape[2] = end - begin;
    return all;
  }
  TensorView<const T, 4> rows(std::int64_t begin, std::int64_t end) const {
    return const_cast<Dense*>(this)->rows(begin, end);
  }
  bool operator==(const Dense& other) const {
    return shape == other.shape &&
           std::memcmp(data.data(), other.data.data(), data.size() * sizeof(T)) == 0;
  }
};

}  // namespace regard::test
