// tests/support/masks.h - random masks from the whole algebra, and masks whose tiles may lie.
#pragma once

#include <string>

#include "regard/any_mask.h"
#include "support/random.h"

namespace regard::test {

struct NamedMask {
  AnyMask mask;
  std::string name;
};

/// FullMask, CausalMask, DocumentMask over [0, num_positions) with scattered ids, or up to `depth`
/// levels of &, | and ! over those.
NamedMask random_mask(Rng& rng, std::int64_t num_positions, int depth);

/// A mask that knows only allows(): every tile is partial, row bits are asked one by one. What any
/// other mask computes must equal what this one computes.
struct PredicateMask {
  AnyMask inner;
  bool allows(std::int64_t q, std::int64_t kv) const { return inner.allows(q, kv); }
  TileKind classify(TileRange) const { return TileKind::kPartial; }
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv_begin) const {
    std::uint64_t bits = 0;
    for (std::int64_t b = 0; b < 64; ++b) {
      bits |= static_cast<std::uint64_t>(allows(q, kv_begin + b)) << b;
    }
    return bits;
  }
};

/// Hides one key from every query.
struct HideKeyMask {
  std::int64_t key;
  bool allows(std::int64_t, std::int64_t kv) const { return kv != key; }
  TileKind classify(TileRange t) const {
    return t.kv_begin <= key && key < t.kv_end ? TileKind::kPartial : TileKind::kFull;
  }
  std::uint64_t row_bits(std::int64_t, std::int64_t kv_begin) const {
    const bool inside = kv_begin <= key && key < kv_begin + 64;
    return inside ? ~(std::uint64_t{1} << (key - kv_begin)) : ~std::uint64_t{0};
  }
};

}  // namespace regard::test
