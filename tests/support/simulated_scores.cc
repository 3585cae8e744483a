// tests/support/simulated_scores.cc - the modifiers as a straightforward engine would round them.
#include "support/simulated_scores.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>
#include <variant>

namespace regard::test {
namespace {

// The boundaries of the logarithmic buckets counted one by one.
std::int64_t bucket_of(const RelativeBias& bias, std::int64_t distance) {
  const std::int64_t half = bias.num_buckets / 2;
  const std::int64_t buckets = bias.bidirectional ? half : bias.num_buckets, exact = buckets / 2;
  if (!bias.bidirectional) distance = std::min<std::int64_t>(distance, 0);
  const double n = static_cast<double>(std::abs(distance));
  std::int64_t bucket = static_cast<std::int64_t>(std::min(n, static_cast<double>(exact)));
  for (std::int64_t k = 1; k < buckets - exact; ++k) {
    const double ratio = static_cast<double>(bias.max_distance) / static_cast<double>(exact);
    const double share = static_cast<double>(k) / static_cast<double>(buckets - exact);
    const double begin = static_cast<double>(exact) * std::pow(ratio, share);
    bucket += n >= begin * (1 - 1e-12) ? 1 : 0;
  }
  return bucket + (distance > 0 ? half : 0);
}

float load(const InputView<4>& view, std::int64_t at) {
  if (view.dtype == DType::kBf16)
    return static_cast<float>(static_cast<const bf16*>(view.data)[at]);
  if (view.dtype == DType::kF16) return static_cast<float>(static_cast<const f16*>(view.data)[at]);
  return static_cast<const float*>(view.data)[at];
}

struct Modifier {
  const SimulatedPair& pair;
  float score;
  SimulatedArithmetic& arithmetic;

  float operator()(const SoftCap& mod) const {
    return mod.cap * arithmetic.tanh(score * (1 / mod.cap));
  }
  float operator()(const Alibi& mod) const {
    const std::int64_t distance = std::abs(pair.q_offset + pair.query - pair.key);
    const float slope = mod.slopes[static_cast<std::size_t>(pair.head)];
    return arithmetic.multiply_add(-slope, static_cast<float>(distance), score);
  }
  float operator()(const Bias& mod) const {
    const std::array<std::int64_t, 4> index{pair.b, pair.head, pair.i, pair.j};
    std::int64_t at = 0;
    for (std::size_t n = 0; n < 4; ++n) {
      at += (mod.values.shape[n] == 1 ? 0 : index[n]) * mod.values.strides[n];
    }
    return score + load(mod.values, at);
  }
  float operator()(const RelativeBias& mod) const {
    const std::int64_t bucket = bucket_of(mod, pair.key - (pair.q_offset + pair.query));
    return score + mod.table[static_cast<std::size_t>(pair.head * mod.num_buckets + bucket)];
  }
  float operator()(const UserMod& mod) const {
    float result = score;
    mod.apply({&result, 1, 1, 1, pair.sequence, pair.head / pair.group, pair.group,
               pair.query * pair.group + pair.head % pair.group, pair.q_offset, pair.key});
    return result;
  }
};

}  // namespace

float modified(const Problem& problem, bool swapped, const SimulatedPair& pair, float score,
               SimulatedArithmetic& arithmetic) {
  const std::vector<ScoreMod>& mods = problem.score_mods.mods;
  for (std::size_t n = 0; n < mods.size(); ++n) {
    const std::size_t which = swapped && n < 2 && mods.size() > 1 ? 1 - n : n;
    score = std::visit(Modifier{pair, score, arithmetic}, mods[which]);
  }
  return score;
}

}  // namespace regard::test
