// include/regard/probe.h - looking at attention weights while the engine computes with them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "regard/tensor_view.h"

namespace regard {

/// A tile of weights as the engine holds them, before normalisation. Row r of the tile belongs to
/// query head head(r) and query query(r); its weight for key kv_begin + j is
///     weights[r * stride + j] = exp(score - row_max[r])    (0 for a masked key)
/// where row_max[r] is the largest score of the row in this tile (-inf: the row sees no key of it).
/// Pointers are valid only during the call.
struct WeightTile {
  std::int64_t batch;
  std::int64_t kv_head;
  std::int64_t heads_per_kv_head;
  std::int64_t
      row_begin;  ///< rows of a KV head are numbered query * heads_per_kv_head + head in group
  std::int64_t num_rows;
  std::int64_t kv_begin;
  std::int64_t num_keys;
  const float* weights;
  std::int64_t stride;
  const float* row_max;

  std::int64_t head(std::int64_t r) const {
    return kv_head * heads_per_kv_head + (row_begin + r) % heads_per_kv_head;
  }
  std::int64_t query(std::int64_t r) const { return (row_begin + r) / heads_per_kv_head; }
};

/// Rows whose last tile has been seen. The normalised weight of a key is
///     exp(tile.row_max[r] - max[r]) * tile.weights[...] / sum[r].
/// A row that saw no key has max = -inf and sum = 0.
struct FinishedRows {
  std::int64_t batch;
  std::int64_t kv_head;
  std::int64_t heads_per_kv_head;
  std::int64_t row_begin;
  std::int64_t num_rows;
  const float* max;
  const float* sum;

  std::int64_t head(std::int64_t r) const {
    return kv_head * heads_per_kv_head + (row_begin + r) % heads_per_kv_head;
  }
  std::int64_t query(std::int64_t r) const { return (row_begin + r) / heads_per_kv_head; }
};

/// Receives every computed tile of a run, from the run itself: what a probe sees is what the output
/// was made of, and its presence changes no bit of it. Tiles that no query sees are never computed
/// and never reported. The engine calls from several threads at once. finished() comes after all
/// tiles of its rows; where rows are few, parts of the keys go to different threads, so that tiles
/// of one row may come at once and in any order. `batch` is the index of the sequence. A cancelled
/// run leaves out what it has not computed.
class Probe {
 public:
  virtual ~Probe() = default;
  virtual void tile(const WeightTile& tile) noexcept = 0;
  virtual void finished(const FinishedRows& rows) noexcept = 0;
};

/// Collects normalised weights of one batch entry, for chosen heads and query rows.
class WeightsProbe final : public Probe {
 public:
  /// out has shape (heads.size(), queries.size(), kv_len) and is zeroed here; heads and queries are
  /// indices without repetition. Throws std::invalid_argument on a shape that does not fit, a
  /// negative or a repeated index.
  WeightsProbe(std::int64_t batch, std::span<const std::int64_t> heads,
               std::span<const std::int64_t> queries, TensorView<float, 3> out);

  void tile(const WeightTile& tile) noexcept override;
  void finished(const FinishedRows& rows) noexcept override;

 private:
  std::int64_t slot(std::int64_t batch, std::int64_t head, std::int64_t query) const;

  std::int64_t batch_;
  std::vector<std::int64_t> head_slot_;  // index in out, or -1
  std::vector<std::int64_t> query_slot_;
  TensorView<float, 3> out_;
  std::int64_t chunks_per_row_;
  std::vector<float> chunk_max_;  // (rows of out, chunks)
};

}  // namespace regard
