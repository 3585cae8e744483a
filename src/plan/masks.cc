// src/plan/masks.cc - masks that hold data.
#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "regard/mask.h"

namespace regard {
namespace {
constexpr std::int64_t kSpanKeys = 64;

[[noreturn]] void refuse(const std::string& what, std::int64_t came, const std::string& wanted) {
  throw std::invalid_argument(what + " is " + std::to_string(came) + ", expected " + wanted);
}

/// Extents of 1 serve every sequence and head.
void check_broadcast(std::int64_t batch_extent, std::int64_t head_extent, std::int64_t batch, std::int64_t num_heads) {
  const auto check = [](const std::string& axis, std::int64_t came, std::int64_t wanted, const char* name) {
    if (came != 1 && came != wanted) {
      refuse("attention: mask.shape[" + axis + "]", came, "1 or " + std::to_string(wanted) + " (" + name + ")");
    }
  };
  check("0", batch_extent, batch, "batch");
  check("1", head_extent, num_heads, "num_heads");
}

}  // namespace

DocumentMask::DocumentMask(std::vector<std::int64_t> document_ids) : ids_(std::move(document_ids)) {
  for (std::size_t begin = 0; begin < ids_.size(); begin += kSpanKeys) {
    const auto first = ids_.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = first + std::min<std::ptrdiff_t>(kSpanKeys, ids_.end() - first);
    const auto [min, max] = std::minmax_element(first, last);
    blocks_.push_back({*min, *max});
  }
}

bool DocumentMask::allows(std::int64_t q, std::int64_t kv) const {
  const auto size = static_cast<std::int64_t>(ids_.size());
  if (q < 0 || q >= size || kv < 0 || kv >= size) return false;
  return ids_[static_cast<std::size_t>(q)] == ids_[static_cast<std::size_t>(kv)];
}

/// Smallest and largest id of positions [begin, end), widened to whole spans: never too narrow.
DocumentMask::Span DocumentMask::span(std::int64_t begin, std::int64_t end) const {
  Span s{std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()};
  for (std::int64_t i = begin / kSpanKeys; i * kSpanKeys < end; ++i) {
    const Span& block = blocks_[static_cast<std::size_t>(i)];
    s.min = std::min(s.min, block.min);
    s.max = std::max(s.max, block.max);
  }
  return s;
}

TileKind DocumentMask::classify(TileRange t) const {
  const auto size = static_cast<std::int64_t>(ids_.size());
  const bool inside = t.q_begin >= 0 && t.q_end <= size && t.kv_begin >= 0 && t.kv_end <= size;
  t = {std::max<std::int64_t>(t.q_begin, 0), std::min(t.q_end, size),
       std::max<std::int64_t>(t.kv_begin, 0), std::min(t.kv_end, size)};
  if (t.q_begin >= t.q_end || t.kv_begin >= t.kv_end) return TileKind::kEmpty;
  const Span q = span(t.q_begin, t.q_end), kv = span(t.kv_begin, t.kv_end);
  if (q.max < kv.min || kv.max < q.min) return TileKind::kEmpty;
  const bool one_document = q.min == q.max && kv.min == kv.max;
  return inside && one_document ? TileKind::kFull : TileKind::kPartial;
}

std::uint64_t DocumentMask::row_bits(std::int64_t q, std::int64_t kv_begin) const {
  std::uint64_t bits = 0;
  for (std::int64_t b = 0; b < 64; ++b) {
    bits |= static_cast<std::uint64_t>(allows(q, kv_begin + b)) << b;
  }
  return bits;
}

std::string DocumentMask::describe() const {
  std::string text = "document(";
  for (std::size_t i = 0; i < ids_.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(ids_[i]);
  return text + ")";
}

std::string WindowMask::describe() const {
  const auto side = [](std::int64_t n) { return n >= kUnbounded ? std::string("*") : std::to_string(n); };
  return "window(" + side(left) + ", " + side(right) + ")";
}

std::string PrefixMask::describe() const { return "prefix(" + std::to_string(length) + ")"; }

StridedMask::StridedMask(std::int64_t stride) : stride_(stride) {
  if (stride < 1) refuse("StridedMask: stride", stride, "1 or more");
}

TileKind StridedMask::classify(TileRange t) const {
  if (stride_ == 1) return TileKind::kFull;
  // Distances q - kv of the tile: all integers of [least, most].
  const std::int64_t least = t.q_begin - (t.kv_end - 1), most = t.q_end - 1 - t.kv_begin;
  const std::int64_t last_multiple = most - ((most % stride_) + stride_) % stride_;
  if (last_multiple < least) return TileKind::kEmpty;
  return least == most ? TileKind::kFull : TileKind::kPartial;
}

std::uint64_t StridedMask::row_bits(std::int64_t q, std::int64_t kv_begin) const {
  std::uint64_t bits = 0;
  for (std::int64_t b = (((q - kv_begin) % stride_) + stride_) % stride_; b < 64; b += stride_) bits |= std::uint64_t{1} << b;
  return bits;
}

std::string StridedMask::describe() const { return "strided(" + std::to_string(stride_) + ")"; }

BlockMask::BlockMask(TensorView<const bool, 4> map, std::int64_t q_block, std::int64_t kv_block)
    : shape_(map.shape), q_block_(q_block), kv_block_(kv_block) {
  if (q_block < 1) refuse("BlockMask: q_block", q_block, "1 or more");
  if (kv_block < 1) refuse("BlockMask: kv_block", kv_block, "1 or more");
  std::vector<std::uint8_t> copy;
  for (std::int64_t b = 0; b < shape_[0]; ++b) {
    for (std::int64_t h = 0; h < shape_[1]; ++h) {
      for (std::int64_t i = 0; i < shape_[2]; ++i) {
        for (std::int64_t j = 0; j < shape_[3]; ++j) copy.push_back(map(b, h, i, j) ? 1 : 0);
      }
    }
  }
  map_ = std::make_shared<const std::vector<std::uint8_t>>(std::move(copy));
}

bool BlockMask::allows(std::int64_t q, std::int64_t kv) const {
  if (q < 0 || kv < 0 || q / q_block_ >= shape_[2] || kv / kv_block_ >= shape_[3]) return false;
  return (*map_)[static_cast<std::size_t>(begin_ + q / q_block_ * shape_[3] + kv / kv_block_)] != 0;
}

TileKind BlockMask::classify(TileRange t) const {
  const bool inside = t.q_begin >= 0 && t.kv_begin >= 0 && (t.q_end - 1) / q_block_ < shape_[2] &&
                      (t.kv_end - 1) / kv_block_ < shape_[3];
  bool any = false, every = inside;
  const std::int64_t q_last = std::min((t.q_end - 1) / q_block_, shape_[2] - 1);
  const std::int64_t kv_last = std::min((t.kv_end - 1) / kv_block_, shape_[3] - 1);
  if (t.q_end <= 0 || t.kv_end <= 0) return TileKind::kEmpty;
  for (std::int64_t i = std::max<std::int64_t>(t.q_begin, 0) / q_block_; i <= q_last; ++i) {
    for (std::int64_t j = std::max<std::int64_t>(t.kv_begin, 0) / kv_block_; j <= kv_last; ++j) {
      const bool allowed = (*map_)[static_cast<std::size_t>(begin_ + i * shape_[3] + j)] != 0;
      any |= allowed;
      every &= allowed;
    }
  }
  return !any ? TileKind::kEmpty : every ? TileKind::kFull : TileKind::kPartial;
}

std::uint64_t BlockMask::row_bits(std::int64_t q, std::int64_t kv_begin) const {
  std::uint64_t bits = 0;
  for (std::int64_t b = 0; b < 64; ++b) bits |= static_cast<std::uint64_t>(allows(q, kv_begin + b)) << b;
  return bits;
}

std::string BlockMask::describe() const {
  return "block(" + std::to_string(q_block_) + ", " + std::to_string(kv_block_) + ")";
}

BlockMask BlockMask::at(std::int64_t batch, std::int64_t head) const {
  BlockMask one = *this;
  const std::int64_t b = shape_[0] == 1 ? 0 : batch, h = shape_[1] == 1 ? 0 : head;
  one.begin_ = begin_ + (b * shape_[1] + h) * shape_[2] * shape_[3];
  one.shape_[0] = one.shape_[1] = 1;
  return one;
}

void BlockMask::check(std::int64_t batch, std::int64_t num_heads) const {
  check_broadcast(shape_[0], shape_[1], batch, num_heads);
}

DenseMask::DenseMask(TensorView<const bool, 4> allowed, std::int64_t q_begin) : allowed_(allowed), q_begin_(q_begin) {}

bool DenseMask::allows(std::int64_t q, std::int64_t kv) const {
  const std::int64_t i = q - q_begin_;
  if (i < 0 || i >= allowed_.shape[2] || kv < 0 || kv >= allowed_.shape[3]) return false;
  return allowed_(0, 0, i, kv);
}

TileKind DenseMask::classify(TileRange t) const {
  const bool outside = t.q_end <= q_begin_ || t.q_begin >= q_begin_ + allowed_.shape[2] || t.kv_end <= 0 ||
                       t.kv_begin >= allowed_.shape[3];
  return outside ? TileKind::kEmpty : TileKind::kPartial;
}

std::uint64_t DenseMask::row_bits(std::int64_t q, std::int64_t kv_begin) const {
  const std::int64_t i = q - q_begin_;
  if (i < 0 || i >= allowed_.shape[2]) return 0;
  const std::int64_t first = std::max<std::int64_t>(-kv_begin, 0), last = std::min<std::int64_t>(64, allowed_.shape[3] - kv_begin);
  std::uint64_t bits = 0;
  std::int64_t b = first;
  if (allowed_.strides[3] == 1 && last - first == 64) {
    const bool* row = &allowed_(0, 0, i, kv_begin);
    for (; b < 64; b += 8) {  // eight bytes of 0 or 1, gathered by a multiplication
      std::uint64_t bytes;
      std::memcpy(&bytes, row + b, sizeof bytes);
      bits |= (bytes * 0x0102040810204080U >> 56) << b;
    }
  }
  for (; b < last; ++b) bits |= static_cast<std::uint64_t>(allowed_(0, 0, i, kv_begin + b)) << b;
  return bits;
}

std::string DenseMask::describe() const {
  return "dense(" + std::to_string(allowed_.shape[2]) + ", " + std::to_string(allowed_.shape[3]) + ")";
}

DenseMask DenseMask::at(std::int64_t batch, std::int64_t head) const {
  const std::int64_t b = allowed_.shape[0] == 1 ? 0 : batch, h = allowed_.shape[1] == 1 ? 0 : head;
  TensorView<const bool, 4> one = allowed_;
  one.data = &allowed_(b, h, 0, 0);
  one.shape[0] = one.shape[1] = 1;
  return DenseMask(one, q_begin_);
}

void DenseMask::check(std::int64_t batch, std::int64_t num_heads) const {
  check_broadcast(allowed_.shape[0], allowed_.shape[1], batch, num_heads);
  if (allowed_.data == nullptr && allowed_.size() != 0)
    throw std::invalid_argument("attention: mask.data is null, expected a pointer to its elements");
}

}  // namespace regard
