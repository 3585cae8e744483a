// src/plan/masks.cc - masks that hold data, and how masks describe themselves.
#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "regard/any_mask.h"

namespace regard {
namespace {

constexpr std::int64_t kSpanKeys = 64;
constexpr std::int64_t kMostPosition = std::int64_t{1} << 40;  // as for q_offset

[[noreturn]] void refuse(const std::string& what, std::int64_t came, const std::string& wanted) {
  throw std::invalid_argument(what + " is " + std::to_string(came) + ", expected " + wanted);
}

void check_least(const std::string& what, std::int64_t came, std::int64_t least) {
  if (came < least) refuse(what, came, std::to_string(least) + " or more");
}

void check_extents(const std::string& what, const std::array<std::int64_t, 4>& shape) {
  for (std::size_t i = 0; i < shape.size(); ++i) {
    check_least(what + ".shape[" + std::to_string(i) + "]", shape[i], 0);
  }
}

void check_axis(const std::string& axis, std::int64_t came, std::int64_t wanted, const char* name) {
  if (came == 1 || came == wanted) return;
  const std::string one = wanted == 1 ? "" : "1 or ";
  refuse("attention: mask.shape[" + axis + "]", came,
         one + std::to_string(wanted) + " (" + name + ")");
}

/// Extents of 1 serve every sequence and head.
void check_broadcast(const std::array<std::int64_t, 4>& shape, std::int64_t batch,
                     std::int64_t num_heads) {
  check_axis("0", shape[0], batch, "batch");
  check_axis("1", shape[1], num_heads, "num_heads");
}

std::int64_t first_of(std::int64_t position) { return std::max<std::int64_t>(position, 0); }

/// n modulo m, in [0, m).
std::int64_t floor_mod(std::int64_t n, std::int64_t m) {
  const std::int64_t rest = n % m;
  return rest < 0 ? rest + m : rest;
}

}  // namespace

std::string WindowMask::describe() const {
  const auto side = [](std::int64_t n) {
    return n >= kUnbounded ? std::string("*") : std::to_string(n);
  };
  return "window(" + side(left) + ", " + side(right) + ")";
}

std::string PrefixMask::describe() const { return "prefix(" + std::to_string(length) + ")"; }

StridedMask::StridedMask(std::int64_t stride) : stride_(stride) {
  check_least("StridedMask: stride", stride, 1);
}

TileKind StridedMask::classify(TileRange t) const {
  if (stride_ == 1) return TileKind::kFull;
  // Distances q - kv of the tile: all integers of [least, most].
  const std::int64_t least = t.q_begin - (t.kv_end - 1), most = t.q_end - 1 - t.kv_begin;
  if (floor_mod(most, stride_) > most - least) return TileKind::kEmpty;
  return least == most ? TileKind::kFull : TileKind::kPartial;
}

std::uint64_t StridedMask::row_bits(std::int64_t q, std::int64_t kv_begin) const {
  const std::int64_t step = std::min<std::int64_t>(stride_, 64);
  std::uint64_t bits = 0;
  for (std::int64_t b = floor_mod(q - kv_begin, stride_); b < 64; b += step) {
    bits |= std::uint64_t{1} << b;
  }
  return bits;
}

std::string StridedMask::describe() const { return "strided(" + std::to_string(stride_) + ")"; }

DocumentMask::DocumentMask(std::vector<std::int64_t> document_ids) {
  Data data{std::move(document_ids), {}};
  for (auto first = data.ids.begin(); first != data.ids.end();) {
    const auto last = first + std::min<std::ptrdiff_t>(kSpanKeys, data.ids.end() - first);
    const auto [min, max] = std::minmax_element(first, last);
    data.spans.push_back({*min, *max});
    first = last;
  }
  data_ = std::make_shared<const Data>(std::move(data));
}

bool DocumentMask::allows(std::int64_t q, std::int64_t kv) const {
  if (q < 0 || q >= size() || kv < 0 || kv >= size()) return false;
  return data_->ids[static_cast<std::size_t>(q)] == data_->ids[static_cast<std::size_t>(kv)];
}

/// Smallest and largest id of positions [begin, end), widened to whole spans: never too narrow.
DocumentMask::Span DocumentMask::span(std::int64_t begin, std::int64_t end) const {
  Span s{std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()};
  for (std::int64_t i = begin / kSpanKeys; i * kSpanKeys < end; ++i) {
    const Span& part = data_->spans[static_cast<std::size_t>(i)];
    s.min = std::min(s.min, part.min);
    s.max = std::max(s.max, part.max);
  }
  return s;
}

TileKind DocumentMask::classify(TileRange t) const {
  const bool inside = t.q_begin >= 0 && t.q_end <= size() && t.kv_begin >= 0 && t.kv_end <= size();
  t = {first_of(t.q_begin), std::min(t.q_end, size()), first_of(t.kv_begin),
       std::min(t.kv_end, size())};
  if (t.q_begin >= t.q_end || t.kv_begin >= t.kv_end) return TileKind::kEmpty;
  const Span q = span(t.q_begin, t.q_end), kv = span(t.kv_begin, t.kv_end);
  if (q.max < kv.min || kv.max < q.min) return TileKind::kEmpty;
  const bool one_document = q.min == q.max && kv.min == kv.max;
  return inside && one_document ? TileKind::kFull : TileKind::kPartial;
}

std::uint64_t DocumentMask::row_bits(std::int64_t q, std::int64_t kv_begin) const {
  if (q < 0 || q >= size()) return 0;
  const std::int64_t id = data_->ids[static_cast<std::size_t>(q)];
  const std::int64_t end = std::min(kv_begin + 64, size());
  std::uint64_t bits = 0;
  for (std::int64_t kv = first_of(kv_begin); kv < end; ++kv) {
    const bool same = data_->ids[static_cast<std::size_t>(kv)] == id;
    bits |= static_cast<std::uint64_t>(same) << (kv - kv_begin);
  }
  return bits;
}

std::string DocumentMask::describe() const {
  constexpr std::size_t kMostShown = 16;
  const std::vector<std::int64_t>& ids = data_->ids;
  std::string text = "document(";
  for (std::size_t i = 0; i < std::min(ids.size(), kMostShown); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(ids[i]);
  if (ids.size() > kMostShown) text += ", ... " + std::to_string(ids.size()) + " ids";
  return text += ")";
}

BlockMask::BlockMask(TensorView<const bool, 4> map, std::int64_t q_block, std::int64_t kv_block)
    : shape_(map.shape), q_block_(q_block), kv_block_(kv_block) {
  check_least("BlockMask: q_block", q_block, 1);
  check_least("BlockMask: kv_block", kv_block, 1);
  check_extents("BlockMask: map", shape_);
  if (map.size() == 0) {
    shape_[2] = 0;  // without sequences or heads there is no block to ask
  } else if (map.data == nullptr) {
    throw std::invalid_argument("BlockMask: map.data is null, expected a pointer to its elements");
  }
  std::vector<std::uint8_t> copy;
  copy.reserve(static_cast<std::size_t>(map.size()));
  for (std::int64_t b = 0; b < shape_[0]; ++b) {
    for (std::int64_t h = 0; h < shape_[1]; ++h) {
      for (std::int64_t i = 0; i < shape_[2]; ++i) {
        for (std::int64_t j = 0; j < shape_[3]; ++j) copy.push_back(map(b, h, i, j) ? 1 : 0);
      }
    }
  }
  map_ = std::make_shared<const std::vector<std::uint8_t>>(std::move(copy));
}

/// Whether the map holds true, for a block inside it.
bool BlockMask::sees(std::int64_t q_index, std::int64_t kv_index) const {
  return (*map_)[static_cast<std::size_t>(begin_ + q_index * shape_[3] + kv_index)] != 0;
}

bool BlockMask::allows(std::int64_t q, std::int64_t kv) const {
  if (q < 0 || kv < 0 || q / q_block_ >= shape_[2] || kv / kv_block_ >= shape_[3]) return false;
  return sees(q / q_block_, kv / kv_block_);
}

TileKind BlockMask::classify(TileRange t) const {
  if (t.q_end <= 0 || t.kv_end <= 0) return TileKind::kEmpty;
  const std::int64_t q_end = (t.q_end - 1) / q_block_ + 1, kv_end = (t.kv_end - 1) / kv_block_ + 1;
  const bool inside =
      t.q_begin >= 0 && t.kv_begin >= 0 && q_end <= shape_[2] && kv_end <= shape_[3];
  bool any = false, every = inside;
  for (std::int64_t i = first_of(t.q_begin) / q_block_; i < std::min(q_end, shape_[2]); ++i) {
    for (std::int64_t j = first_of(t.kv_begin) / kv_block_; j < std::min(kv_end, shape_[3]); ++j) {
      any |= sees(i, j);
      every &= sees(i, j);
      if (any && !every) return TileKind::kPartial;
    }
  }
  return any ? TileKind::kFull : TileKind::kEmpty;
}

std::uint64_t BlockMask::row_bits(std::int64_t q, std::int64_t kv_begin) const {
  if (q < 0 || q / q_block_ >= shape_[2]) return 0;
  std::uint64_t bits = 0;
  for (std::int64_t b = first_of(-kv_begin); b < 64;) {
    const std::int64_t kv = kv_begin + b;
    if (kv / kv_block_ >= shape_[3]) break;
    const std::int64_t left = std::min<std::int64_t>(kv_block_ - kv % kv_block_, 64);  // of a block
    if (sees(q / q_block_, kv / kv_block_)) bits |= low_bits(left) << b;
    b += left;
  }
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
  check_broadcast(shape_, batch, num_heads);
}

DenseMask::DenseMask(TensorView<const bool, 4> allowed, std::int64_t q_begin,
                     std::shared_ptr<const void> owner)
    : allowed_(allowed), q_begin_(q_begin), owner_(std::move(owner)) {
  check_extents("DenseMask: allowed", allowed.shape);
  if (q_begin < -kMostPosition || q_begin > kMostPosition) {
    refuse("DenseMask: q_begin", q_begin,
           std::to_string(-kMostPosition) + ".." + std::to_string(kMostPosition));
  }
  // Without sequences or heads there is no row to ask.
  if (allowed.shape[0] == 0 || allowed.shape[1] == 0) allowed_.shape[2] = 0;
}

bool DenseMask::allows(std::int64_t q, std::int64_t kv) const {
  const std::int64_t i = q - q_begin_;
  if (i < 0 || i >= allowed_.shape[2] || kv < 0 || kv >= allowed_.shape[3]) return false;
  return allowed_(0, 0, i, kv);
}

TileKind DenseMask::classify(TileRange t) const {
  const bool outside = t.q_end <= q_begin_ || t.q_begin >= q_begin_ + allowed_.shape[2] ||
                       t.kv_end <= 0 || t.kv_begin >= allowed_.shape[3];
  return outside ? TileKind::kEmpty : TileKind::kPartial;
}

std::uint64_t DenseMask::row_bits(std::int64_t q, std::int64_t kv_begin) const {
  const std::int64_t i = q - q_begin_;
  if (i < 0 || i >= allowed_.shape[2]) return 0;
  const std::int64_t end = std::min<std::int64_t>(64, allowed_.shape[3] - kv_begin);
  std::uint64_t bits = 0;
  std::int64_t b = first_of(-kv_begin);
  for (; allowed_.strides[3] == 1 && b + 8 <= end; b += 8) {
    std::uint64_t bytes;  // of 0 or 1: a multiplication gathers eight of them in the highest byte
    std::memcpy(&bytes, &allowed_(0, 0, i, kv_begin + b), sizeof bytes);
    bits |= (bytes * 0x0102040810204080U >> 56) << b;
  }
  for (; b < end; ++b) {
    bits |= static_cast<std::uint64_t>(allowed_(0, 0, i, kv_begin + b)) << b;
  }
  return bits;
}

std::string DenseMask::describe() const {
  return "dense(" + std::to_string(allowed_.shape[2]) + ", " + std::to_string(allowed_.shape[3]) +
         ")";
}

DenseMask DenseMask::at(std::int64_t batch, std::int64_t head) const {
  const std::int64_t b = allowed_.shape[0] == 1 ? 0 : batch, h = allowed_.shape[1] == 1 ? 0 : head;
  TensorView<const bool, 4> one = allowed_;
  if (one.size() != 0) one.data += b * one.strides[0] + h * one.strides[1];  // else it may be null
  one.shape[0] = one.shape[1] = 1;
  return DenseMask(one, q_begin_, owner_);
}

void DenseMask::check(std::int64_t batch, std::int64_t num_heads) const {
  check_broadcast(allowed_.shape, batch, num_heads);
  if (allowed_.data == nullptr && allowed_.size() != 0) {
    throw std::invalid_argument("attention: mask.data is null, expected a pointer to its elements");
  }
}

PerSequenceMask::PerSequenceMask(std::vector<AnyMask> masks) : masks_(std::move(masks)) {
  if (masks_.empty())
    throw std::invalid_argument("PerSequenceMask: masks is empty, expected one per sequence");
}

PerSequenceMask PerSequenceMask::at(std::int64_t batch, std::int64_t head) const {
  const std::size_t i = masks_.size() == 1 ? 0 : static_cast<std::size_t>(batch);
  return PerSequenceMask({masks_[i].at(batch, head)});
}

void PerSequenceMask::check(std::int64_t batch, std::int64_t num_heads) const {
  check_axis("0", static_cast<std::int64_t>(masks_.size()), batch, "batch");
  for (const AnyMask& mask : masks_) mask.check(batch, num_heads);
}

std::string PerSequenceMask::describe() const {
  std::string text = "per_sequence(" + masks_[0].describe();
  for (std::size_t i = 1; i < masks_.size() && i < 4; ++i) text += ", " + masks_[i].describe();
  if (masks_.size() > 4) text += ", ... " + std::to_string(masks_.size()) + " masks";
  return text + ")";
}

}  // namespace regard
