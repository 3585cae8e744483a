// src/exec/finish.h - from a state to a result: sinks, division, log-sum-exp; and states put
// together by hand.
#pragma once

#include <optional>
#include <span>

#include "kernels/kernels.h"
#include "regard/state.h"

namespace regard::exec {

/// One row's state; out has `columns` floats. sum = 0: the row saw no key.
struct RowState {
  float max;
  float sum;
  float* out;
  std::int64_t columns;
};

/// The row's head has a sink: one more key, with a score and no value. out of a row that saw no key
/// stays 0.
void add_sink(const kernels::KernelTable& k, float sink, RowState& row) noexcept;

/// out / sum into `to` (elements of `dtype`, to_stride apart).
void write_row(const kernels::KernelTable& k, const RowState& row, void* to, DType dtype,
               std::int64_t to_stride) noexcept;

/// Natural logarithm; -inf for a row that saw no key and has no sink.
float log_sum_exp(const RowState& row) noexcept;

/// right <- left merged with right; the same shape.
void merge_states(const kernels::KernelTable& k, const AttentionState& left, AttentionState& right);

void finish_state(const kernels::KernelTable& k, const AttentionState& state,
                  const OutputView<4>& out, const std::optional<TensorView<float, 3>>& lse,
                  std::span<const float> sinks);

}  // namespace regard::exec
