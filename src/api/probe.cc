// src/api/probe.cc - WeightsProbe: tiles in, normalised weights out.
#include "regard/probe.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "api/check.h"
#include "exec/tiles.h"

namespace regard {
namespace {

std::vector<std::int64_t> slots_of(const std::string& what, std::span<const std::int64_t> indices) {
  constexpr std::int64_t kMost = std::int64_t{1}
                                 << 24;  // the table of slots grows with the largest
  std::vector<std::int64_t> slots;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const std::string name = what + "[" + std::to_string(i) + "]";
    api::check_range(name, indices[i], 0, kMost);
    const auto index = static_cast<std::size_t>(indices[i]);
    if (index >= slots.size()) slots.resize(index + 1, -1);
    if (slots[index] >= 0)
      api::refuse(name, std::to_string(indices[i]) + " again", "an index without repetition");
    slots[index] = static_cast<std::int64_t>(i);
  }
  return slots;
}

std::int64_t slot_of(const std::vector<std::int64_t>& slots, std::int64_t index) {
  return index < static_cast<std::int64_t>(slots.size()) ? slots[static_cast<std::size_t>(index)]
                                                         : -1;
}

}  // namespace

WeightsProbe::WeightsProbe(std::int64_t batch, std::span<const std::int64_t> heads,
                           std::span<const std::int64_t> queries, TensorView<float, 3> out)
    : batch_(batch),
      head_slot_(slots_of("WeightsProbe: heads", heads)),
      query_slot_(slots_of("WeightsProbe: queries", queries)),
      out_(out),
      chunks_per_row_((out.shape[2] + exec::kChunkKeys - 1) / exec::kChunkKeys) {
  api::check_range("WeightsProbe: batch", batch, 0, std::numeric_limits<std::int64_t>::max());
  api::check_view(
      "WeightsProbe: out", out,
      {static_cast<std::int64_t>(heads.size()), static_cast<std::int64_t>(queries.size()),
       std::max<std::int64_t>(out.shape[2], 0)},
      {"heads.size()", "queries.size()", "kv_len"});
  chunk_max_.resize(static_cast<std::size_t>(out.shape[0] * out.shape[1] * chunks_per_row_));
  for (std::int64_t h = 0; h < out.shape[0]; ++h) {
    for (std::int64_t q = 0; q < out.shape[1]; ++q) {
      for (std::int64_t k = 0; k < out.shape[2]; ++k) out(h, q, k) = 0.0f;
    }
  }
}

/// The place of a row in out, or -1 when it was not asked for.
std::int64_t WeightsProbe::slot(std::int64_t batch, std::int64_t head, std::int64_t query) const {
  const std::int64_t h = slot_of(head_slot_, head), q = slot_of(query_slot_, query);
  return batch == batch_ && h >= 0 && q >= 0 ? h * out_.shape[1] + q : -1;
}

void WeightsProbe::tile(const WeightTile& tile) noexcept {
  if (tile.kv_begin >= out_.shape[2]) return;
  for (std::int64_t r = 0; r < tile.num_rows; ++r) {
    const std::int64_t row = slot(tile.batch, tile.head(r), tile.query(r));
    if (row < 0) continue;
    chunk_max_[static_cast<std::size_t>(row * chunks_per_row_ + tile.kv_begin / exec::kChunkKeys)] =
        tile.row_max[r];
    for (std::int64_t j = 0; j < tile.num_keys && tile.kv_begin + j < out_.shape[2]; ++j) {
      out_(row / out_.shape[1], row % out_.shape[1], tile.kv_begin + j) =
          tile.weights[r * tile.stride + j];
    }
  }
}

void WeightsProbe::finished(const FinishedRows& rows) noexcept {
  for (std::int64_t r = 0; r < rows.num_rows; ++r) {
    const std::int64_t row = slot(rows.batch, rows.head(r), rows.query(r));
    if (row < 0 || rows.sum[r] == 0.0f) continue;
    for (std::int64_t k = 0; k < out_.shape[2]; ++k) {
      float& weight = out_(row / out_.shape[1], row % out_.shape[1], k);
      const float chunk_max =
          chunk_max_[static_cast<std::size_t>(row * chunks_per_row_ + k / exec::kChunkKeys)];
      if (weight != 0.0f) weight *= std::exp(chunk_max - rows.max[r]) / rows.sum[r];
    }
  }
}

}  // namespace regard
