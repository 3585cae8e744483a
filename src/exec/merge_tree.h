// src/exec/merge_tree.h - chunk states merged in a fixed binary tree over the chunk index.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <utility>

#include "kernels/kernels.h"

namespace regard::exec {

/// A binary counter of states. The state of chunk c enters at level 0 and moves up while bit
/// `level` of c is set, merging with the state that waits there; whatever was skipped, empty or
/// computed elsewhere, two chunks always meet at the same node. So the bits do not depend on how
/// many rows, chunks or calls the work was cut into. Memory: floats(...) floats, lent by the
/// caller.
class MergeTree {
 public:
  /// What a state's arrays need for `rows` rows of `stride` floats.
  static std::int64_t state_floats(std::int64_t rows, std::int64_t stride) {
    return 2 * padded(rows) + rows * stride;
  }
  static std::int64_t floats(std::int64_t num_chunks, std::int64_t rows, std::int64_t stride) {
    return (levels(num_chunks) + 1) * state_floats(rows, stride);
  }
  static kernels::State state_at(float* memory, std::int64_t rows) {
    return {memory, memory + padded(rows), memory + 2 * padded(rows)};
  }

  MergeTree() = default;
  MergeTree(float* memory, std::int64_t num_chunks, std::int64_t rows, std::int64_t stride)
      : memory_(memory), rows_(rows), stride_(stride), fresh_(levels(num_chunks)) {
    for (std::size_t i = 0; i < place_.size(); ++i) place_[i] = static_cast<std::uint8_t>(i);
  }

  /// Where the state of the next chunk to be pushed is to be written.
  kernels::State fresh() const { return state(fresh_); }

  /// Chunk `chunk` (ascending over calls; those left out saw no key) is in fresh().
  void push(const kernels::KernelTable& k, std::int64_t chunk, std::int64_t rows) {
    if (occupied_ == 0) next_chunk_ = chunk;
    while (next_chunk_ < chunk) enter(k, rows, false);
    enter(k, rows, true);
  }

  /// True when no chunk was pushed.
  bool empty() const { return occupied_ == 0; }

  /// The state over all keys; the tree must not be empty. Clears the tree.
  kernels::State root(const kernels::KernelTable& k, std::int64_t rows) {
    std::int64_t right = std::countr_zero(occupied_);
    for (std::int64_t level = right + 1; occupied_ >> level != 0; ++level) {
      if (occupied_ >> level & 1) {
        k.merge(state(slot(level)), state(slot(right)), rows, stride_);
      }
    }
    occupied_ = 0;
    return state(slot(right));
  }

 private:
  static constexpr std::int64_t padded(std::int64_t rows) { return (rows + 15) / 16 * 16; }
  static std::int64_t levels(std::int64_t num_chunks) {
    std::int64_t n = 1;
    while ((std::int64_t{1} << n) < num_chunks) ++n;
    return n + 1;
  }
  /// The slot of a level. Where the first chunk is not chunk 0, a level may be any: num_chunks
  /// chunks that cross a multiple of 2^n meet above n. But of the levels whose subtrees hold
  /// num_chunks chunks or more only one is ever occupied, and they share the last slot.
  std::int64_t slot(std::int64_t level) const { return std::min(level, fresh_ - 1); }
  kernels::State state(std::int64_t slot) const {
    return state_at(memory_ + place_[static_cast<std::size_t>(slot)] * state_floats(rows_, stride_),
                    rows_);
  }

  /// Moves a state (fresh() if `full`, else an empty one) up from level 0 to where it waits. An
  /// empty one leaves fresh() alone: the state to be pushed after it is already there.
  void enter(const kernels::KernelTable& k, std::int64_t rows, bool full) {
    std::int64_t moving = full ? fresh_ : -1, level = 0;
    for (; next_chunk_ >> level & 1; ++level) {
      if (!(occupied_ >> level & 1)) continue;
      if (moving >= 0) k.merge(state(slot(level)), state(moving), rows, stride_);
      if (moving < 0) moving = slot(level);
      occupied_ &= ~(std::uint64_t{1} << level);
    }
    if (moving >= 0) {
      std::swap(place_[static_cast<std::size_t>(slot(level))],
                place_[static_cast<std::size_t>(moving)]);
      occupied_ |= std::uint64_t{1} << level;
    }
    ++next_chunk_;
  }

  float* memory_ = nullptr;
  std::int64_t rows_ = 0, stride_ = 0;
  std::int64_t fresh_ = 0;  // the last slot: the state that is being computed
  std::int64_t next_chunk_ = 0;
  std::uint64_t occupied_ = 0;               // bit per level
  std::array<std::uint8_t, 48> place_ = {};  // which of the states in memory a slot is
};

}  // namespace regard::exec
