// src/exec/attend.h - the algorithm: one block of query rows over all keys they see.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "exec/merge_tree.h"
#include "exec/tiles.h"
#include "kernels/kernels.h"
#include "regard/attention.h"
#include "regard/probe.h"

namespace regard::exec {

/// Query rows of a block share packed keys and values. Tuning: cannot change bits.
inline constexpr std::int64_t kBlockRows = 4 * kStripRows;

/// Everything about a computation that does not depend on the data; decided by the plan.
struct Setup {
  AttentionShape shape;
  float scale;
  std::vector<std::int64_t> kv_lens;  ///< (batch)
  const TileSource* masks;
  const kernels::KernelTable* kernels;

  std::int64_t heads_per_kv_head() const { return shape.num_heads / shape.num_kv_heads; }
  /// Query rows of one KV head, numbered query * heads_per_kv_head + head in group.
  std::int64_t rows_per_kv_head() const { return shape.q_len * heads_per_kv_head(); }
  /// value_dim, and the keys of a chunk, rounded up to whole panels.
  std::int64_t padded(std::int64_t n) const {
    return (n + kernels->panel - 1) / kernels->panel * kernels->panel;
  }
};

/// Where the data of one call lies; see attention() for shapes.
struct Tensors {
  TensorView<const float, 4> query, key, value;
  TensorView<float, 4> out;
  std::optional<TensorView<float, 3>> lse;
  Probe* probe = nullptr;
};

/// Rows [row_begin, row_end), at most kBlockRows of them, of one KV head.
struct RowBlock {
  std::int64_t batch;
  std::int64_t kv_head;
  std::int64_t row_begin;
  std::int64_t row_end;
};

/// One worker's memory. Carved from one allocation of Workspace::floats(setup) floats, 64-byte
/// aligned.
class Workspace {
 public:
  static std::int64_t floats(const Setup& setup);
  Workspace(const Setup& setup, float* memory);

  float* query;   ///< (kBlockRows, head_dim)
  float* key;     ///< panels of a chunk: [panel][head_dim][panel width]
  float* value;   ///< panels of a chunk: [panel][kChunkKeys][panel width]
  float* scores;  ///< (kStripRows, kChunkKeys)
  std::array<bool, kChunkTiles> value_is_finite;
  ChunkTiles tiles;
  std::vector<MergeTree> trees;  ///< one per strip of a block

 private:
  std::int64_t floats_;
};

/// Computes out and lse of a block's rows. Never throws, never allocates.
void attend(const Setup& setup, const Tensors& tensors, const RowBlock& block,
            Workspace& w) noexcept;

}  // namespace regard::exec
