// src/exec/weights.cc - a weight matrix packed into panels, as floats, halves or blocks of few
// bits.
#include "exec/weights.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace regard::exec {
namespace {

using kernels::BlockKind;
using kernels::index;

// Up to so many rows multiply blocks as they are; more unpack them first, once for all.
constexpr std::int64_t kFewRows = 4;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

BlockKind kind_of(const BlockShape& shape) {
  if (shape.bits == 4)
    return shape.scale_dtype == DType::kF16 ? BlockKind::kHalf4 : BlockKind::kFloat4;
  return shape.scale_dtype == DType::kF16 ? BlockKind::kHalf8 : BlockKind::kFloat8;
}

bool has_half_scales(BlockKind kind) {
  return kind == BlockKind::kHalf4 || kind == BlockKind::kHalf8;
}
bool has_4_bits(BlockKind kind) { return kind == BlockKind::kHalf4 || kind == BlockKind::kFloat4; }

/// Where the parts of a block of a panel lie (kernels/blocks-inl.h).
struct BlockLayout {
  BlockLayout(BlockKind kind, std::int64_t panel, std::int64_t length)
      : scale_bytes(has_half_scales(kind) ? 2 : 4),
        bits(has_4_bits(kind) ? 4 : 8),
        offsets(panel * scale_bytes),
        words(offsets * (bits == 4 ? 2 : 1)),
        bytes(words + panel * length * bits / 8) {}
  std::int64_t scale_bytes, bits, offsets, words, bytes;
};

void store_scale(std::byte* to, float scale, std::int64_t bytes) {
  if (bytes == 4) {
    std::memcpy(to, &scale, 4);
  } else {
    const f16 half(scale);
    std::memcpy(to, &half.bits, 2);
  }
}

float load_scale(const std::byte* from, std::int64_t bytes) {
  if (bytes == 2) {
    f16 half;
    std::memcpy(&half.bits, from, 2);
    return static_cast<float>(half);
  }
  float scale;
  std::memcpy(&scale, from, 4);
  return scale;
}

}  // namespace

PackedWeights::PackedWeights(const kernels::KernelTable& kernels, const InputView<2>& weight)
    : kernels_(&kernels),
      in_(weight.shape[1]),
      out_(weight.shape[0]),
      form_(weight.dtype == DType::kF32 ? Form::kFloats : Form::kHalves),
      dtype_(weight.dtype),
      packed_(panels() * kernels.panel * in_ * static_cast<std::int64_t>(size_of(weight.dtype))) {
  if (form_ == Form::kHalves) {
    pack_halves(weight);
    return;
  }
  kernels.f32->pack_columns[index(DType::kF32)](
      {weight.data, out_, in_, weight.strides[0], weight.strides[1]},
      reinterpret_cast<float*>(packed_.data()));
}

/// Groups of kPartPanels panels: [group][k][columns of the group], so that a product reads a row of
/// storage where it lies.
void PackedWeights::pack_halves(const InputView<2>& weight) {
  const std::int64_t columns = panels() * kernels_->panel, group = kPartPanels * kernels_->panel;
  const auto* from = static_cast<const std::uint16_t*>(weight.data);
  auto* to = reinterpret_cast<std::uint16_t*>(packed_.data());
  for (std::int64_t first = 0; first < columns; first += group) {
    const std::int64_t width = std::min(group, columns - first);
    for (std::int64_t k = 0; k < in_; ++k) {
      for (std::int64_t j = first; j < first + width; ++j)
        *to++ = j < out_ ? from[j * weight.strides[0] + k * weight.strides[1]] : std::uint16_t{0};
    }
  }
}

PackedWeights::PackedWeights(const kernels::KernelTable& kernels, const BlockShape& shape,
                             const std::function<void(std::int64_t, const BlockRow&)>& read)
    : kernels_(&kernels),
      in_(shape.in_features),
      out_(shape.out_features),
      form_(Form::kBlocks),
      kind_(kind_of(shape)),
      length_(shape.length),
      block_bytes_(BlockLayout(kind_, kernels.panel, length_).bytes),
      packed_(panels() * panel_bytes()) {
  std::memset(packed_.data(), 0, static_cast<std::size_t>(packed_.size()));
  std::vector<std::int8_t> q(static_cast<std::size_t>(in_));
  std::vector<float> scale(static_cast<std::size_t>(in_ / length_)), offset(scale.size());
  BlockRow row{q, scale, offset};
  if (!has_4_bits(kind_)) row.offset = {};
  for (std::int64_t o = 0; o < out_; ++o) {
    read(o, row);
    pack_block_row(o, row);
  }
}

