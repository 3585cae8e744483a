// tests/support/masks.h - random masks from the whole algebra, and masks whose tiles may lie.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "regard/any_mask.h"
#include "support/random.h"

namespace regard::test {

struct NamedMask {
  AnyMask mask;
  std::string name;
};

/// A DenseMask that owns its memory.
class OwnedDenseMask {
 public:
  /// allowed (B or 1, H or 1, N, M), row-major.
  OwnedDenseMask(std::vector<std::uint8_t> allowed, std::array<std::int64_t, 4> shape,
                 std::int64_t q_begin);

  bool allows(std::int64_t q, std::int64_t kv) const { return mask_.allows(q, kv); }
  TileKind classify(TileRange tile) const { return mask_.classify(tile); }
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv) const { return mask_.row_bits(q, kv); }
  bool varies() const { return mask_.varies(); }
  OwnedDenseMask at(std::int64_t batch, std::int64_t head) const;
  void check(std::int64_t batch, std::int64_t heads) const { mask_.check(batch, heads); }
  std::string describe() const { return mask_.describe(); }

 private:
  std::shared_ptr<const std::vector<std::uint8_t>> memory_;
  DenseMask mask_;
};

/// Any mask that has a text: no block, dense or custom one. Documents cover [0, num_positions) and
/// may be scattered. Up to `depth` levels of &, | and !.
NamedMask random_text_mask(Rng& rng, std::int64_t num_positions, int depth);

/// Any mask that is the same for all sequences and heads.
NamedMask random_mask(Rng& rng, std::int64_t num_positions, int depth);

/// A block or dense mask that differs between sequences, heads or both where there are several, or
/// that and another one.
NamedMask random_varying_mask(Rng& rng, std::int64_t num_positions, std::int64_t num_sequences,
                              std::int64_t num_heads);

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
