// include/regard/any_mask.h - one type that holds any mask.
#pragma once

#include <memory>
#include <type_traits>

#include "regard/mask.h"

namespace regard {

/// Holds a copy of any Mask. Copies share it, which is safe because masks are immutable.
class AnyMask {
 public:
  AnyMask() : AnyMask(FullMask{}) {}

  // In this order: whether AnyMask is a Mask must not be asked while its copying is decided.
  template <class M>
    requires(!std::same_as<M, AnyMask> && Mask<M>)
  AnyMask(M mask)  // NOLINT(google-explicit-constructor): any mask is an AnyMask
      : self_(std::make_shared<const Model<M>>(std::move(mask))),
        is_full_(std::is_same_v<M, FullMask>) {}

  bool allows(std::int64_t q, std::int64_t kv) const { return self_->allows(q, kv); }
  TileKind classify(TileRange tile) const { return self_->classify(tile); }
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv) const { return self_->row_bits(q, kv); }

  /// True for a FullMask: positions do not matter.
  bool is_full() const { return is_full_; }

 private:
  struct Concept {
    virtual ~Concept() = default;
    virtual bool allows(std::int64_t q, std::int64_t kv) const = 0;
    virtual TileKind classify(TileRange tile) const = 0;
    virtual std::uint64_t row_bits(std::int64_t q, std::int64_t kv) const = 0;
  };
  template <Mask M>
  struct Model final : Concept {
    explicit Model(M m) : mask(std::move(m)) {}
    bool allows(std::int64_t q, std::int64_t kv) const override { return mask.allows(q, kv); }
    TileKind classify(TileRange tile) const override { return mask.classify(tile); }
    std::uint64_t row_bits(std::int64_t q, std::int64_t kv) const override {
      return mask.row_bits(q, kv);
    }
    M mask;
  };

  std::shared_ptr<const Concept> self_;
  bool is_full_;
};

}  // namespace regard
