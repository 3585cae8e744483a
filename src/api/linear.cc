// src/api/linear.cc - a linear layer on the engine's product kernel.
#include "regard/linear.h"

#include <limits>
#include <vector>

#include "api/check.h"
#include "exec/linear.h"
#include "plan/isa.h"

namespace regard {

struct Linear::Impl {
  exec::PackedLinear packed;
};

Linear::Linear(TensorView<const float, 2> weight, std::span<const float> bias) {
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  api::check_range("Linear: weight.shape[0]", weight.shape[0], 1, kMost);
  api::check_range("Linear: weight.shape[1]", weight.shape[1], 1, kMost);
  if (weight.data == nullptr)
    api::refuse("Linear: weight.data", "null", "a pointer to its elements");
  if (!bias.empty()) {
    api::check_equal("Linear: bias.size()", static_cast<std::int64_t>(bias.size()), weight.shape[0],
                     "out_features");
  }
  impl_ = std::make_unique<Impl>(Impl{exec::PackedLinear(plan::active_table(), weight, bias)});
}
Linear::~Linear() = default;
Linear::Linear(Linear&&) noexcept = default;
Linear& Linear::operator=(Linear&&) noexcept = default;

std::int64_t Linear::in_features() const { return impl_->packed.in_features(); }
std::int64_t Linear::out_features() const { return impl_->packed.out_features(); }

void Linear::run(TensorView<const float, 2> x, TensorView<float, 2> y, Executor* executor) const {
  api::check_range("Linear: x.shape[0]", x.shape[0], 0, std::numeric_limits<std::int64_t>::max());
  api::check_view("Linear: x", x, {x.shape[0], in_features()}, {"rows", "in_features"});
  api::check_view("Linear: y", y, {x.shape[0], out_features()}, {"rows of x", "out_features"});
  if (x.shape[0] == 0) return;
  impl_->packed.run(x, y, executor != nullptr ? *executor : default_executor());
}

}  // namespace regard
