// src/model/layers.cc - what stands between attention and linear layers: normalisation, activation.
#include "model/layers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <span>

namespace regard::model {
namespace {

/// Calls body(begin, end) for ranges of rows, at once where that pays. A row's bits depend on no
/// other row.
template <class Body>
void for_rows(Executor& executor, std::int64_t rows, std::int64_t work_per_row, const Body& body) {
  // Some 10 us a task: waking a thread costs about as much.
  constexpr std::int64_t kWorkPerTask = 4096;
  const std::int64_t step =
      std::max<std::int64_t>(1, kWorkPerTask / std::max<std::int64_t>(1, work_per_row));
  const std::int64_t tasks = (rows + step - 1) / step;
  if (tasks <= 1) {
    body(std::int64_t{0}, rows);
    return;
  }
  executor.parallel_for(
      tasks, [&](std::int64_t task, int) { body(task * step, std::min(rows, (task + 1) * step)); });
}

/// Sum of f(x) over a row. Eight sums, because one alone would wait for its own last addition.
template <class F>
double sum(std::span<const double> row, const F& f) {
  constexpr std::size_t kLanes = 8;
  std::array<double, kLanes> lanes{};
  for (std::size_t i = 0; i < row.size(); ++i) lanes[i % kLanes] += f(row[i]);
  double total = 0;
  for (const double lane : lanes) total += lane;
  return total;
}

double gelu(double x) { return 0.5 * x * (1 + std::erf(x * (std::numbers::sqrt2 / 2))); }

double gelu_tanh(double x) {
  const double c = std::sqrt(2 * std::numbers::inv_pi);
  return 0.5 * x * (1 + std::tanh(c * (x + 0.044715 * x * x * x)));
}

double relu(double x) { return x > 0 ? x : 0; }

}  // namespace

void LayerNorm::run_sum(TensorView<const float, 2> a, TensorView<const float, 2> b,
                        TensorView<float, 2> out, Executor& executor) const {
  const auto features = static_cast<std::int64_t>(weight.size());
  for_rows(executor, out.shape[0], features, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> row(weight.size());
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::size_t k = 0; k < row.size(); ++k) row[k] = double{a(i, k)} + double{b(i, k)};
      const auto n = static_cast<double>(features);
      const double mean = sum(row, [](double x) { return x; }) / n;
      const double variance = sum(row, [mean](double x) { return (x - mean) * (x - mean); }) / n;
      const double scale = 1 / std::sqrt(variance + eps);
      for (std::size_t k = 0; k < row.size(); ++k) {
        out(i, k) =
            static_cast<float>((row[k] - mean) * scale * double{weight[k]} + double{bias[k]});
      }
    }
  });
}

Activation find_activation(std::string_view name) {
  if (name == "gelu") return gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return gelu_tanh;
  if (name == "relu") return relu;
  return nullptr;
}

void activate(Activation activation, TensorView<float, 2> x, Executor& executor) {
  const std::int64_t features = x.shape[1];
  for_rows(executor, x.shape[0], features, [&](std::int64_t begin, std::int64_t end) {
    for (float* p = x.data + begin * features; p != x.data + end * features; ++p) {
      *p = static_cast<float>(activation(double{*p}));
    }
  });
}

}  // namespace regard::model
