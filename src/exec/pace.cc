// src/exec/pace.cc - how fast the next chunk's keys and values are asked for while this one is
// computed.
#include "exec/pace.h"

#include <algorithm>

#include "exec/attend.h"

namespace regard::exec {
namespace {

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t row_lines(const InputView<4>& tensor) {
  return ceil_div(tensor.shape[3] * static_cast<std::int64_t>(size_of(tensor.dtype)), 64);
}

}  // namespace

Pace::Pace(const Setup& s, const Call& call, const RowBlock& block, bool values_in_place,
           kernels::Prefetch& prefetch) noexcept {
  const std::int64_t rows = std::min(block.end - block.begin, s.strip_rows),
                     strips = num_strips(s, block);
  const std::int64_t words = s.arithmetic->words(s.shape.head_dim),
                     tile_words = kTileKeys / s.arithmetic->word;
  // Steps that the kernels take for one tile of keys, and then of values (kernels.h, Meanwhile).
  const std::int64_t panels_at_once = rows <= 2 ? 4 : rows <= 6 ? 2 : 1;
  const std::int64_t step = kernels::step_depth(rows);
  const std::int64_t row_tiles = ceil_div(rows, 12);
  const std::int64_t score_steps = row_tiles * kTileKeys / s.kernels->panel * ceil_div(words, step);
  const std::int64_t value_steps = row_tiles *
                                   ceil_div(s.out_stride() / s.kernels->panel, panels_at_once) *
                                   ceil_div(tile_words, step);
  const std::int64_t pairs = kTileKeys / 2 * std::max(row_lines(call.key), row_lines(call.value));
  if (strips > 1) {
    score = {&prefetch, ceil_div(pairs, strips * score_steps)};
    value = {&prefetch, ceil_div(pairs, strips * value_steps)};
    return;
  }
  // A row takes a cycle per line of keys or values, packing about six.
  constexpr std::int64_t kPackRows = 6;
  const std::int64_t in_product = pairs * rows / (rows + kPackRows), in_pack = pairs - in_product;
  score = {&prefetch, ceil_div(in_product, score_steps)};
  value = {&prefetch, ceil_div(values_in_place ? pairs : in_product, value_steps)};
  pack_keys = {&prefetch, ceil_div(in_pack, 2 * ceil_div(words, 16))};
  pack_values = {&prefetch, ceil_div(in_pack, kTileKeys / 2)};
}

}  // namespace regard::exec
