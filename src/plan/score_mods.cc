// src/plan/score_mods.cc - score modifiers turned into what exec applies.
#include "plan/score_mods.h"

#include <algorithm>
#include <cmath>

namespace regard::plan {
namespace {

using Distances = std::vector<std::int64_t>;

/// The distance at which each bucket of one direction begins, ascending: L buckets, E = L / 2 of
/// them for the distances 0..E - 1, then bucket E + k from E * (max_distance / E)^(k / (L - E)) on
/// (transformers' T5Attention._relative_position_bucket with the logarithm turned around).
Distances bucket_begins(std::int64_t num_buckets, std::int64_t max_distance) {
  const std::int64_t exact = num_buckets / 2, rest = num_buckets - exact;
  Distances begins;
  for (std::int64_t n = 0; n < exact; ++n) begins.push_back(n);
  const double ratio = static_cast<double>(max_distance) / static_cast<double>(exact);
  for (std::int64_t k = 0; k < rest; ++k) {
    const double share = static_cast<double>(k) / static_cast<double>(rest);
    const double begin = static_cast<double>(exact) * std::pow(ratio, share);
    // Where the power is a whole number, pow may say a little more.
    const double whole = std::round(begin);
    const bool is_whole = std::abs(begin - whole) < 1e-12 * whole;
    begins.push_back(static_cast<std::int64_t>(is_whole ? whole : std::ceil(begin)));
  }
  return begins;
}

std::int64_t bucket_at(const Distances& begins, std::int64_t distance) {
  return std::ranges::upper_bound(begins, distance) - begins.begin() - 1;
}

exec::PlannedMod planned(const RelativeBias& bias, std::int64_t num_heads) {
  const std::int64_t one_side = bias.bidirectional ? bias.num_buckets / 2 : bias.num_buckets;
  const Distances begins = bucket_begins(one_side, bias.max_distance);
  exec::DistanceBias result{.table = {}, .reach = begins.back()};
  for (std::int64_t h = 0; h < num_heads; ++h) {
    for (std::int64_t distance = -result.reach; distance <= result.reach; ++distance) {
      std::int64_t bucket = bucket_at(begins, std::abs(distance));
      if (distance > 0) bucket = bias.bidirectional ? one_side + bucket : 0;
      result.table.push_back(bias.table[static_cast<std::size_t>(h * bias.num_buckets + bucket)]);
    }
  }
  return result;
}

template <class Mod>
exec::PlannedMod planned(const Mod& mod, std::int64_t) {
  return mod;
}

}  // namespace

std::vector<exec::PlannedMod> plan_score_mods(std::span<const ScoreMod> mods,
                                              std::int64_t num_heads) {
  std::vector<exec::PlannedMod> result;
  for (const ScoreMod& mod : mods) {
    result.push_back(std::visit([&](const auto& m) { return planned(m, num_heads); }, mod));
  }
  return result;
}

}  // namespace regard::plan
