// src/exec/merge_tree.h - chunk states merged in a fixed binary tree over the chunk index.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/kernels.h"

namespace regard::exec {

/// A binary counter of states. The state of chunk c enters at level 0 and moves up while bit
/// `level` of c is set, merging with the state that waits there; whatever was skipped, empty or
/// computed elsewhere, two chunks always meet at the same node. So the bits do not depend on how
/// many rows, chunks or calls the work was cut into. Memory: levels(num_chunks) + 1 states, lent by
/// the caller.
class MergeTree {
 public:
  static std::int64_t levels(std::int64_t num_chunks) {
    std::int64_t n = 1;
    while ((std::int64_t{1} << n) < num_chunks) ++n;
    return n + 1;
  }

  MergeTree(std::vector<kernels::State> states, std::int64_t stride)
      : states_(std::move(states)), stride_(stride) {}

  void clear() {
    next_chunk_ = 0;
    occupied_ = 0;
  }

  /// Where the state of the next chunk to be pushed is to be written.
  kernels::State& fresh() { return states_.back(); }

  /// Chunk `chunk` (ascending over calls; those left out saw no key) is in fresh().
  void push(const kernels::KernelTable& k, std::int64_t chunk, std::int64_t rows) {
    skip_to(k, chunk, rows);
    enter(k, rows, true);
  }

  /// The state over all keys, or null when no chunk was pushed. Clears the tree.
  kernels::State* root(const kernels::KernelTable& k, std::int64_t rows) {
    kernels::State* right = nullptr;
    for (std::size_t level = 0; level + 1 < states_.size(); ++level) {
      if (!(occupied_ >> level & 1)) continue;
      if (right != nullptr) k.merge(states_[level], *right, rows, stride_);
      if (right == nullptr) right = &states_[level];
    }
    clear();
    return right;
  }

 private:
  void skip_to(const kernels::KernelTable& k, std::int64_t chunk, std::int64_t rows) {
    if (occupied_ == 0) next_chunk_ = chunk;
    while (next_chunk_ < chunk) enter(k, rows, false);
  }

  /// Moves a state (fresh() if `full`, else an empty one) up from level 0 to where it waits. An
  /// empty one leaves fresh() alone: the state to be pushed after it is already there.
  void enter(const kernels::KernelTable& k, std::int64_t rows, bool full) {
    kernels::State* moving = full ? &fresh() : nullptr;
    std::size_t level = 0;
    for (; next_chunk_ >> level & 1; ++level) {
      if (!(occupied_ >> level & 1)) continue;
      if (moving != nullptr) k.merge(states_[level], *moving, rows, stride_);
      if (moving == nullptr) moving = &states_[level];
      occupied_ &= ~(std::uint64_t{1} << level);
    }
    if (moving != nullptr) {
      std::swap(states_[level], *moving);
      occupied_ |= std::uint64_t{1} << level;
    }
    ++next_chunk_;
  }

  std::vector<kernels::State> states_;  // one per level, and the fresh one
  std::int64_t stride_;
  std::int64_t next_chunk_ = 0;
  std::uint64_t occupied_ = 0;  // bit per level
};

}  // namespace regard::exec
