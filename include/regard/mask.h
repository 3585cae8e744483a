// include/regard/mask.h - which query may attend to which key: small types that compose with &, |
// and !.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "regard/tensor_view.h"

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
  std::string describe() const { return "full"; }
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
  std::string describe() const { return "causal"; }
};

/// A query sees the keys from `left` before its position to `right` after it: q - left <= kv <=
/// q + right. Either side may be kUnbounded, which all beyond +-kUnbounded counts as; negative
/// numbers move the window away from the query.
struct WindowMask {
  static constexpr std::int64_t kUnbounded = std::int64_t{1} << 62;
  std::int64_t left = kUnbounded;
  std::int64_t right = kUnbounded;

  bool allows(std::int64_t q, std::int64_t kv) const { return first(q) <= kv && kv <= last(q); }
  TileKind classify(TileRange t) const {
    const bool reaches = t.kv_end - 1 >= first(t.q_begin) && t.kv_begin <= last(t.q_end - 1);
    const bool nobody_sees = first(t.q_begin) > last(t.q_begin);  // left + right may overflow
    if (!reaches || nobody_sees) return TileKind::kEmpty;
    const bool full = first(t.q_end - 1) <= t.kv_begin && t.kv_end - 1 <= last(t.q_begin);
    return full ? TileKind::kFull : TileKind::kPartial;
  }
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv_begin) const {
    return low_bits(last(q) - kv_begin + 1) & ~low_bits(first(q) - kv_begin);
  }
  std::string describe() const;

 private:
  static std::int64_t side(std::int64_t n) { return std::clamp(n, -kUnbounded, kUnbounded); }
  std::int64_t first(std::int64_t q) const { return q - side(left); }
  std::int64_t last(std::int64_t q) const { return q + side(right); }
};

/// Every query sees the keys before position `length`: a prompt that all may read, or the length of
/// what is there.
struct PrefixMask {
  std::int64_t length = 0;

  bool allows(std::int64_t, std::int64_t kv) const { return kv < length; }
  TileKind classify(TileRange t) const {
    if (t.kv_begin >= length) return TileKind::kEmpty;
    return t.kv_end <= length ? TileKind::kFull : TileKind::kPartial;
  }
  std::uint64_t row_bits(std::int64_t, std::int64_t kv_begin) const {
    if (length <= kv_begin) return 0;
    return length > kv_begin + 63 ? ~std::uint64_t{0} : low_bits(length - kv_begin);
  }
  std::string describe() const;
};

/// A query sees every stride-th key, counted from its own position, before and after it: q - kv is
/// a multiple of `stride` >= 1 (Child et al. 2019, with causal & (window | strided)).
class StridedMask {
 public:
  explicit StridedMask(std::int64_t stride);

  bool allows(std::int64_t q, std::int64_t kv) const { return (q - kv) % stride_ == 0; }
  TileKind classify(TileRange tile) const;
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv_begin) const;
  std::string describe() const;

 private:
  std::int64_t stride_;
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
  /// All ids up to 16; of more the first 16 and how many there are: "document(0, ..., ... 99 ids)".
  std::string describe() const;

 private:
  struct Span {
    std::int64_t min, max;
  };
  struct Data {
    std::vector<std::int64_t> ids;
    std::vector<Span> spans;  // smallest and largest id of every 64 positions
  };
  std::int64_t size() const { return static_cast<std::int64_t>(data_->ids.size()); }
  Span span(std::int64_t begin, std::int64_t end) const;

  std::shared_ptr<const Data> data_;  // shared by copies: a plan may keep one for each head
};

/// Whole blocks of queries see whole blocks of keys, as a map says: block i of queries holds
/// positions [i * q_block, (i + 1) * q_block). What lies outside the map sees nothing. The map is
/// copied; it may differ between sequences and heads.
class BlockMask {
 public:
  /// map (B or 1, H or 1, query blocks, key blocks), true = may see; q_block and kv_block in
  /// positions. Throws std::invalid_argument for a block below 1, a negative extent, null data.
  BlockMask(TensorView<const bool, 4> map, std::int64_t q_block, std::int64_t kv_block);

