// tests/plan/mask_test.cc - the three promises of every mask, exhaustively on a small grid.
#include "regard/mask.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "regard/any_mask.h"
#include "support/masks.h"

namespace regard::test {
namespace {

constexpr std::int64_t kLow = -5, kHigh = 140;  // positions; documents cover [0, 100)

template <class A, class B>
concept HasAndAnd = requires(A a, B b) { a&& b; };
template <class A, class B>
concept HasOrOr = requires(A a, B b) { a || b; };
static_assert(!HasAndAnd<CausalMask, DocumentMask> && !HasAndAnd<AnyMask, FullMask>);
static_assert(!HasOrOr<CausalMask, DocumentMask> && !HasOrOr<AnyMask, FullMask>);
static_assert(Mask<AndMask<CausalMask, OrMask<NotMask<DocumentMask>, FullMask>>> && Mask<AnyMask>);

std::vector<std::int64_t> documents(std::int64_t run, std::int64_t count) {
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < 100; ++i) ids.push_back(i / run * 7 % count - 1);
  return ids;
}

// allows() of a mask over the whole grid, asked once.
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

void expect_promises(const AnyMask& mask, const std::string& name) {
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
    for (const std::int64_t q_end : {q + 1, q + 7, std::min(q + 48, kHigh)}) {
      for (std::int64_t kv = kLow; kv < kHigh; kv += 9) {
        for (const std::int64_t kv_end : {kv + 1, kv + 5, kv + 64}) {
          const TileKind kind = mask.classify({q, std::min(q_end, kHigh), kv, kv_end});
          if (kind == TileKind::kPartial) continue;
          for (std::int64_t i = q; i < std::min(q_end, kHigh); ++i) {
            for (std::int64_t j = kv; j < kv_end; ++j) {
              ASSERT_EQ(allows(i, j), kind == TileKind::kFull)
                  << name << " claims more than is true of (" << i << ", " << j << ")";
            }
          }
        }
      }
    }
  }
}

std::vector<NamedMask> simple_masks() {
  return {{FullMask{}, "Full"},
          {CausalMask{}, "Causal"},
          {DocumentMask(documents(17, 3)), "Document(runs)"},
          {DocumentMask(documents(1, 3)), "Document(scattered)"},
          {DocumentMask(documents(100, 1)), "Document(one)"},
          {DocumentMask({}), "Document(none)"}};
}

TEST(Masks, KeepTheirPromisesInEveryCombination) {
  std::vector<NamedMask> terms;
  for (const NamedMask& m : simple_masks()) {
    terms.push_back(m);
    terms.push_back({!m.mask, "!" + m.name});
  }
  for (const NamedMask& a : terms) {
    expect_promises(a.mask, a.name);
    for (const NamedMask& b : terms) {
      expect_promises(a.mask & b.mask, a.name + " & " + b.name);
      expect_promises(a.mask | b.mask, a.name + " | " + b.name);
    }
  }
}

TEST(Masks, AlgebraIsThatOfSets) {
  for (const NamedMask& a : simple_masks()) {
    const Table in_a(a.mask), in_not_a(!a.mask);
    for (const NamedMask& b : simple_masks()) {
      const Table in_b(b.mask), in_both(a.mask & b.mask), in_either(a.mask | b.mask);
      for (std::size_t i = 0; i < in_a.all().size(); ++i) {
        ASSERT_EQ(in_both.all()[i], in_a.all()[i] && in_b.all()[i]) << a.name << " & " << b.name;
        ASSERT_EQ(in_either.all()[i], in_a.all()[i] || in_b.all()[i]) << a.name << " | " << b.name;
        ASSERT_NE(in_not_a.all()[i], in_a.all()[i]) << "!" << a.name;
      }
    }
  }
}

TEST(Masks, DefinitionsOfTheSimpleOnes) {
  EXPECT_TRUE(CausalMask{}.allows(3, 3) && CausalMask{}.allows(3, -9));
  EXPECT_FALSE(CausalMask{}.allows(3, 4));
  const DocumentMask m({5, 5, -1, 5});
  EXPECT_TRUE(m.allows(0, 3) && m.allows(3, 1) && m.allows(2, 2));
  EXPECT_FALSE(m.allows(0, 2) || m.allows(2, 3));
  EXPECT_FALSE(m.allows(-1, -1) || m.allows(4, 4) || m.allows(0, 4) || m.allows(-1, 0));
}

// What pays: tiles that are certain must be called so, or nothing is skipped and everything is
// masked.
TEST(Masks, CertainTilesAreCalledCertain) {
  EXPECT_EQ(CausalMask{}.classify({0, 48, 48, 112}), TileKind::kEmpty);
  EXPECT_EQ(CausalMask{}.classify({63, 90, 0, 64}), TileKind::kFull);
  EXPECT_EQ(CausalMask{}.classify({62, 90, 0, 64}), TileKind::kPartial);
  std::vector<std::int64_t> ids(256, 1);
  for (std::size_t i = 128; i < 256; ++i) ids[i] = 2;
  const DocumentMask m(ids);
  EXPECT_EQ(m.classify({0, 48, 128, 192}), TileKind::kEmpty);
  EXPECT_EQ(m.classify({128, 176, 128, 192}), TileKind::kFull);
  EXPECT_EQ((CausalMask{} & m).classify({192, 240, 0, 64}), TileKind::kEmpty);
  EXPECT_EQ((CausalMask{} & m).classify({192, 240, 128, 192}), TileKind::kFull);
}

TEST(Masks, AnyMaskKnowsFull) {
  EXPECT_TRUE(AnyMask().is_full() && AnyMask(FullMask{}).is_full());
  EXPECT_FALSE(AnyMask(CausalMask{}).is_full());
  const AnyMask copy = AnyMask(CausalMask{});
  EXPECT_FALSE(AnyMask(copy).allows(0, 1));
}

TEST(Masks, LowBits) {
  EXPECT_EQ(low_bits(-5), 0U);
  EXPECT_EQ(low_bits(0), 0U);
  EXPECT_EQ(low_bits(3), 7U);
  EXPECT_EQ(low_bits(63), ~std::uint64_t{0} >> 1);
  EXPECT_EQ(low_bits(64), ~std::uint64_t{0});
  EXPECT_EQ(low_bits(1000), ~std::uint64_t{0});
}

}  // namespace
}  // namespace regard::test
