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

/// Rows that a block of this problem can have.
std::int64_t block_rows(const Setup& s) { return std::min(kBlockRows, s.rows_per_kv_head()); }

std::int64_t num_chunks(const Setup& s) { return (s.shape.kv_len + kChunkKeys - 1) / kChunkKeys; }

}  // namespace

Workspace::Workspace(const Setup& s, float* memory) {
  Carver carver(memory);
  const std::int64_t stride = s.padded(s.shape.value_dim);
  query = carver.take(block_rows(s) * s.shape.head_dim);
  key = carver.take(kChunkKeys * s.shape.head_dim);
  value = carver.take(kChunkKeys * stride);
  scores = carver.take(kStripRows * kChunkKeys);
  for (std::int64_t row = 0; row < block_rows(s); row += kStripRows) {
    std::vector<kernels::State> states(
        static_cast<std::size_t>(MergeTree::levels(num_chunks(s)) + 1));
    for (kernels::State& state : states) {
      state = {carver.take(kStripRows), carver.take(kStripRows), carver.take(kStripRows * stride)};
    }
    trees.emplace_back(std::move(states), stride);
  }
  floats_ = carver.used();
}

std::int64_t Workspace::floats(const Setup& setup) { return Workspace(setup, nullptr).floats_; }

}  // namespace regard::exec
