// src/api/plan.cc - Plan: arguments checked, then handed on.
#include "regard/plan.h"

#include "api/call.h"
#include "api/check_attention.h"
#include "plan/plan.h"

namespace regard {

Plan::Plan(const AttentionShape& shape, const AttentionOptions& options) {
  api::check_plan(shape, options);
  impl_ = std::make_shared<const Impl>(shape, options);
}
Plan::~Plan() = default;
Plan::Plan(const Plan&) = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(const Plan&) = default;
Plan& Plan::operator=(Plan&&) noexcept = default;

void Plan::run(InputView<4> query, InputView<4> key, InputView<4> value, OutputView<4> out,
               const RunOptions& options) const {
  exec::Call call = api::call_of(query, key, value, options);
  call.out = out;
  api::check_run(impl_->setup, call, options, impl_->workspace_bytes);
  impl_->run(call, options.workspace);
}

void Plan::run(InputView<4> query, const PagedView& pages, OutputView<4> out,
               const RunOptions& options) const {
  api::check_pages(impl_->setup, pages, options);
  exec::Call call = api::call_of(query, pages, options);
  call.out = out;
  api::check_run(impl_->setup, call, options, impl_->workspace_bytes);
  api::check_evicted(impl_->setup, call, pages);
  impl_->run(call, options.workspace);
}

std::int64_t Plan::workspace_bytes() const { return impl_->workspace_bytes; }

TileCounts Plan::count_tiles() const { return impl_->count_tiles(); }
std::string Plan::isa() const { return impl_->setup.kernels->isa; }
std::string Plan::explain() const { return impl_->explain(nullptr); }
PlanCost Plan::cost() const { return impl_->cost(); }

Prediction Plan::predict(const MachineLimits& limits) const {
  api::check_limits(limits);
  return impl_->predict(limits);
}

std::string Plan::explain(const MachineLimits& limits) const {
  api::check_limits(limits);
  return impl_->explain(&limits);
}

}  // namespace regard
