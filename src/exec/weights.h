// src/exec/weights.h - a weight matrix packed into panels, as floats, halves or blocks of few bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <span>

#include "kernels/kernels.h"
#include "regard/linear.h"

namespace regard::exec {

/// Bytes on a boundary of cache lines: a load of a vector then takes one.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::int64_t size)
      : data_(static_cast<std::byte*>(::operator new(static_cast<std::size_t>(size), kAlignment))),
        size_(size) {}
  std::byte* data() const { return data_.get(); }
  std::int64_t size() const { return size_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(std::byte* p) const { ::operator delete(p, kAlignment); }
  };
  std::unique_ptr<std::byte, Free> data_;
  std::int64_t size_;
};

/// Panels that a part of a linear layer takes together.
inline constexpr std::int64_t kPartPanels = 4;

/// weight (out, in), rows packed as keys are: lanes are rows.
class PackedWeights {
 public:
  PackedWeights(const kernels::KernelTable& kernels, const InputView<2>& weight);
  PackedWeights(const kernels::KernelTable& kernels, const BlockShape& shape,
                const std::function<void(std::int64_t, const BlockRow&)>& read);

  std::int64_t in() const { return in_; }
  std::int64_t out() const { return out_; }
  std::int64_t bytes() const { return packed_.size(); }
  std::int64_t panel() const { return kernels_->panel; }
  /// Floats of scratch that multiply() needs for `depth`.
  std::int64_t scratch_floats(std::int64_t depth) const;

  /// c (rows, panels * panel width) = or += a times the part's columns, depth [k, k + depth).
  struct Part {
    const float* a;
    std::int64_t a_stride, rows;
    std::int64_t panel, panels;  ///< panels <= kPartPanels, panel a multiple of it
    std::int64_t k, depth;
    float* c;
    std::int64_t c_stride;
    bool add;
  };
  void multiply(const Part& part, float* scratch) const noexcept;

  void row(std::int64_t o, std::span<float> to) const;

 private:
  enum class Form : std::uint8_t { kFloats, kHalves, kBlocks };

  void pack_halves(const InputView<2>& weight);
  void pack_block_row(std::int64_t o, const BlockRow& row);
  float element(std::int64_t o, std::int64_t k) const;
  std::int64_t panels() const { return (out_ + kernels_->panel - 1) / kernels_->panel; }
  std::int64_t panel_bytes() const { return in_ / length_ * block_bytes_; }
  std::size_t kind() const { return static_cast<std::size_t>(kind_); }

  const kernels::KernelTable* kernels_;
  std::int64_t in_, out_;
  Form form_;
  DType dtype_ = DType::kF32;                             // of floats and halves
  kernels::BlockKind kind_ = kernels::BlockKind::kHalf4;  // of blocks
  std::int64_t length_ = 1, block_bytes_ = 0;
  AlignedBytes packed_;
};

}  // namespace regard::exec