  bool allows(std::int64_t q, std::int64_t kv) const;
  TileKind classify(TileRange tile) const;
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv_begin) const;
  std::string describe() const;
  bool varies() const { return shape_[0] * shape_[1] > 1; }
  BlockMask at(std::int64_t batch, std::int64_t head) const;
  void check(std::int64_t batch, std::int64_t num_heads) const;

 private:
  bool sees(std::int64_t q_index, std::int64_t kv_index) const;

  std::shared_ptr<const std::vector<std::uint8_t>>
      map_;  // shared by the copies for all sequences and heads
  std::array<std::int64_t, 4> shape_;
  std::int64_t q_block_, kv_block_, begin_ = 0;
};

/// A boolean for every pair, in the caller's memory, which must outlive the mask: (B or 1, H or 1,
/// N, M), true = may see. One sequence or head serves all; strides of 0 broadcast (one row for all
/// queries: extent N, stride 0). Row 0 is for the query at position q_begin, column 0 for the key
/// at 0; what lies outside sees nothing. Fastest with adjacent keys (strides[3] == 1).
class DenseMask {
 public:
  /// `owner`, when given, is what keeps the booleans alive, for as long as the mask and its copies.
  /// Throws std::invalid_argument for a negative extent and a q_begin beyond +-2^40.
  explicit DenseMask(TensorView<const bool, 4> allowed, std::int64_t q_begin = 0,
                     std::shared_ptr<const void> owner = {});

  bool allows(std::int64_t q, std::int64_t kv) const;
  /// kPartial: only the bits know.
  TileKind classify(TileRange tile) const;
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv_begin) const;
  std::string describe() const;
  bool varies() const { return allowed_.shape[0] * allowed_.shape[1] > 1; }
  DenseMask at(std::int64_t batch, std::int64_t head) const;
  void check(std::int64_t batch, std::int64_t num_heads) const;

 private:
  TensorView<const bool, 4> allowed_;
  std::int64_t q_begin_;
  std::shared_ptr<const void> owner_;
};

/// A mask that may differ between sequences and heads, which the three questions do not know of:
/// at(batch, head) is the mask of one of them, of the same type. Until that is asked, the mask
/// answers for sequence 0 and head 0. A plan asks once for each. It may also offer varies(): false
/// when every at() is the same, so that one is enough.
template <class M>
concept VaryingMask = Mask<M> && requires(const M& m, std::int64_t i) { m.at(i, i); };

/// What masks may offer beside the three questions, asked of any mask.
template <Mask M>
bool mask_varies(const M& m) {
  if constexpr (VaryingMask<M> && requires { m.varies(); }) return m.varies();
  return VaryingMask<M>;
}
template <Mask M>
M mask_at(const M& m, std::int64_t batch, std::int64_t head) {
  if constexpr (VaryingMask<M>) return m.at(batch, head);
  return m;
}
/// Throws std::invalid_argument where a mask does not fit a call of so many sequences and heads.
template <Mask M>
void check_mask(const M& m, std::int64_t batch, std::int64_t num_heads) {
  if constexpr (requires { m.check(batch, num_heads); }) m.check(batch, num_heads);
}
/// The expression that makes the mask; "custom" for one that does not say.
template <Mask M>
std::string describe_mask(const M& m) {
  if constexpr (requires { m.describe(); }) return m.describe();
  return "custom";
}

inline std::string describe_pair(const std::string& a, const char* sign, const std::string& b) {
  return std::string("(").append(a).append(sign).append(b).append(")");
}

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
  std::string describe() const { return describe_pair(describe_mask(a), " & ", describe_mask(b)); }
  bool varies() const { return mask_varies(a) || mask_varies(b); }
  AndMask at(std::int64_t batch, std::int64_t head) const {
    return {mask_at(a, batch, head), mask_at(b, batch, head)};
  }
  void check(std::int64_t batch, std::int64_t num_heads) const {
    check_mask(a, batch, num_heads);
    check_mask(b, batch, num_heads);
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
  std::string describe() const { return describe_pair(describe_mask(a), " | ", describe_mask(b)); }
  bool varies() const { return mask_varies(a) || mask_varies(b); }
  OrMask at(std::int64_t batch, std::int64_t head) const {
    return {mask_at(a, batch, head), mask_at(b, batch, head)};
  }
  void check(std::int64_t batch, std::int64_t num_heads) const {
    check_mask(a, batch, num_heads);
    check_mask(b, batch, num_heads);
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
  std::string describe() const { return std::string("!").append(describe_mask(a)); }
  bool varies() const { return mask_varies(a); }
  NotMask at(std::int64_t batch, std::int64_t head) const { return {mask_at(a, batch, head)}; }
  void check(std::int64_t batch, std::int64_t num_heads) const { check_mask(a, batch, num_heads); }
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
