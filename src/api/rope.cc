// src/api/rope.cc - Rope: arguments checked, then handed on.
#include "regard/rope.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>
#include <utility>

#include "api/check.h"
#include "exec/float_environment.h"
#include "exec/rope.h"
#include "plan/rope.h"

namespace regard {
namespace {

using api::check_range;
using api::refuse;

constexpr std::int64_t kMostExtent = std::int64_t{1} << 40;

/// Finite and at least `least`, or above it.
void check_number(const char* what, double came, double least, bool may_equal) {
  if (std::isfinite(came) && (came > least || (may_equal && came == least))) return;
  std::ostringstream number, wanted;
  number << came;
  wanted << "a finite number " << (may_equal ? "of at least " : "above ") << least;
  refuse(what, number.str(), wanted.str());
}

void check_wide_enough(std::int64_t rotary_dim) {
  if (rotary_dim < 4)
    refuse("Rope: rotary_dim", std::to_string(rotary_dim), "4 or more (NTK scaling)");
}

void check(const std::monostate&, std::int64_t) {}

void check(const RopeLinear& linear, std::int64_t) {
  check_number("Rope: scaling.factor", linear.factor, 0, false);
}

void check(const RopeNtk& ntk, std::int64_t rotary_dim) {
  check_number("Rope: scaling.factor", ntk.factor, 0, false);
  check_wide_enough(rotary_dim);
}

void check(const RopeDynamicNtk& ntk, std::int64_t rotary_dim) {
  check_number("Rope: scaling.factor", ntk.factor, 1, true);
  check_range("Rope: scaling.original_max_len", ntk.original_max_len, 1, kMostExtent);
  check_range("Rope: scaling.seq_len", ntk.seq_len, 0, kMostExtent);
  check_wide_enough(rotary_dim);
}

void check(const RopeYarn& yarn, std::int64_t) {
  check_number("Rope: scaling.factor", yarn.factor, 1, true);
  check_range("Rope: scaling.original_max_len", yarn.original_max_len, 1, kMostExtent);
  check_number("Rope: scaling.beta_slow", yarn.beta_slow, 0, false);
  check_number("Rope: scaling.beta_fast", yarn.beta_fast, yarn.beta_slow, true);
  if (yarn.attention_factor)
    check_number("Rope: scaling.attention_factor", *yarn.attention_factor, 0, false);
  check_number("Rope: scaling.mscale", yarn.mscale, 0, true);
  check_number("Rope: scaling.mscale_all_dim", yarn.mscale_all_dim, 0, true);
}

void check(const RopeLlama3& llama, std::int64_t) {
  check_number("Rope: scaling.factor", llama.factor, 0, false);
  check_number("Rope: scaling.low_freq_factor", llama.low_freq_factor, 0, false);
  check_number("Rope: scaling.high_freq_factor", llama.high_freq_factor, llama.low_freq_factor,
               false);
  check_range("Rope: scaling.original_max_len", llama.original_max_len, 1, kMostExtent);
}

void check(const RopeFactors& written, std::int64_t rotary_dim) {
  if (std::ssize(written.factors) != rotary_dim / 2)
    refuse("Rope: scaling.factors.size()", std::to_string(written.factors.size()),
           "rotary_dim / 2 (" + std::to_string(rotary_dim / 2) + ")");
  for (const double factor : written.factors)
    check_number("Rope: scaling.factors[]", factor, 0, false);
}

std::int64_t checked_rotary_dim(std::int64_t head_dim, const RopeOptions& options) {
  constexpr std::int64_t kMostDim = 1024;
  check_range("Rope: head_dim", head_dim, 1, kMostDim);
  const std::int64_t rotary_dim = options.rotary_dim == 0 ? head_dim : options.rotary_dim;
  if (rotary_dim < 2 || rotary_dim > head_dim || rotary_dim % 2 != 0) {
    refuse("Rope: rotary_dim", std::to_string(rotary_dim),
           "an even number, 2.." + std::to_string(head_dim));
  }
  check_number("Rope: base", options.base, 1, false);
  std::visit([&](const auto& scaling) { check(scaling, rotary_dim); }, options.scaling);
  return rotary_dim;
}

void check_views(const InputView<4>& x, const OutputView<4>& out, std::int64_t head_dim) {
  for (std::size_t i = 0; i < 3; ++i) {
    check_range("Rope: x.shape[" + std::to_string(i) + "]", x.shape[i], 0, kMostExtent);
  }
  api::refuse_int8("Rope: x.dtype", x.dtype);
  api::refuse_int8("Rope: out.dtype", out.dtype);
  api::check_view("Rope: x", x, {x.shape[0], x.shape[1], x.shape[2], head_dim},
                  {"", "", "", "head_dim"}, x.dtype);
  api::check_view("Rope: out", out, x.shape, {"as x", "as x", "as x", "as x"}, out.dtype);
}

void check_position(const char* what, std::int64_t position) {
  check_range(what, position, -kMostExtent, kMostExtent);
}

void run(const Rope& rope, RopeStyle style, const InputView<4>& x, const OutputView<4>& out,
         const exec::Positions& positions, Executor* executor) {
  if (std::ranges::count(x.shape, 0) != 0) return;
  const std::int64_t pairs = static_cast<std::int64_t>(rope.frequencies().size());
  const bool is_split = style == RopeStyle::kHalfSplit;
  const exec::Rotation rotation{.frequencies = rope.frequencies(),
                                .attention_factor = rope.attention_factor(),
                                .step = is_split ? 1 : 2,
                                .gap = is_split ? pairs : 1};
  exec::rotate(rotation, x, out, positions, executor != nullptr ? *executor : default_executor());
}

}  // namespace

Rope::Rope(std::int64_t head_dim, const RopeOptions& options)
    : head_dim_(head_dim), style_(options.style) {
  const std::int64_t rotary_dim = checked_rotary_dim(head_dim, options);
  const exec::FloatEnvironment environment;
  plan::RopeFrequencies planned = plan::rope_frequencies(rotary_dim, options);
  frequencies_ = std::move(planned.frequencies);
  attention_factor_ = planned.attention_factor;
}

void Rope::apply(InputView<4> x, OutputView<4> out, std::int64_t first_position,
                 Executor* executor) const {
  check_views(x, out, head_dim_);
  check_position("Rope: first_position", first_position);
  check_position("Rope: first_position + N", first_position + x.shape[2]);
  run(*this, style_, x, out, {first_position, {}, false}, executor);
}

void Rope::apply(InputView<4> x, OutputView<4> out, std::span<const std::int64_t> positions,
                 Executor* executor) const {
  check_views(x, out, head_dim_);
  const std::int64_t batch = x.shape[0], tokens = x.shape[2],
                     count = static_cast<std::int64_t>(positions.size());
  const bool per_batch = tokens > 0 && count % tokens == 0 && count / tokens == batch;
  if (count != tokens && !per_batch) {
    refuse("Rope: positions.size()", std::to_string(count),
           "N (" + std::to_string(tokens) + ") or B * N (B = " + std::to_string(batch) + ")");
  }
  for (std::size_t i = 0; i < positions.size(); ++i) {
    if (positions[i] >= -kMostExtent && positions[i] <= kMostExtent) continue;
    check_position(("Rope: positions[" + std::to_string(i) + "]").c_str(), positions[i]);
  }
  run(*this, style_, x, out, {0, positions, per_batch}, executor);
}

}  // namespace regard
