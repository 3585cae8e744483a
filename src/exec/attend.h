// src/exec/attend.h - the algorithm: one block of query rows over the keys they see.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "exec/merge_tree.h"
#include "exec/score_mods.h"
#include "exec/tiles.h"
#include "kernels/kernels.h"
#include "regard/attention.h"
#include "regard/probe.h"
#include "regard/state.h"

namespace regard::exec {

/// Query rows of a block share packed keys and values. Tuning: cannot change bits.
inline constexpr std::int64_t kBlockStrips = 32;
inline constexpr std::int64_t kBlockRows = kBlockStrips * kStripRows;

/// Where a sequence lies in the tensors.
struct Sequence {
  std::int64_t batch;
  std::int64_t q_begin, q_len;
  std::int64_t kv_begin, kv_len;
  std::int64_t kv_capacity;  ///< keys that it has room for
  std::int64_t q_offset;
};

/// Rows [begin, end), at most kBlockRows of them, of one KV head of a sequence.
struct RowBlock {
  std::int64_t sequence;
  std::int64_t kv_head;
  std::int64_t begin;
  std::int64_t end;
};

/// Everything about a computation that does not depend on the data; decided by the plan.
struct Setup {
  AttentionShape shape;
  float scale;
  std::int64_t kv_offset;  ///< absolute position of key 0, a multiple of kChunkKeys
  std::vector<Sequence> sequences;
  std::vector<RowBlock> blocks;  ///< in the order of starting: the longest first
  std::int64_t block_rows;       ///< rows of the largest
  std::int64_t strip_rows;  ///< rows of a strip: all there are, up to kMostStripRows, or kStripRows
  std::vector<PlannedMod> score_mods;
  std::vector<float> sinks;  ///< (num_heads) or empty
  const TileSource* masks;
  const kernels::KernelTable* kernels;
  const kernels::Arithmetic* arithmetic;

  std::int64_t heads_per_kv_head() const { return shape.num_heads / shape.num_kv_heads; }
  /// n rounded up to whole panels.
  std::int64_t padded(std::int64_t n) const {
    return (n + kernels->panel - 1) / kernels->panel * kernels->panel;
  }
  std::int64_t out_stride() const { return padded(shape.value_dim); }
  /// Chunks of the longest sequence.
  std::int64_t max_chunks() const { return (shape.kv_len + kChunkKeys - 1) / kChunkKeys; }
};

/// Keys or values of all sequences: a tensor, or pages, whose heads and rows lie at the view's
/// strides inside of a page.
struct KvSource : InputView<4> {
  const std::byte* const* const* tables = nullptr;  ///< (sequences); null: a tensor
  std::int64_t page_size = 0;
  std::int64_t offset = 0;        ///< bytes from a page's beginning
  std::int64_t scale_offset = 0;  ///< of the rows' scales (kI8): (num_kv_heads, page_size) float32

  KvSource() = default;
  KvSource(const InputView<4>& view) : InputView(view) {}  // NOLINT(google-explicit-constructor)
};

/// The data of one run; see attention() for shapes.
struct Call {
  InputView<4> query;
  KvSource key, value;
  OutputView<4> out;
  std::optional<TensorView<float, 3>> lse;
  AttentionState* state;  ///< written instead of out and lse, when given
  Probe* probe;
  const std::atomic<bool>* cancel;
  const std::int64_t* q_offsets;  ///< (sequences), instead of the setup's, when given
  const std::int64_t* kv_lens;

  std::int64_t kv_len(const Setup& setup, std::int64_t sequence) const {
    if (kv_lens != nullptr) return kv_lens[sequence];
    const Sequence& planned = setup.sequences[static_cast<std::size_t>(sequence)];
    // A plan serves fewer keys too; of packed sequences the last ones are then cut.
    return std::clamp<std::int64_t>(key.shape[2] - planned.kv_begin, 0, planned.kv_len);
  }

  bool cancelled() const { return cancel != nullptr && cancel->load(std::memory_order_relaxed); }
};

/// A part of the keys, in chunks from the sequence's first: [begin, end), begin a multiple of a
/// power of two that is not smaller than the part, so that its states form a subtree.
struct ChunkRange {
  std::int64_t begin, end;
};

/// What a worker will probably compute next: its first keys and values are asked for while the last
/// ones before them are read. `block` is null where that is not known.
struct NextTask {
  const RowBlock* block = nullptr;
  ChunkRange range = {};
};

/// One worker's memory: pieces of floats(setup) floats, 64-byte aligned.
struct Workspace {
  static std::int64_t floats(const Setup& setup);
  Workspace(const Setup& setup, float* memory);

  float* query;   ///< words of the block's rows: (kBlockRows, words of head_dim)
  float* key;     ///< panels of a chunk: [panel][words of head_dim][panel width]
  float* value;   ///< panels of a chunk: [panel][words of a chunk][panel width]
  float* scores;  ///< (strip rows, kChunkKeys)
  float*
      weights;  ///< the same, for probes: weights that the arithmetic has packed, as floats again
  std::array<MergeTree, kBlockStrips> trees;
  ChunkTiles tiles;
  bool one_strip;                            ///< of the block at hand: nothing packed is used twice
  bool keys_in_place, values_in_place;       ///< the product may read them where they lie
  std::int64_t value_depth;                  ///< words from panel to panel of packed values
  std::uint32_t keys_packed, values_packed;  ///< bit per tile of the chunk at hand
  std::uint32_t values_seen, values_finite;  ///< bit per tile: looked at, and found finite
  kernels::Pages next_keys, next_values;     ///< of the next task, where they lie in pages
  std::int64_t range_end;                    ///< the key position where this one's end
  std::int64_t num_floats;
};

/// Computes the block's rows over a part of their keys and leaves the states in w.trees. Never
/// throws, never allocates.
void attend(const Setup& setup, const Call& call, const RowBlock& block, const ChunkRange& range,
            const NextTask& next, Workspace& w) noexcept;

/// Writes the results of the block's rows from the roots of w.trees.
void store(const Setup& setup, const Call& call, const RowBlock& block, Workspace& w) noexcept;

/// Helpers that both share.
Rows rows_of(const Setup& setup, const Call& call, const RowBlock& block) noexcept;
Rows strip_of(const Setup& setup, const Rows& block, std::int64_t i) noexcept;
inline std::int64_t num_strips(const Setup& setup, const RowBlock& block) {
  return (block.end - block.begin + setup.strip_rows - 1) / setup.strip_rows;
}
void load_queries(const Setup& setup, const Call& call, const Rows& block, float* words) noexcept;
/// Keys [begin, end) of a KV head (absolute positions), as they lie in storage.
kernels::Matrix keys_of(const Setup& setup, const Call& call, const KvSource& source,
                        const Rows& rows, const Tile& keys) noexcept;
/// The first of the key positions from `begin` on that lies in another page, `end` at most.
std::int64_t page_end(const KvSource& source, std::int64_t begin, std::int64_t end) noexcept;
/// scores (kMostStripRows, kChunkKeys) of the tiles times the scales of their keys or values.
void scale_columns(const Setup& setup, const KvSource& source, const Rows& strip,
                   Workspace& w) noexcept;
void report_tile(const Setup& setup, const Call& call, const Rows& strip,
                 const kernels::State& state, Workspace& w) noexcept;

}  // namespace regard::exec
