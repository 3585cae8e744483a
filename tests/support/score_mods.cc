// tests/support/score_mods.cc - how random score modifiers are drawn.
#include "support/score_mods.h"

#include <cmath>
#include <limits>

namespace regard::test {
namespace {

std::vector<float> random_numbers(Rng& rng, std::int64_t count) {
  std::vector<float> numbers;
  for (std::int64_t n = 0; n < count; ++n) numbers.push_back(rng.normal());
  return numbers;
}

Alibi random_alibi(Rng& rng, std::int64_t heads) {
  Alibi alibi;
  for (std::int64_t h = 0; h < heads; ++h) {
    alibi.slopes.push_back(std::exp2(-static_cast<float>(rng.uniform(0, 8))));
  }
  return alibi;
}

RelativeBias random_relative(Rng& rng, std::int64_t heads) {
  RelativeBias bias;
  bias.bidirectional = rng.chance(0.5);
  bias.num_buckets = 2 * rng.integer(2, 20);
  bias.max_distance = bias.num_buckets + rng.integer(0, 200);
  bias.table = random_numbers(rng, heads * bias.num_buckets);
  return bias;
}

// Elementwise, of head and positions, and not linear in the score.
UserMod user_mod() {
  return {[](const ScoreTile& tile) {
    for (std::int64_t r = 0; r < tile.num_rows; ++r) {
      for (std::int64_t j = 0; j < tile.num_keys; ++j) {
        const std::int64_t distance = tile.q_position(r) - (tile.kv_begin + j);
        const float score = tile(r, j) + 0.125F * static_cast<float>(tile.head(r));
        tile(r, j) = distance % 3 == 0 ? std::max(score, -2.0F) : 0.75F * score;
      }
    }
  }};
}

}  // namespace

Tensor<4> random_bias(Rng& rng, const AttentionShape& s, bool may_mask) {
  std::array<std::int64_t, 4> shape{s.batch, s.num_heads, s.q_len, s.kv_len};
  for (std::int64_t& extent : shape) extent = rng.chance(0.3) ? 1 : extent;
  const DType dtype = rng.pick({DType::kF32, DType::kF32, DType::kBf16, DType::kF16});
  const Tensor<4> bias(shape, random_layout<4>(rng, true), dtype);
  const double masked = may_mask && rng.chance(0.5) ? rng.pick({0.1, 0.9}) : 0;
  bias.for_each([&](float& x) {
    x = rng.chance(masked) ? -std::numeric_limits<float>::infinity() : 2 * rng.normal();
  });
  return bias;
}

NamedMods random_score_mods(Rng& rng, const AttentionShape& shape) {
  NamedMods result;
  const auto add = [&](ScoreMod mod, const char* name) {
    result.mods.push_back(std::move(mod));
    result.name += (result.name.empty() ? "" : ", ") + std::string(name);
  };
  for (std::int64_t left = rng.integer(1, 3); left > 0; --left) {
    switch (rng.integer(0, 4)) {
      case 0:
        add(SoftCap{rng.pick({0.5F, 5.0F, 50.0F})}, "SoftCap");
        break;
      case 1:
        add(random_alibi(rng, shape.num_heads), "Alibi");
        break;
      case 2:
        add(random_relative(rng, shape.num_heads), "RelativeBias");
        break;
      case 3:
        add(user_mod(), "UserMod");
        break;
      default:
        result.biases.push_back(random_bias(rng, shape, left == 1));
        add(Bias{result.biases.back()}, "Bias");
    }
  }
  return result;
}

}  // namespace regard::test
