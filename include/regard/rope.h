// include/regard/rope.h - rotary positions (Su et al. 2021), applied to queries and keys before
// attention.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "regard/executor.h"
#include "regard/tensor_view.h"

namespace regard {

/// Which two elements of a head make pair i of the first R = rotary_dim.
enum class RopeStyle : std::uint8_t {
  kHalfSplit,    ///< i and i + R / 2: Llama, Mistral, Qwen, GPT-NeoX in transformers
  kInterleaved,  ///< 2 i and 2 i + 1: GPT-J, Cohere, Llama's own weights
};

/// f_i / factor.
struct RopeLinear {
  double factor = 1;
};

/// base * factor^(R / (R - 2)) in the place of base.
struct RopeNtk {
  double factor = 1;
};

/// The same with factor * n / original_max_len - (factor - 1) in the place of factor, n =
/// max(seq_len, original_max_len). seq_len is said here and not taken from the tokens at hand,
/// because a token's result must not depend on the others.
struct RopeDynamicNtk {
  double factor = 1;
  std::int64_t original_max_len = 0;
  std::int64_t seq_len = 0;
};

/// Peng et al. 2023. Pairs that turn more than beta_fast times within original_max_len keep f_i,
/// those that turn less than beta_slow times get f_i / factor, between them a ramp. cos and sin are
/// multiplied by attention_factor; not given: by m(factor, 1), or by m(factor, mscale) / m(factor,
/// mscale_all_dim) where both are given, m(x, a) = 0.1 a ln x + 1.
struct RopeYarn {
  double factor = 1;
  std::int64_t original_max_len = 0;
  double beta_fast = 32;
  double beta_slow = 1;
  std::optional<double> attention_factor = {};
  double mscale = 0;  ///< 0: not given, as in transformers
  double mscale_all_dim = 0;
  bool truncate = true;  ///< the ramp's ends rounded outwards to whole pairs
};

/// Llama 3.1: wavelengths beyond original_max_len / low_freq_factor get f_i / factor, those below
/// original_max_len / high_freq_factor keep f_i, between them a mean of both.
struct RopeLlama3 {
  double factor = 8;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  std::int64_t original_max_len = 8192;
};

/// f_i / factors[i], R / 2 of them: any scaling that is written out, as in GGUF's rope_freqs.
struct RopeFactors {
  std::vector<double> factors;
};

using RopeScaling = std::variant<std::monostate, RopeLinear, RopeNtk, RopeDynamicNtk, RopeYarn,
                                 RopeLlama3, RopeFactors>;

struct RopeOptions {
  double base = 10000;
  RopeStyle style = RopeStyle::kHalfSplit;
  /// The first elements of a head are turned, the others copied. Even; 0: all of head_dim.
  std::int64_t rotary_dim = 0;
  RopeScaling scaling = {};
};

/// Turns pair i of a token at position p, (a, b), into (a cos t - b sin t, b cos t + a sin t), t =
/// p f_i, f_i = base^(-2 i / R) or what the scaling makes of it (as transformers'
/// modeling_rope_utils.py, but in double). Immutable, thread safe.
class Rope {
 public:
  /// head_dim 1..1024. Throws std::invalid_argument naming the option, what came and what was
  /// wanted.
  explicit Rope(std::int64_t head_dim, const RopeOptions& options = {});

  std::int64_t head_dim() const { return head_dim_; }
  /// f_i, (rotary_dim / 2).
  std::span<const double> frequencies() const { return frequencies_; }
  /// What cos and sin are multiplied by; 1 but for RopeYarn.
  double attention_factor() const { return attention_factor_; }

  /// x, out (B, H, N, head_dim), each f32, bf16 or f16, any strides. out may be the very view that
  /// x is (then in place), or else must not overlap it. Token n stands at first_position + n,
  /// |position| <= 2^40.
  ///
  /// Angles, cos and sin are double, then rounded to float32 once; the rest is float32 arithmetic,
  /// rounded once more to out's type. A token's bits depend on nothing but itself and its position.
  /// Runs on `executor`, or default_executor(). Throws std::invalid_argument on a view that does
  /// not fit.
  void apply(InputView<4> x, OutputView<4> out, std::int64_t first_position,
             Executor* executor = nullptr) const;

  /// The same with a position per token: (N), or (B, N) row-major.
  void apply(InputView<4> x, OutputView<4> out, std::span<const std::int64_t> positions,
             Executor* executor = nullptr) const;

 private:
  std::int64_t head_dim_;
  RopeStyle style_;
  std::vector<double> frequencies_;
  double attention_factor_;
};

}  // namespace regard
