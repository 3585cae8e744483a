// src/model/layers.cc - what stands between attention and linear layers: normalisation, activation.
#include "model/layers.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>

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

double silu(double x) { return x / (1 + std::exp(-x)); }

double gelu_tanh(double x) {
  const double c = std::sqrt(2 * std::numbers::inv_pi);
  return 0.5 * x * (1 + std::tanh(c * (x + 0.044715 * x * x * x)));
}

// Between nodes a cubic with the
// function's values and slopes errs by kStep^4 / 384 times the fourth derivative (at most 2):
// 4e-10. std::erf takes ten times as long.
constexpr double kNodesPerUnit = 64;
constexpr double kStep = 1 / kNodesPerUnit;

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

void Norm::run(TensorView<const float, 2> x, TensorView<float, 2> out, Executor& executor) const {
  const auto features = static_cast<std::int64_t>(weight.size());
  for_rows(executor, x.shape[0], features, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> row(weight.size());
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::size_t k = 0; k < row.size(); ++k) row[k] = double{x(i, k)};
      const auto n = static_cast<double>(features);
      const double mean = bias.empty() ? 0 : sum(row, [](double v) { return v; }) / n;
      const double square = sum(row, [mean](double v) { return (v - mean) * (v - mean); }) / n;
      const double scale = 1 / std::sqrt(square + eps);
      for (std::size_t k = 0; k < row.size(); ++k) {
        const double shift = bias.empty() ? 0 : double{bias[k]};
        out(i, k) = static_cast<float>((row[k] - mean) * scale * double{weight[k]} + shift);
      }
    }
  });
}

Activation::Activation(double (*function)(double), double end) : end_(end) {
  constexpr double kNear = 1e-5;  // for slopes: their error of 1e-11 is multiplied by kStep
  const int num_nodes = static_cast<int>(2 * end * kNodesPerUnit) + 1;
  for (int i = 0; function != nullptr && i < num_nodes; ++i) {
    const double x = i * kStep - end;
    const double slope = (function(x + kNear) - function(x - kNear)) / (2 * kNear);
    nodes_.push_back({function(x), slope * kStep});
  }
}

std::optional<Activation> Activation::find(std::string_view name) {
  if (name == "gelu") return Activation(gelu, 8);
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation(gelu_tanh, 8);
  if (name == "relu") return Activation(nullptr, 0);
  if (name == "silu") return Activation(silu, 28);
  return std::nullopt;
}

double Activation::operator()(double x) const {
  if (nodes_.empty() || !(x > -end_ && x < end_)) return x > 0 || std::isnan(x) ? x : 0;
  const double place = (x + end_) * kNodesPerUnit;
  const auto index = static_cast<std::size_t>(place);
  const double t = place - static_cast<double>(index);
  const Node& a = nodes_[index];
  const Node& b = nodes_[index + 1];
  const double rise = b.value - a.value;
  const double curve = (1 - t) * (a.slope - rise) + t * (rise - b.slope);
  return a.value + t * (rise + (1 - t) * curve);
}

void Activation::run(TensorView<float, 2> x, Executor& executor) const {
  const std::int64_t features = x.shape[1];
  for_rows(executor, x.shape[0], features, [&](std::int64_t begin, std::int64_t end) {
    for (float* p = x.data + begin * features; p != x.data + end * features; ++p) {
      *p = static_cast<float>((*this)(double{*p}));
    }
  });
}

void Activation::run_gated(TensorView<float, 2> x, TensorView<const float, 2> gate,
                           Executor& executor) const {
  const std::int64_t features = x.shape[1];
  for_rows(executor, x.shape[0], features, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      float* row = &x(i, 0);
      const float* factors = &gate(i, 0);
      for (std::int64_t k = 0; k < features; ++k)
        row[k] = static_cast<float>((*this)(double{row[k]})) * factors[k];
    }
  });
}

bool all_finite(std::span<const float> numbers) {
  constexpr std::uint32_t kExponent = 0x7F800000;  // all ones in infinities and NaN alone
  std::uint32_t found = 0;                         // no early exit: so the loop becomes vector code
  for (const float x : numbers) found |= (std::bit_cast<std::uint32_t>(x) & kExponent) == kExponent;
  return found == 0;
}

}  // namespace regard::model
