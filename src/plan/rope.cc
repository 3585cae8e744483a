// src/plan/rope.cc - the frequencies of rotary positions, by the formulas of transformers'
// modeling_rope_utils.py.
#include "plan/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace regard::plan {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

std::vector<double> plain(double dim, double base) {
  std::vector<double> f;
  for (double i = 0; i < dim; i += 2) f.push_back(std::pow(base, -i / dim));
  return f;
}

RopeFrequencies scaled(const std::monostate&, double dim, double base) {
  return {plain(dim, base), 1};
}

RopeFrequencies scaled(const RopeLinear& linear, double dim, double base) {
  std::vector<double> f = plain(dim, base);
  for (double& x : f) x /= linear.factor;
  return {f, 1};
}

RopeFrequencies scaled(const RopeNtk& ntk, double dim, double base) {
  return {plain(dim, base * std::pow(ntk.factor, dim / (dim - 2))), 1};
}

RopeFrequencies scaled(const RopeDynamicNtk& ntk, double dim, double base) {
  const double len = static_cast<double>(std::max(ntk.seq_len, ntk.original_max_len));
  const double factor =
      ntk.factor * len / static_cast<double>(ntk.original_max_len) - (ntk.factor - 1);
  return scaled(RopeNtk{factor}, dim, base);
}

/// The index of the pair, a real number, that turns so many times within the original length.
double pair_that_turns(double times, const RopeYarn& yarn, double dim, double base) {
  const double len = static_cast<double>(yarn.original_max_len);
  return dim * std::log(len / (times * kTurn)) / (2 * std::log(base));
}

double yarn_attention_factor(const RopeYarn& yarn) {
  if (yarn.attention_factor) return *yarn.attention_factor;
  const auto m = [&](double mscale) { return 0.1 * mscale * std::log(yarn.factor) + 1; };
  return yarn.mscale != 0 && yarn.mscale_all_dim != 0 ? m(yarn.mscale) / m(yarn.mscale_all_dim)
                                                      : m(1);
}

RopeFrequencies scaled(const RopeYarn& yarn, double dim, double base) {
  double low = pair_that_turns(yarn.beta_fast, yarn, dim, base);
  double high = pair_that_turns(yarn.beta_slow, yarn, dim, base);
  if (yarn.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;  // transformers' way round a division by 0
  std::vector<double> f = plain(dim, base);
  for (std::size_t i = 0; i < f.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    f[i] = f[i] / yarn.factor * ramp + f[i] * (1 - ramp);
  }
  return {f, yarn_attention_factor(yarn)};
}

RopeFrequencies scaled(const RopeLlama3& llama, double dim, double base) {
  const double len = static_cast<double>(llama.original_max_len);
  std::vector<double> f = plain(dim, base);
  for (double& x : f) {
    const double turns = len * x / kTurn;  // within the original length
    const double share =
        (turns - llama.low_freq_factor) / (llama.high_freq_factor - llama.low_freq_factor);
    const double kept = std::clamp(share, 0.0, 1.0);
    x = (1 - kept) * x / llama.factor + kept * x;
  }
  return {f, 1};
}

RopeFrequencies scaled(const RopeFactors& written, double dim, double base) {
  std::vector<double> f = plain(dim, base);
  for (std::size_t i = 0; i < f.size(); ++i) f[i] /= written.factors[i];
  return {f, 1};
}

}  // namespace

RopeFrequencies rope_frequencies(std::int64_t rotary_dim, const RopeOptions& options) {
  const double dim = static_cast<double>(rotary_dim);
  return std::visit([&](const auto& scaling) { return scaled(scaling, dim, options.base); },
                    options.scaling);
}

}  // namespace regard::plan
