// src/api/c_layers.cc - C: rotary positions and linear layers.
#include <algorithm>

#include "api/c_support.h"
#include "regard/linear.h"
#include "regard/rope.h"

// NOLINTBEGIN(readability-identifier-naming): C's names
struct regard_rope {
  regard::Rope rope;
};

struct regard_linear {
  regard::Linear linear;
};
// NOLINTEND(readability-identifier-naming)

namespace regard::api {
namespace {

/// 0 is the default, which `value` holds.
template <class T>
void set(T& value, T given) {
  if (given != 0) value = given;
}

RopeYarn yarn_of(const regard_rope_options& c) {
  RopeYarn yarn{.original_max_len = c.original_max_len,
                .mscale = c.mscale,
                .mscale_all_dim = c.mscale_all_dim,
                .truncate = c.no_truncate == 0};
  set(yarn.factor, c.factor);
  set(yarn.beta_fast, c.beta_fast);
  set(yarn.beta_slow, c.beta_slow);
  if (c.attention_factor != 0) yarn.attention_factor = c.attention_factor;
  return yarn;
}

RopeLlama3 llama3_of(const regard_rope_options& c) {
  RopeLlama3 llama;
  set(llama.factor, c.factor);
  set(llama.low_freq_factor, c.low_freq_factor);
  set(llama.high_freq_factor, c.high_freq_factor);
  set(llama.original_max_len, c.original_max_len);
  return llama;
}

RopeScaling scaling_of(const regard_rope_options& c) {
  const double factor = c.factor == 0 ? 1 : c.factor;
  switch (c.scaling) {
    case REGARD_ROPE_NO_SCALING:
      return {};
    case REGARD_ROPE_LINEAR:
      return RopeLinear{factor};
    case REGARD_ROPE_NTK:
      return RopeNtk{factor};
    case REGARD_ROPE_DYNAMIC_NTK:
      return RopeDynamicNtk{factor, c.original_max_len, c.seq_len};
    case REGARD_ROPE_YARN:
      return yarn_of(c);
    case REGARD_ROPE_LLAMA3:
      return llama3_of(c);
    default:
      refuse("Rope: scaling", std::to_string(c.scaling), "0..5");
  }
}

RopeOptions rope_options_of(const regard_rope_options* given) {
  const regard_rope_options c = versioned("Rope: options", given);
  check_range("Rope: style", c.style, REGARD_ROPE_HALF_SPLIT, REGARD_ROPE_INTERLEAVED);
  RopeOptions options{
      .style = c.style == REGARD_ROPE_HALF_SPLIT ? RopeStyle::kHalfSplit : RopeStyle::kInterleaved,
      .rotary_dim = c.rotary_dim,
      .scaling = scaling_of(c)};
  set(options.base, c.base);
  return options;
}

Linear linear_of(const float* weight, const float* bias, std::int64_t out_features,
                 std::int64_t in_features) {
  check_range("regard_linear_create: out_features", out_features, 1, std::int64_t{1} << 31);
  check_range("regard_linear_create: in_features", in_features, 1, std::int64_t{1} << 31);
  const std::size_t biases = bias == nullptr ? 0 : static_cast<std::size_t>(out_features);
  return {TensorView<const float, 2>(weight, {out_features, in_features}), {bias, biases}};
}

}  // namespace
}  // namespace regard::api

using namespace regard;  // the C functions are outside of it
using namespace regard::api;

regard_status regard_rope_create(int64_t head_dim, const regard_rope_options* options,
                                 regard_rope** rope) {
  return create("regard_rope_create: rope", rope, [&] {
    return std::make_unique<regard_rope>(regard_rope{Rope(head_dim, rope_options_of(options))});
  });
}

regard_status regard_rope_apply(const regard_rope* rope, const regard_input* x,
                                const regard_output* out, int64_t first_position,
                                regard_executor* executor) {
  return guarded([&] {
    required("regard_rope_apply: rope", rope)
        .rope.apply(input_of("Rope: x", x), output_of("Rope: out", out), first_position,
                    executor_of(executor));
  });
}

regard_status regard_rope_apply_at(const regard_rope* rope, const regard_input* x,
                                   const regard_output* out, const regard_ints* positions,
                                   regard_executor* executor) {
  return guarded([&] {
    required("regard_rope_apply_at: rope", rope)
        .rope.apply(input_of("Rope: x", x), output_of("Rope: out", out),
                    span_of("Rope: positions", required("Rope: positions", positions)),
                    executor_of(executor));
  });
}

void regard_rope_free(regard_rope* rope) { delete rope; }

regard_status regard_linear_create(const float* weight, const float* bias, int64_t out_features,
                                   int64_t in_features, regard_linear** linear) {
  return create("regard_linear_create: linear", linear, [&] {
    return std::make_unique<regard_linear>(
        regard_linear{linear_of(weight, bias, out_features, in_features)});
  });
}

regard_status regard_linear_run(const regard_linear* linear, const float* x, float* y, int64_t rows,
                                regard_executor* executor) {
  return guarded([&] {
    const Linear& layer = required("regard_linear_run: linear", linear).linear;
    check_range("regard_linear_run: rows", rows, 0, std::numeric_limits<std::int64_t>::max());
    check_elements("regard_linear_run: rows * features",
                   {rows, std::max(layer.in_features(), layer.out_features())});
    layer.run({x, {rows, layer.in_features()}}, {y, {rows, layer.out_features()}},
              executor_of(executor));
  });
}

void regard_linear_free(regard_linear* linear) { delete linear; }