void PackedWeights::pack_block_row(std::int64_t o, const BlockRow& row) {
  const BlockLayout layout(kind_, kernels_->panel, length_);
  const std::int64_t column = o % kernels_->panel, per_word = 32 / layout.bits;
  std::byte* block = packed_.data() + o / kernels_->panel * panel_bytes();
  for (std::int64_t b = 0; b < in_ / length_; ++b, block += block_bytes_) {
    const auto at = static_cast<std::size_t>(b);
    store_scale(block + column * layout.scale_bytes, row.scale[at], layout.scale_bytes);
    if (!row.offset.empty())
      store_scale(block + layout.offsets + column * layout.scale_bytes, row.offset[at],
                  layout.scale_bytes);
    for (std::int64_t k = 0; k < length_; k += per_word) {
      std::uint32_t word = 0;
      for (std::int64_t i = 0; i < per_word; ++i) {
        const auto q =
            static_cast<std::uint8_t>(row.q[static_cast<std::size_t>(b * length_ + k + i)]);
        word |= static_cast<std::uint32_t>(q) << i * layout.bits;
      }
      const std::int64_t place = (k / per_word * kernels_->panel + column) * 4;
      std::memcpy(block + layout.words + place, &word, sizeof word);
    }
  }
}

std::int64_t PackedWeights::scratch_floats(std::int64_t depth) const {
  return form_ == Form::kBlocks ? kPartPanels * kernels_->panel * round_up(depth, length_) : 0;
}

void PackedWeights::multiply(const Part& p, float* scratch) const noexcept {
  const std::int64_t panel = kernels_->panel;
  kernels::Product product{.a = p.a,
                           .a_stride = p.a_stride,
                           .rows = p.rows,
                           .b = nullptr,
                           .panels = p.panels,
                           .depth = p.depth,
                           .c = p.c,
                           .c_stride = p.c_stride,
                           .scale = 1.0f,
                           .accumulate = false,
                           .add = p.add};
  if (form_ == Form::kHalves) {
    const std::int64_t width = std::min(kPartPanels, panels() - p.panel) * panel;
    const kernels::Matrix rows{packed_.data() + (p.panel * panel * in_ + p.k * width) * 2, p.depth,
                               width, width, 1};
    return kernels_->f32->product_in_place[index(dtype_)](product, rows);
  }
  if (form_ == Form::kFloats) {
    product.b = reinterpret_cast<const float*>(packed_.data()) + (p.panel * in_ + p.k) * panel;
    product.b_panel = in_ * panel;
    return kernels_->f32->product(product);
  }
  const std::byte* blocks = packed_.data() + p.panel * panel_bytes() + p.k / length_ * block_bytes_;
  if (p.rows <= kFewRows) {
    return kernels_->block_product[kind()]({.a = p.a,
                                            .a_stride = p.a_stride,
                                            .rows = p.rows,
                                            .b = blocks,
                                            .b_panel = panel_bytes(),
                                            .panels = p.panels,
                                            .depth = p.depth,
                                            .c = p.c,
                                            .c_stride = p.c_stride,
                                            .add = p.add});
  }
  for (std::int64_t i = 0; i < p.panels; ++i)
    kernels_->unpack_blocks[kind()](blocks + i * panel_bytes(), p.depth,
                                    scratch + i * p.depth * panel);
  product.b = scratch;
  product.b_panel = p.depth * panel;
  kernels_->f32->product(product);
}

float PackedWeights::element(std::int64_t o, std::int64_t k) const {
  const std::int64_t panel = kernels_->panel, column = o % panel, p = o / panel;
  if (form_ == Form::kFloats)
    return reinterpret_cast<const float*>(packed_.data())[(p * in_ + k) * panel + column];
  if (form_ == Form::kHalves) {
    const std::int64_t group = p / kPartPanels * kPartPanels,
                       width = std::min(kPartPanels, panels() - group) * panel;
    const auto* halves = reinterpret_cast<const std::uint16_t*>(packed_.data());
    const std::uint16_t bits = halves[group * panel * in_ + k * width + o - group * panel];
    if (dtype_ == DType::kF16) {
      f16 half;
      half.bits = bits;
      return static_cast<float>(half);
    }
    bf16 half;
    half.bits = bits;
    return static_cast<float>(half);
  }
  const BlockLayout layout(kind_, panel, length_);
  const std::byte* block = packed_.data() + p * panel_bytes() + k / length_ * block_bytes_;
  const std::int64_t per_word = 32 / layout.bits, in_block = k % length_;
  std::uint32_t word;
  std::memcpy(&word, block + layout.words + (in_block / per_word * panel + column) * 4,
              sizeof word);
  word >>= in_block % per_word * layout.bits;
  const float scale = load_scale(block + column * layout.scale_bytes, layout.scale_bytes);
  if (layout.bits == 8) return scale * static_cast<float>(static_cast<std::int8_t>(word & 0xFFU));
  const float offset =
      load_scale(block + layout.offsets + column * layout.scale_bytes, layout.scale_bytes);
  const float product = scale * static_cast<float>(word & 15U);
  return product + offset;
}

void PackedWeights::row(std::int64_t o, std::span<float> to) const {
  for (std::int64_t k = 0; k < in_; ++k) to[static_cast<std::size_t>(k)] = element(o, k);
}

}  // namespace regard::exec
