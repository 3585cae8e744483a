// src/exec/finish.cc - from a state to a result: sinks, division, log-sum-exp; and states put
// together by hand.
#include "exec/finish.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "exec/float_environment.h"

namespace regard::exec {

void add_sink(const kernels::KernelTable& k, float sink, RowState& row) noexcept {
  const bool saw_nothing = row.sum == 0.0f;  // not by max: it is -inf for a row of NaN as well
  const float top = saw_nothing ? sink : std::max(row.max, sink);
  float factors[2] = {saw_nothing ? -std::numeric_limits<float>::infinity() : row.max - top,
                      sink - top};
  k.exp(factors, factors, 2);
  for (std::int64_t e = 0; e < row.columns && !saw_nothing; ++e) row.out[e] *= factors[0];
  row.sum = row.sum * factors[0] + factors[1];
  row.max = top;
}

void write_row(const kernels::KernelTable& k, const RowState& row, void* to, DType dtype,
               std::int64_t to_stride) noexcept {
  k.finish[kernels::index(dtype)](row.out, row.sum == 0.0f ? 1.0f : row.sum, row.columns, to,
                                  to_stride);
}

/// Once per row, so the correctly rounded logarithm is affordable.
float log_sum_exp(const RowState& row) noexcept {
  if (row.sum == 0.0f) return -std::numeric_limits<float>::infinity();
  return static_cast<float>(static_cast<double>(row.max) + std::log(static_cast<double>(row.sum)));
}

/// Row by row through padded copies: the kernel works on whole vectors.
void merge_states(const kernels::KernelTable& k, const AttentionState& left,
                  AttentionState& right) {
  const FloatEnvironment environment;
  constexpr std::size_t kPadded = 16;  // room that the kernel asks for
  const auto columns = static_cast<std::size_t>(left.value_dim), stride = (columns + 31) / 32 * 32;
  std::vector<float> a(2 * kPadded + stride), b(2 * kPadded + stride);
  const auto load = [&](const AttentionState& state, std::size_t row, std::vector<float>& to) {
    to[0] = state.max[row];
    to[kPadded] = state.sum[row];
    std::copy_n(state.out.data() + row * columns, columns, to.data() + 2 * kPadded);
    return kernels::State{to.data(), to.data() + kPadded, to.data() + 2 * kPadded};
  };
  for (std::size_t row = 0; row < left.max.size(); ++row) {
    const kernels::State from = load(left, row, a), to = load(right, row, b);
    k.merge(from, to, 1, static_cast<std::int64_t>(stride));
    right.max[row] = to.max[0];
    right.sum[row] = to.sum[0];
    std::copy_n(to.out, columns, right.out.data() + row * columns);
  }
}

void finish_state(const kernels::KernelTable& k, const AttentionState& state,
                  const OutputView<4>& out, const std::optional<TensorView<float, 3>>& lse,
                  std::span<const float> sinks) {
  const FloatEnvironment environment;
  std::vector<float> values(static_cast<std::size_t>(state.value_dim));
  std::size_t at = 0;
  for (std::int64_t b = 0; b < state.batch; ++b) {
    for (std::int64_t h = 0; h < state.num_heads; ++h) {
      for (std::int64_t i = 0; i < state.q_len; ++i, ++at) {
        std::copy_n(state.out.data() + at * values.size(), values.size(), values.data());
        RowState row{state.max[at], state.sum[at], values.data(), state.value_dim};
        if (!sinks.empty()) add_sink(k, sinks[static_cast<std::size_t>(h)], row);
        const std::int64_t offset = b * out.strides[0] + h * out.strides[1] + i * out.strides[2];
        write_row(k, row,
                  static_cast<std::byte*>(out.data) +
                      offset * static_cast<std::int64_t>(size_of(out.dtype)),
                  out.dtype, out.strides[3]);
        if (lse) (*lse)(b, h, i) = log_sum_exp(row);
      }
    }
  }
}

}  // namespace regard::exec
