// src/reference/scores.cc - each modifier's formula in double, beside the error it adds.
#include "reference/scores.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <variant>

#include "reference/bound.h"

namespace regard::reference {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Score added(Score s, double bias) {
  return {s.value + bias, bound::rounded(s.value + bias, s.error)};
}

Score apply(const SoftCap& mod, Score s, const Pair&) {
  const double cap = static_cast<double>(mod.cap);
  return {cap * std::tanh(s.value / cap), bound::soft_cap_error(s.value, s.error, cap)};
}

Score apply(const Alibi& mod, Score s, const Pair& pair) {
  const double slope = static_cast<double>(mod.slopes[static_cast<std::size_t>(pair.head)]);
  const double distance = std::abs(static_cast<double>(pair.q_position() - pair.kv_position));
  s.error += bound::alibi_error(slope, distance);
  return added(s, -slope * distance);
}

Score apply(const Bias& mod, Score s, const Pair& pair) {
  std::int64_t index = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    if (mod.values.shape[i] != 1) index += pair.bias_index[i] * mod.values.strides[i];
  }
  const double bias = load(mod.values.data, mod.values.dtype, index);
  if (bias == -kInfinity) return {-kInfinity, 0};  // masked, whatever the score is
  return added(s, bias);
}

Score apply(const RelativeBias& mod, Score s, const Pair& pair) {
  const std::int64_t bucket = relative_bucket(mod, pair.kv_position - pair.q_position());
  const std::size_t index = static_cast<std::size_t>(pair.head * mod.num_buckets + bucket);
  return added(s, static_cast<double>(mod.table[index]));
}

double call(const UserMod& mod, float score, const Pair& pair) {
  const std::int64_t group = pair.heads_per_kv_head;
  mod.apply({.scores = &score,
             .stride = 1,
             .num_rows = 1,
             .num_keys = 1,
             .batch = pair.sequence,
             .kv_head = pair.head / group,
             .heads_per_kv_head = group,
             .row_begin = pair.query * group + pair.head % group,
             .q_offset = pair.q_offset,
             .kv_begin = pair.kv_position});
  return static_cast<double>(score);
}

// Exact as a function of float32 numbers, and monotone over as little as the score's error.
Score apply(const UserMod& mod, Score s, const Pair& pair) {
  const float infinity = std::numeric_limits<float>::infinity();
  const double value = call(mod, static_cast<float>(s.value), pair);
  if (std::isinf(s.value) && s.error == 0) return {value, 0};
  const float low = std::nextafter(static_cast<float>(s.value - s.error), -infinity);
  const float high = std::nextafter(static_cast<float>(s.value + s.error), infinity);
  double error = 0;
  for (const float end : {low, high}) {
    const double other = call(mod, end, pair);
    if (other != value) error = std::max(error, std::abs(other - value));
  }
  return {value, std::isfinite(s.error) ? error : kInfinity};
}

}  // namespace

double load(const void* data, DType dtype, std::int64_t index) {
  switch (dtype) {
    case DType::kBf16:
      return static_cast<double>(static_cast<float>(static_cast<const bf16*>(data)[index]));
    case DType::kF16:
      return static_cast<double>(static_cast<float>(static_cast<const f16*>(data)[index]));
    default:
      return static_cast<double>(static_cast<const float*>(data)[index]);
  }
}

Score modified(Score score, std::span<const ScoreMod> mods, const Pair& pair) {
  for (const ScoreMod& mod : mods) {
    score = std::visit([&](const auto& m) { return apply(m, score, pair); }, mod);
  }
  return score;
}

std::int64_t relative_bucket(const RelativeBias& bias, std::int64_t distance) {
  const std::int64_t buckets = bias.bidirectional ? bias.num_buckets / 2 : bias.num_buckets;
  const std::int64_t first = bias.bidirectional && distance > 0 ? buckets : 0;
  const std::int64_t n =
      bias.bidirectional ? std::abs(distance) : std::max(-distance, std::int64_t{0});
  const std::int64_t exact = buckets / 2;
  if (n < exact) return first + n;
  const double e = static_cast<double>(exact);
  const double steps = static_cast<double>(buckets - exact) * std::log(static_cast<double>(n) / e) /
                       std::log(static_cast<double>(bias.max_distance) / e);
  // A distance at which a bucket begins is in it, whatever the logarithms' last bits are.
  const double whole = std::round(steps);
  const double floor = std::abs(steps - whole) < 1e-9 ? whole : std::floor(steps);
  const double last = static_cast<double>(buckets - 1 - exact);
  return first + exact + static_cast<std::int64_t>(std::min(floor, last));
}

}  // namespace regard::reference
