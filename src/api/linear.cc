// src/api/linear.cc - a linear layer on the engine's product kernel.
#include "regard/linear.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "api/check.h"
#include "exec/linear.h"
#include "plan/isa.h"

namespace regard {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 31;

void check_bias(std::span<const float> bias, std::int64_t out_features) {
  if (bias.empty()) return;
  api::check_equal("Linear: bias.size()", std::ssize(bias), out_features, "out_features");
}

void check_block_shape(const BlockShape& s) {
  api::check_range("Linear: out_features", s.out_features, 1, kMost);
  api::check_range("Linear: in_features", s.in_features, 1, kMost);
  if (s.bits != 4 && s.bits != 8) api::refuse("Linear: bits", std::to_string(s.bits), "4 or 8");
  if (s.scale_dtype != DType::kF16 && s.scale_dtype != DType::kF32)
    api::refuse("Linear: scale_dtype", name_of(s.scale_dtype), "f16 or f32");
  const std::int64_t length = s.bits == 8 && s.scale_dtype == DType::kF32 ? 16 : 32;
  api::check_equal("Linear: length", s.length, length, "of these blocks");
  if (s.in_features % length != 0) {
    api::refuse("Linear: in_features", std::to_string(s.in_features),
                "a multiple of " + std::to_string(length));
  }
}

void check_row(const BlockShape& s, std::int64_t o, const BlockRow& row) {
  const auto name = [o](const char* what, std::size_t i) {
    return std::string("Linear: ") + what + "[" + std::to_string(o) + ", " + std::to_string(i) +
           "]";
  };
  for (std::size_t i = 0; s.bits == 4 && i < row.q.size(); ++i) {
    if (row.q[i] < 0 || row.q[i] > 15) api::refuse(name("q", i), std::to_string(row.q[i]), "0..15");
  }
  for (const auto& [what, numbers] :
       {std::pair{"scale", row.scale}, std::pair{"offset", row.offset}}) {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const float x = numbers[i];
      if (!std::isfinite(x)) api::refuse(name(what, i), std::to_string(x), "a finite number");
      if (s.scale_dtype == DType::kF16 && static_cast<float>(f16(x)) != x)
        api::refuse(name(what, i), std::to_string(x), "a number that f16 holds");
    }
  }
}

exec::PackedWeights pack(const InputView<2>& weight) {
  api::check_range("Linear: weight.shape[0]", weight.shape[0], 1, kMost);
  api::check_range("Linear: weight.shape[1]", weight.shape[1], 1, kMost);
  if (weight.dtype == DType::kI8) api::refuse("Linear: weight.dtype", "int8", "f32, bf16 or f16");
  api::check_view("Linear: weight", weight, weight.shape, {"", ""}, weight.dtype);
  return {plan::active_table(), weight};
}

}  // namespace

struct Linear::Impl {
  exec::PackedLinear packed;
};

Linear::Linear(InputView<2> weight, std::span<const float> bias) {
  exec::PackedWeights packed = pack(weight);
  check_bias(bias, packed.out());
  impl_ = std::make_unique<Impl>(Impl{exec::PackedLinear(std::move(packed), bias)});
}

Linear::Linear(const BlockShape& shape,
               const std::function<void(std::int64_t row, const BlockRow& to)>& read,
               std::span<const float> bias) {
  check_block_shape(shape);
  check_bias(bias, shape.out_features);
  exec::PackedWeights packed(plan::active_table(), shape, [&](std::int64_t o, const BlockRow& row) {
    read(o, row);
    check_row(shape, o, row);
  });
  impl_ = std::make_unique<Impl>(Impl{exec::PackedLinear(std::move(packed), bias)});
}

Linear::~Linear() = default;
Linear::Linear(Linear&&) noexcept = default;
Linear& Linear::operator=(Linear&&) noexcept = default;

std::int64_t Linear::in_features() const { return impl_->packed.weights().in(); }
std::int64_t Linear::out_features() const { return impl_->packed.weights().out(); }
std::int64_t Linear::weight_bytes() const { return impl_->packed.weights().bytes(); }

void Linear::run(TensorView<const float, 2> x, TensorView<float, 2> y, Executor* executor) const {
  api::check_range("Linear: x.shape[0]", x.shape[0], 0, std::numeric_limits<std::int64_t>::max());
  api::check_view("Linear: x", x, {x.shape[0], in_features()}, {"rows", "in_features"});
  api::check_view("Linear: y", y, {x.shape[0], out_features()}, {"rows of x", "out_features"});
  if (x.shape[0] == 0) return;
  impl_->packed.run(x, y, executor != nullptr ? *executor : default_executor());
}

void Linear::weight_row(std::int64_t o, std::span<float> row) const {
  api::check_range("Linear: o", o, 0, out_features() - 1);
  api::check_equal("Linear: row.size()", std::ssize(row), in_features(), "in_features");
  impl_->packed.weights().row(o, row);
}

}  // namespace regard
