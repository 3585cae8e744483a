// src/api/score_mods.cc - what score modifiers a plan accepts.
#include "api/score_mods.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>

#include "api/check.h"

namespace regard::api {
namespace {

void check_finite(const std::string& what, std::span<const float> numbers) {
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (!std::isfinite(numbers[i]))
      refuse(what + "[" + std::to_string(i) + "]", std::to_string(numbers[i]), "a finite number");
  }
}

void check(const SoftCap& mod, const AttentionShape&, const std::string& what) {
  // Beyond these 2 / cap is no normal number, and the score's rounding not what the bound says.
  if (mod.cap >= 0x1p-126F && mod.cap <= 0x1p126F) return;
  std::ostringstream came;
  came << mod.cap;
  refuse(what + ".cap", came.str(), "2^-126..2^126");
}

void check(const Alibi& mod, const AttentionShape& shape, const std::string& what) {
  check_equal(what + ".slopes.size()", static_cast<std::int64_t>(mod.slopes.size()),
              shape.num_heads, "num_heads");
  check_finite(what + ".slopes", mod.slopes);
}

void check(const Bias& mod, const AttentionShape& s, const std::string& what) {
  const std::array<std::int64_t, 4> wanted{s.batch, s.num_heads, s.q_len, s.kv_len};
  static constexpr std::array<const char*, 4> kNames{"batch", "num_heads", "q_len", "kv_len"};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::int64_t came = mod.values.shape[i];
    if (came == 1 || came == wanted[i]) continue;
    refuse(what + ".values.shape[" + std::to_string(i) + "]", std::to_string(came),
           "1 or " + std::to_string(wanted[i]) + " (" + kNames[i] + ")");
  }
  refuse_int8(what + ".values.dtype", mod.values.dtype);
  check_view((what + ".values").c_str(), mod.values, mod.values.shape, kNames, mod.values.dtype);
}

void check(const RelativeBias& mod, const AttentionShape& shape, const std::string& what) {
  constexpr std::int64_t kMost = std::int64_t{1}
                                 << 20;  // a table by distance holds twice as many numbers per head
  const std::int64_t least = mod.bidirectional ? 4 : 2;
  check_range(what + ".num_buckets", mod.num_buckets, least, kMost);
  if (mod.bidirectional && mod.num_buckets % 2 != 0)
    refuse(what + ".num_buckets", std::to_string(mod.num_buckets),
           "an even number (bidirectional)");
  const std::int64_t exact = mod.num_buckets / least;
  check_range(what + ".max_distance", mod.max_distance, exact + 1, kMost);
  check_equal(what + ".table.size()", static_cast<std::int64_t>(mod.table.size()),
              shape.num_heads * mod.num_buckets, "num_heads * num_buckets");
  check_finite(what + ".table", mod.table);
}

void check(const UserMod& mod, const AttentionShape&, const std::string& what) {
  if (!mod.apply) refuse(what + ".apply", "empty", "a function");
}

}  // namespace

void check_score_mods(std::span<const ScoreMod> mods, const AttentionShape& shape) {
  for (std::size_t i = 0; i < mods.size(); ++i) {
    const std::string what = "attention: score_mods[" + std::to_string(i) + "]";
    std::visit([&](const auto& mod) { check(mod, shape, what); }, mods[i]);
  }
}

bool uses_positions(std::span<const ScoreMod> mods) {
  return std::ranges::any_of(mods, [](const ScoreMod& mod) {
    return !std::holds_alternative<SoftCap>(mod) && !std::holds_alternative<Bias>(mod);
  });
}

}  // namespace regard::api
