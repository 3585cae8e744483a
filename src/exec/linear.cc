// src/exec/linear.cc - packed weights and the product over them.
#include "exec/linear.h"

#include <algorithm>
#include <utility>

#include "exec/float_environment.h"

namespace regard::exec {
namespace {

// A part is kPartRows rows of x times kPartPanels panels: small enough that a short text feeds
// every thread, large enough that a panel, read from L2 or memory, serves many rows. Tuning: cannot
// change bits.
constexpr std::int64_t kPartRows = 192;
// Length of a chain of multiply-adds; the chains' results are added one after another. Part of the
// contract: it decides bits. One chain over all of in_features would be the largest error in a
// model (1.3 times that of transformers in float32; with chains of 128 about half). 12 rows of x
// and a panel of this depth stay in L1.
constexpr std::int64_t kDepth = 128;

}  // namespace

PackedLinear::PackedLinear(PackedWeights weights, std::span<const float> bias)
    : weights_(std::move(weights)), bias_(bias.begin(), bias.end()) {}

void PackedLinear::run(TensorView<const float, 2> x, TensorView<float, 2> y,
                       Executor& executor) const {
  const std::int64_t panel = weights_.panel(), panels = (weights_.out() + panel - 1) / panel;
  const std::int64_t part_rows = std::min(kPartRows, x.shape[0]);
  const std::int64_t row_parts = (x.shape[0] + kPartRows - 1) / kPartRows;
  const std::int64_t column_parts = (panels + kPartPanels - 1) / kPartPanels;
  const std::int64_t floats =
      part_rows * (kDepth + kPartPanels * panel) + weights_.scratch_floats(kDepth);
  std::vector<float> memory(static_cast<std::size_t>(floats * executor.num_threads()));
  executor.parallel_for(row_parts * column_parts, [&](std::int64_t task, int worker) {
    const FloatEnvironment environment;
    const Part part{.row = task % row_parts * kPartRows, .panel = task / row_parts * kPartPanels};
    run_part(part, x, y, memory.data() + worker * floats);
  });
}

void PackedLinear::run_part(const Part& part, TensorView<const float, 2> x, TensorView<float, 2> y,
                            float* memory) const noexcept {
  const std::int64_t in = weights_.in(), out = weights_.out(), panel = weights_.panel();
  const std::int64_t rows = std::min(kPartRows, x.shape[0] - part.row);
  const std::int64_t panels = std::min(kPartPanels, (out + panel - 1) / panel - part.panel);
  float* c = memory + rows * kDepth;
  float* scratch = c + rows * kPartPanels * panel;
  const bool adjacent = x.strides[1] == 1;  // then x is read where it lies
  for (std::int64_t k = 0; k < in; k += kDepth) {
    const std::int64_t depth = std::min(kDepth, in - k);
    for (std::int64_t r = 0; !adjacent && r < rows; ++r) {
      for (std::int64_t i = 0; i < depth; ++i) memory[r * depth + i] = x(part.row + r, k + i);
    }
    weights_.multiply({.a = adjacent ? &x(part.row, k) : memory,
                       .a_stride = adjacent ? x.strides[0] : depth,
                       .rows = rows,
                       .panel = part.panel,
                       .panels = panels,
                       .k = k,
                       .depth = depth,
                       .c = c,
                       .c_stride = kPartPanels * panel,
                       .add = k > 0},
                      scratch);
  }
  const std::int64_t first = part.panel * panel, columns = std::min(panels * panel, out - first);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t j = 0; j < columns; ++j) {
      const float bias = bias_.empty() ? 0.0f : bias_[static_cast<std::size_t>(first + j)];
      y(part.row + r, first + j) = c[r * kPartPanels * panel + j] + bias;
    }
  }
}

}  // namespace regard::exec
