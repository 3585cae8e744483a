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

  /// See VaryingMask: whether the mask may differ between sequences and heads, and the mask of one
  /// of them.
  bool varies() const { return self_->varies(); }
  AnyMask at(std::int64_t batch, std::int64_t head) const {
    return varies() ? self_->at(batch, head) : *this;
  }
  /// Throws std::invalid_argument where the mask does not fit a call of so many sequences and
  /// heads.
  void check(std::int64_t batch, std::int64_t num_heads) const { self_->check(batch, num_heads); }
  /// The expression that makes the mask, as parse_mask (mask_text.h) reads it: "(causal &
  /// window(4096, 0))"; more than 16 documents' ids are shortened, and that is not read again.
  std::string describe() const { return self_->describe(); }

  /// True for a FullMask: positions do not matter.
  bool is_full() const { return is_full_; }

 private:
  struct Concept {
    virtual ~Concept() = default;
    virtual bool allows(std::int64_t q, std::int64_t kv) const = 0;
    virtual TileKind classify(TileRange tile) const = 0;
    virtual std::uint64_t row_bits(std::int64_t q, std::int64_t kv) const = 0;
    virtual bool varies() const = 0;
    virtual AnyMask at(std::int64_t batch, std::int64_t head) const = 0;
    virtual void check(std::int64_t batch, std::int64_t num_heads) const = 0;
    virtual std::string describe() const = 0;
  };
  template <Mask M>
  struct Model final : Concept {
    explicit Model(M m) : mask(std::move(m)) {}
    bool allows(std::int64_t q, std::int64_t kv) const override { return mask.allows(q, kv); }
    TileKind classify(TileRange tile) const override { return mask.classify(tile); }
    std::uint64_t row_bits(std::int64_t q, std::int64_t kv) const override {
      return mask.row_bits(q, kv);
    }
    bool varies() const override { return mask_varies(mask); }
    AnyMask at(std::int64_t batch, std::int64_t head) const override {
      return mask_at(mask, batch, head);
    }
    void check(std::int64_t batch, std::int64_t num_heads) const override {
      check_mask(mask, batch, num_heads);
    }
    std::string describe() const override { return describe_mask(mask); }
    M mask;
  };

  std::shared_ptr<const Concept> self_;
  bool is_full_;
};

/// A mask of its own for every sequence: padding of different lengths, say, in front of each.
class PerSequenceMask {
 public:
  /// (B), masks[b] for sequence b. Throws std::invalid_argument for none.
  explicit PerSequenceMask(std::vector<AnyMask> masks);

  bool allows(std::int64_t q, std::int64_t kv) const { return masks_[0].allows(q, kv); }
  TileKind classify(TileRange tile) const { return masks_[0].classify(tile); }
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv) const {
    return masks_[0].row_bits(q, kv);
  }
  PerSequenceMask at(std::int64_t batch, std::int64_t head) const;
  void check(std::int64_t batch, std::int64_t num_heads) const;
  std::string describe() const;

 private:
  std::vector<AnyMask> masks_;  // one where a sequence has been chosen
};

}  // namespace regard
