// include/regard/mask.h - which query may attend to which key: small types that compose with &, |
// and !.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <vector>

namespace regard {

/// What a mask allows inside a tile. Ordered: kEmpty < kPartial < kFull.
enum class TileKind : std::uint8_t { kEmpty = 0, kPartial = 1, kFull = 2 };

/// A rectangle of (query, key) pairs, half-open, in absolute positions.
struct TileRange {
  std::int64_t q_begin, q_end, kv_begin, kv_end;
};

/// A mask answers three questions, all in absolute positions (query i of a call is at q_offset + i,
/// key j at j):
///   allows(q, kv)          the definition;
///   classify(tile)         kEmpty and kFull only when that is certain; kPartial is always correct;
///   row_bits(q, kv_begin)  bit b says allows(q, kv_begin + b), for 64 keys at once.
/// It must be a pure function: same answers every time, from any thread.
template <class M>
concept Mask = std::copy_constructible<M> && requires(const M& m, std::int64_t q, TileRange tile) {
  { m.allows(q, q) } -> std::same_as<bool>;
  { m.classify(tile) } -> std::same_as<TileKind>;
  { m.row_bits(q, q) } -> std::same_as<std::uint64_t>;
};

/// Bits [0, n) set; n is clamped to [0, 64].
constexpr std::uint64_t low_bits(std::int64_t n) {
  if (n <= 0) return 0;
  return n >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
}

/// Every query sees every key.
struct FullMask {
  bool allows(std::int64_t, std::int64_t) const { return true; }
  TileKind classify(TileRange) const { return TileKind::kFull; }
  std::uint64_t row_bits(std::int64_t, std::int64_t) const { return ~std::uint64_t{0}; }
};

/// A query sees the keys at its own position and before it: kv <= q.
struct CausalMask {
  bool allows(std::int64_t q, std::int64_t kv) const { return kv <= q; }
  TileKind classify(TileRange t) const {
    if (t.kv_begin > t.q_end - 1) return TileKind::kEmpty;
    return t.kv_end - 1 <= t.q_begin ? TileKind::kFull : TileKind::kPartial;
  }
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv_begin) const {
    return low_bits(q - kv_begin + 1);
  }
};

/// A query sees the keys of its own document. The same ids serve queries and keys (absolute
/// positions); they may come in any order and documents may be scattered. A position outside [0,
/// size) belongs to no document and sees nothing.
class DocumentMask {
 public:
  explicit DocumentMask(std::vector<std::int64_t> document_ids);

  bool allows(std::int64_t q, std::int64_t kv) const;
  TileKind classify(TileRange tile) const;
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv_begin) const;

 private:
  struct Span {
    std::int64_t min, max;
  };
  Span span(std::int64_t begin, std::int64_t end) const;

  std::vector<std::int64_t> ids_;
  std::vector<Span> blocks_;  // smallest and largest id of every 64 positions
};

/// Both allow.
template <Mask A, Mask B>
struct AndMask {
  A a;
  B b;
  bool allows(std::int64_t q, std::int64_t kv) const { return a.allows(q, kv) && b.allows(q, kv); }
  TileKind classify(TileRange t) const { return std::min(a.classify(t), b.classify(t)); }
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv) const {
    return a.row_bits(q, kv) & b.row_bits(q, kv);
  }
};

/// Either allows.
template <Mask A, Mask B>
struct OrMask {
  A a;
  B b;
  bool allows(std::int64_t q, std::int64_t kv) const { return a.allows(q, kv) || b.allows(q, kv); }
  TileKind classify(TileRange t) const { return std::max(a.classify(t), b.classify(t)); }
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv) const {
    return a.row_bits(q, kv) | b.row_bits(q, kv);
  }
};

/// Allows what the other forbids.
template <Mask A>
struct NotMask {
  A a;
  bool allows(std::int64_t q, std::int64_t kv) const { return !a.allows(q, kv); }
  TileKind classify(TileRange t) const {
    return static_cast<TileKind>(2 - static_cast<int>(a.classify(t)));
  }
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv) const { return ~a.row_bits(q, kv); }
};

template <Mask A, Mask B>
AndMask<A, B> operator&(A a, B b) {
  return {std::move(a), std::move(b)};
}
template <Mask A, Mask B>
OrMask<A, B> operator|(A a, B b) {
  return {std::move(a), std::move(b)};
}
template <Mask A>
NotMask<A> operator!(A a) {
  return {std::move(a)};
}
/// && and || would ask for a truth value that a mask does not have.
template <Mask A, Mask B>
void operator&&(A, B) = delete;
template <Mask A, Mask B>
void operator||(A, B) = delete;

}  // namespace regard
