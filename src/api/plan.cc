// src/api/plan.cc - Plan: arguments checked, then handed on.
#include "regard/plan.h"

#include <cmath>
#include <new>

#include "api/check.h"
#include "exec/run.h"
#include "plan/plan.h"

namespace regard {
namespace {

constexpr std::int64_t kMostExtent = std::int64_t{1}
                                     << 40;  // products of two extents cannot overflow
constexpr std::int64_t kMostDim = 1024;

void check(const AttentionShape& s, const AttentionOptions& o) {
  using namespace api;
  check_range("attention: batch", s.batch, 0, kMostExtent);
  check_range("attention: num_heads", s.num_heads, 1, kMostExtent);
  check_range("attention: num_kv_heads", s.num_kv_heads, 1, kMostExtent);
  check_range("attention: q_len", s.q_len, 0, kMostExtent);
  check_range("attention: kv_len", s.kv_len, 0, kMostExtent);
  check_range("attention: head_dim", s.head_dim, 1, kMostDim);
  check_range("attention: value_dim", s.value_dim, 1, kMostDim);
  if (std::int64_t rows = 0; __builtin_mul_overflow(s.batch * s.num_heads, s.q_len, &rows)) {
    refuse("attention: batch * num_heads * q_len", "too large", "at most 2^63 - 1");
  }
  if (s.num_heads % s.num_kv_heads != 0) {
    refuse("attention: num_heads", std::to_string(s.num_heads),
           "a multiple of num_kv_heads (" + std::to_string(s.num_kv_heads) + ")");
  }
  if (o.scale && !std::isfinite(*o.scale))
    refuse("attention: scale", std::to_string(*o.scale), "a finite number");
  if (o.q_offset) check_range("attention: q_offset", *o.q_offset, -kMostExtent, kMostExtent);
  if (!o.q_offset && !o.mask.is_full() && s.q_len != s.kv_len) {
    refuse("attention: q_offset", "not given",
           "the position of query 0, because q_len (" + std::to_string(s.q_len) +
               ") differs from kv_len (" + std::to_string(s.kv_len) +
               ") and the mask speaks of positions");
  }
  if (!o.kv_lens.empty()) {
    check_equal("attention: kv_lens.size()", static_cast<std::int64_t>(o.kv_lens.size()), s.batch,
                "batch");
    for (std::size_t b = 0; b < o.kv_lens.size(); ++b) {
      check_range("attention: kv_lens[" + std::to_string(b) + "]", o.kv_lens[b], 0, s.kv_len);
    }
  }
}

}  // namespace

Plan::Plan(const AttentionShape& shape, const AttentionOptions& options) {
  check(shape, options);
  impl_ = std::make_shared<const Impl>(shape, options);
}
Plan::~Plan() = default;
Plan::Plan(const Plan&) = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(const Plan&) = default;
Plan& Plan::operator=(Plan&&) noexcept = default;

void Plan::run(InputView<4> query, InputView<4> key, InputView<4> value, OutputView<4> out,
               const RunOptions& options) const {
  const AttentionShape& s = impl_->setup.shape;
  using api::check_view;
  check_view("attention: query", query, {s.batch, s.num_heads, s.q_len, s.head_dim},
             {"batch", "num_heads", "q_len", "head_dim"});
  check_view("attention: key", key, {s.batch, s.num_kv_heads, s.kv_len, s.head_dim},
             {"batch", "num_kv_heads", "kv_len", "head_dim"});
  check_view("attention: value", value, {s.batch, s.num_kv_heads, s.kv_len, s.value_dim},
             {"batch", "num_kv_heads", "kv_len", "value_dim"});
  check_view("attention: out", out, {s.batch, s.num_heads, s.q_len, s.value_dim},
             {"batch", "num_heads", "q_len", "value_dim"});
  if (options.lse) {
    check_view("attention: lse", *options.lse, {s.batch, s.num_heads, s.q_len},
               {"batch", "num_heads", "q_len"});
  }
  if (options.cancel != nullptr && options.cancel->load()) throw Cancelled();
  impl_->run({.query = query,
              .key = key,
              .value = value,
              .out = out,
              .lse = options.lse,
              .state = nullptr,
              .probe = options.probe,
              .cancel = options.cancel,
              .q_offsets = options.q_offsets.empty() ? nullptr : options.q_offsets.data(),
              .kv_lens = options.kv_lens.empty() ? nullptr : options.kv_lens.data()},
             options.workspace);
  if (options.cancel != nullptr && options.cancel->load()) throw Cancelled();
}

std::int64_t Plan::workspace_bytes() const { return impl_->workspace_bytes; }

TileCounts Plan::count_tiles() const { return impl_->count_tiles(); }
std::string Plan::isa() const { return impl_->setup.kernels->isa; }
std::string Plan::explain() const {
  return impl_->explain() + "memory:    " + std::to_string(workspace_bytes() / 1024) +
         " KiB of workspace\n";
}

}  // namespace regard
