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

Pace::Pace(const Setup& s, const Call& call, const RowBlock& block,
           kernels::Prefetch& prefetch) noexcept {
  const std::int64_t strips = num_strips(s, block);
  if (strips == 1) return;
  const std::int64_t rows = std::min(block.end - block.begin, s.strip_rows);
  const std::int64_t words = s.arithmetic->words(s.shape.head_dim),
                     tile_words = kTileKeys / s.arithmetic->word;
  // Steps that the kernels take for one tile of keys, and then of values (kernels.h, Meanwhile).
  const std::int64_t row_tiles = ceil_div(rows, s.kernels->tile_rows);
  const std::int64_t step = kernels::step_depth(ceil_div(rows, row_tiles));
  const std::int64_t score_steps = row_tiles * kTileKeys / s.kernels->panel * ceil_div(words, step);
  const std::int64_t value_steps =
      row_tiles * s.out_stride() / s.kernels->panel * ceil_div(tile_words, step);
  const std::int64_t pairs = kTileKeys / 2 * std::max(row_lines(call.key), row_lines(call.value));
  score = {&prefetch, ceil_div(pairs, strips * score_steps)};
  value = {&prefetch, ceil_div(pairs, strips * value_steps)};
}

}  // namespace regard::exec
