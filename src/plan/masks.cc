// src/plan/masks.cc - masks that hold data.
#include <algorithm>
#include <limits>
#include <utility>

#include "regard/mask.h"

namespace regard {
namespace {
constexpr std::int64_t kSpanKeys = 64;
}

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

}  // namespace regard
