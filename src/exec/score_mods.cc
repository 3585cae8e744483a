// src/exec/score_mods.cc - score modifiers as the plan decided them, applied to a strip of scores.
#include "exec/score_mods.h"

#include <algorithm>
#include <cstddef>
#include <limits>

namespace regard::exec {
namespace {

using kernels::KernelTable;

void apply(const SoftCap& mod, const ScoreStrip& strip, const KernelTable& k) noexcept {
  const ScoreTile& tile = strip.tile;
  for (std::int64_t r = 0; r < tile.num_rows; ++r) k.soft_cap(&tile(r, 0), tile.num_keys, mod.cap);
}

void apply(const Alibi& mod, const ScoreStrip& strip, const KernelTable& k) noexcept {
  const ScoreTile& tile = strip.tile;
  for (std::int64_t r = 0; r < tile.num_rows; ++r) {
    const float slope = mod.slopes[static_cast<std::size_t>(tile.head(r))];
    k.alibi(&tile(r, 0), tile.num_keys, slope, tile.q_position(r) - tile.kv_begin);
  }
}

void apply(const Bias& mod, const ScoreStrip& strip, const KernelTable& k) noexcept {
  const ScoreTile& tile = strip.tile;
  const InputView<4>& values = mod.values;
  std::array<std::int64_t, 4> stride = values.strides;
  for (std::size_t i = 0; i < 4; ++i) stride[i] = values.shape[i] == 1 ? 0 : stride[i];
  for (std::int64_t r = 0; r < tile.num_rows; ++r) {
    const std::int64_t query = strip.bias_query + (tile.row_begin + r) / tile.heads_per_kv_head;
    const std::int64_t first = strip.bias_batch * stride[0] + tile.head(r) * stride[1] +
                               query * stride[2] + strip.bias_key * stride[3];
    const auto bytes = first * static_cast<std::int64_t>(size_of(values.dtype));
    k.add_bias[kernels::index(values.dtype)](static_cast<const std::byte*>(values.data) + bytes,
                                             stride[3], tile.num_keys, &tile(r, 0));
  }
}

/// Keys nearer than the reach meet adjacent numbers; those before and after them the first and the
/// last number.
void apply(const DistanceBias& mod, const ScoreStrip& strip, const KernelTable& k) noexcept {
  const ScoreTile& tile = strip.tile;
  const auto add = k.add_bias[kernels::index(DType::kF32)];
  for (std::int64_t r = 0; r < tile.num_rows; ++r) {
    const float* middle = mod.table.data() + tile.head(r) * (2 * mod.reach + 1) + mod.reach;
    const std::int64_t distance = tile.q_position(r) - tile.kv_begin;  // where kv = q
    const std::int64_t begin = std::clamp<std::int64_t>(distance - mod.reach, 0, tile.num_keys);
    const std::int64_t end =
        std::clamp<std::int64_t>(distance + mod.reach + 1, begin, tile.num_keys);
    add(middle - mod.reach, 0, begin, &tile(r, 0));
    if (begin < end) add(middle + (begin - distance), 1, end - begin, &tile(r, begin));
    if (end < tile.num_keys) add(middle + mod.reach, 0, tile.num_keys - end, &tile(r, end));
  }
}

void apply(const UserMod& mod, const ScoreStrip& strip, const KernelTable&) noexcept {
  mod.apply(strip.tile);
}

bool may_mask(const PlannedMod& mod) {
  return std::holds_alternative<Bias>(mod) || std::holds_alternative<UserMod>(mod);
}

}  // namespace

// std::visit throws where a variant holds nothing, which no planned modifier does.
// NOLINTNEXTLINE(bugprone-exception-escape)
bool apply_score_mods(std::span<const PlannedMod> mods, const ScoreStrip& strip,
                      const KernelTable& k) noexcept {
  for (const PlannedMod& mod : mods) {
    std::visit([&](const auto& m) { apply(m, strip, k); }, mod);
  }
  // The final scores decide, not what a modifier did on the way: whether a pair is masked then does
  // not depend on the pairs beside it.
  if (!std::ranges::any_of(mods, may_mask)) return false;
  for (std::int64_t r = 0; r < strip.tile.num_rows; ++r) {
    if (k.has_minus_infinity(&strip.tile(r, 0), strip.tile.num_keys)) return true;
  }
  return false;
}

void hide_masked(const ScoreTile& scores, ChunkTiles& tiles) noexcept {
  for (std::int64_t i = 0; i < tiles.size; ++i) {
    Tile& tile = tiles.tile[static_cast<std::size_t>(i)];
    const std::int64_t offset = tile.kv_begin - tiles.chunk_begin,
                       keys = tile.kv_end - tile.kv_begin;
    const std::uint64_t all = ((std::uint64_t{1} << keys) - 1) << offset % 64;
    const bool was_full = tile.kind == TileKind::kFull;
    if (tile.kv_begin < scores.kv_begin || tile.kv_end > scores.kv_begin + scores.num_keys)
      continue;
    for (std::int64_t r = 0; r < scores.num_rows; ++r) {
      std::uint64_t hidden = 0;
      const float* row = &scores(r, tile.kv_begin - scores.kv_begin);
      for (std::int64_t j = 0; j < keys; ++j) {
        const bool is_masked = row[j] == -std::numeric_limits<float>::infinity();
        hidden |= static_cast<std::uint64_t>(is_masked) << (offset % 64 + j);
      }
      std::uint64_t& bits =
          tiles.bits[static_cast<std::size_t>(offset / 64)][static_cast<std::size_t>(r)];
      bits = (was_full ? bits | all : bits) & ~hidden;
      if (hidden != 0) tile.kind = TileKind::kPartial;
    }
  }
}

}  // namespace regard::exec
