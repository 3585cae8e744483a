// src/exec/workspace.cc - one worker's memory, carved from one allocation.
#include <algorithm>

#include "exec/attend.h"

namespace regard::exec {
namespace {

/// Hands out 64-byte aligned pieces, or only adds up their sizes when there is no memory.
class Carver {
 public:
  explicit Carver(float* memory) : memory_(memory) {}
  float* take(std::int64_t n) {
    float* piece = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += (n + 15) / 16 * 16;
    return piece;
  }
  std::int64_t used() const { return used_; }

 private:
  float* memory_;
  std::int64_t used_ = 0;
};

}  // namespace

Workspace::Workspace(const Setup& s, float* memory) {
  Carver carver(memory);
  const std::int64_t rows = s.block_rows, stride = s.out_stride(), word = s.arithmetic->word;
  const std::int64_t keys =
      std::min((s.shape.kv_len + kTileKeys - 1) / kTileKeys * kTileKeys, kChunkKeys);
  query = carver.take(rows * s.arithmetic->words(s.shape.head_dim));
  key = carver.take(keys * s.arithmetic->words(s.shape.head_dim));
  value = carver.take(kChunkKeys / word * stride);
  scores = carver.take(std::max(s.strip_rows * kChunkKeys, stride));
  weights = word > 1 ? carver.take(s.strip_rows * kChunkKeys) : nullptr;
  for (std::int64_t i = 0; i * s.strip_rows < rows; ++i) {
    const std::int64_t strip_rows = std::min(s.strip_rows, rows - i * s.strip_rows);
    const std::int64_t chunks = std::max<std::int64_t>(s.max_chunks(), 1);
    trees[static_cast<std::size_t>(i)] = MergeTree(
        carver.take(MergeTree::floats(chunks, strip_rows, stride)), chunks, strip_rows, stride);
  }
  num_floats = carver.used();
}

std::int64_t Workspace::floats(const Setup& setup) { return Workspace(setup, nullptr).num_floats; }

}  // namespace regard::exec
