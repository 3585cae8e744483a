// tests/plan/mask_promises.h - the three promises of a mask, asked of every pair of a small grid.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "regard/any_mask.h"

namespace regard::test {

inline constexpr std::int64_t kLow = -5, kHigh = 140;  // positions of the grid

/// allows() of a mask over the whole grid, asked once.
class Table {
 public:
  explicit Table(const AnyMask& mask) {
    for (std::int64_t q = kLow; q < kHigh; ++q) {
      for (std::int64_t kv = kLow; kv < kHigh + 64; ++kv) allowed_.push_back(mask.allows(q, kv));
    }
  }
  bool operator()(std::int64_t q, std::int64_t kv) const {
    return allowed_[static_cast<std::size_t>((q - kLow) * (kHigh + 64 - kLow) + kv - kLow)];
  }
  const std::vector<bool>& all() const { return allowed_; }

 private:
  std::vector<bool> allowed_;
};

/// What classify() would say of the tile if it asked for every pair.
inline TileKind kind_of(const Table& allows, TileRange t) {
  bool any = false, every = true;
  for (std::int64_t q = t.q_begin; q < t.q_end; ++q) {
    for (std::int64_t kv = t.kv_begin; kv < t.kv_end; ++kv) {
      any |= allows(q, kv);
      every &= allows(q, kv);
    }
  }
  return every ? TileKind::kFull : any ? TileKind::kPartial : TileKind::kEmpty;
}

/// row_bits() is 64 times allows(), and classify() certain only where it is true.
inline void expect_promises(const AnyMask& mask, const std::string& name) {
  const Table allows(mask);
  for (std::int64_t q = kLow; q < kHigh; q += 3) {
    for (std::int64_t kv = kLow; kv < kHigh; kv += 13) {
      const std::uint64_t bits = mask.row_bits(q, kv);
      for (std::int64_t b = 0; b < 64; ++b) {
        ASSERT_EQ(bits >> b & 1, allows(q, kv + b) ? 1U : 0U) << name << " " << q << " " << kv + b;
      }
    }
  }
  for (std::int64_t q = kLow; q < kHigh; q += 11) {
    for (const std::int64_t q_end : {q + 1, std::min(q + 7, kHigh), std::min(q + 48, kHigh)}) {
      for (std::int64_t kv = kLow; kv < kHigh; kv += 9) {
        for (const std::int64_t kv_end : {kv + 1, kv + 5, kv + 64}) {
          const TileRange tile{q, q_end, kv, kv_end};
          const TileKind kind = mask.classify(tile);
          if (kind == TileKind::kPartial) continue;
          ASSERT_EQ(kind, kind_of(allows, tile))
              << name << " claims more than is true of queries " << q << ".." << q_end << ", keys "
              << kv << ".." << kv_end;
        }
      }
    }
  }
}

}  // namespace regard::test
