// tests/plan/mask_test.cc - the three promises of every mask, exhaustively on a small grid.
#include "regard/mask.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "plan/mask_promises.h"
#include "regard/any_mask.h"
#include "support/masks.h"

namespace regard::test {
namespace {

constexpr std::int64_t kAll = WindowMask::kUnbounded;

template <class A, class B>
concept HasAndAnd = requires(A a, B b) { a&& b; };
template <class A, class B>
concept HasOrOr = requires(A a, B b) { a || b; };
static_assert(!HasAndAnd<CausalMask, DocumentMask> && !HasAndAnd<AnyMask, FullMask>);
static_assert(!HasOrOr<CausalMask, DocumentMask> && !HasOrOr<AnyMask, FullMask>);
static_assert(Mask<AndMask<CausalMask, OrMask<NotMask<DocumentMask>, FullMask>>> && Mask<AnyMask>);
static_assert(Mask<WindowMask> && Mask<PrefixMask> && Mask<StridedMask> &&
              !VaryingMask<WindowMask>);
static_assert(VaryingMask<BlockMask> && VaryingMask<DenseMask> && VaryingMask<AnyMask>);
static_assert(VaryingMask<NotMask<AndMask<CausalMask, OrMask<BlockMask, DenseMask>>>>);

std::vector<std::int64_t> documents(std::int64_t run, std::int64_t count) {
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < 100; ++i) ids.push_back(i / run * 7 % count - 1);
  return ids;
}

// Every fifth pair is forbidden.
BlockMask blocks(std::int64_t num_q, std::int64_t num_kv, std::int64_t q_block,
                 std::int64_t kv_block) {
  const auto size = static_cast<std::size_t>(num_q * num_kv);
  const auto map = std::make_unique<bool[]>(size);
  for (std::size_t i = 0; i < size; ++i) map[i] = i % 5 != 2;
  return {{map.get(), {1, 1, num_q, num_kv}}, q_block, kv_block};
}

OwnedDenseMask dense(std::int64_t num_q, std::int64_t num_kv, std::int64_t q_begin) {
  std::vector<std::uint8_t> allowed(static_cast<std::size_t>(num_q * num_kv));
  for (std::size_t i = 0; i < allowed.size(); ++i) allowed[i] = i * i % 7 < 3;
  return {std::move(allowed), {1, 1, num_q, num_kv}, q_begin};
}

// Those whose classify() is exact: it says kPartial only of a tile that is.
std::vector<NamedMask> exact_masks() {
  return {{FullMask{}, "Full"},
          {CausalMask{}, "Causal"},
          {WindowMask{}, "Window(*, *)"},
          {WindowMask{7, 0}, "Window(7, 0)"},
          {WindowMask{kAll, -3}, "Window(*, -3)"},
          {WindowMask{-2, 40}, "Window(-2, 40)"},
          {WindowMask{-5, 4}, "Window(-5, 4)"},
          {PrefixMask{0}, "Prefix(0)"},
          {PrefixMask{70}, "Prefix(70)"},
          {StridedMask(1), "Strided(1)"},
          {StridedMask(9), "Strided(9)"},
          {StridedMask(130), "Strided(130)"},
          {blocks(9, 5, 16, 32), "Block(16, 32)"},
          {blocks(30, 40, 3, 2), "Block(3, 2)"},
          {blocks(0, 3, 8, 8), "Block(none)"}};
}

std::vector<NamedMask> simple_masks() {
  std::vector<NamedMask> masks = exact_masks();
  const std::vector<NamedMask> others{{DocumentMask(documents(17, 3)), "Document(runs)"},
                                      {DocumentMask(documents(1, 3)), "Document(scattered)"},
                                      {DocumentMask(documents(100, 1)), "Document(one)"},
                                      {DocumentMask({}), "Document(none)"},
                                      {dense(150, 220, -5), "Dense(all)"},
                                      {dense(60, 70, 10), "Dense(some)"}};
  masks.insert(masks.end(), others.begin(), others.end());
  return masks;
}

TEST(Masks, KeepTheirPromises) {
  for (const NamedMask& m : simple_masks()) {
    expect_promises(m.mask, m.name);
    expect_promises(!m.mask, "!" + m.name);
  }
}

TEST(Masks, KeepTheirPromisesInPairs) {
  const std::vector<NamedMask> masks = simple_masks();
  for (std::size_t i = 0; i < masks.size(); ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      const auto& [a, name] = masks[i];
      const auto& [b, other] = masks[j];
      if ((i + j) % 2 == 0) expect_promises(a & b, name + " & " + other);
      if ((i + j) % 2 == 1) expect_promises(a | !b, name + " | !" + other);
    }
  }
}

TEST(Masks, KeepTheirPromisesInRandomTrees) {
  for (const std::uint64_t seed : trial_seeds(150)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const NamedMask mask = random_mask(rng, 120, 4);
    expect_promises(mask.mask, mask.name);
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
  const WindowMask w{2, 1};
  EXPECT_TRUE(w.allows(5, 3) && w.allows(5, 5) && w.allows(5, 6));
  EXPECT_FALSE(w.allows(5, 2) || w.allows(5, 7));
  EXPECT_TRUE((WindowMask{.right = 0}.allows(5, -1000)));
  EXPECT_TRUE((WindowMask{-2, 3}.allows(5, 7)) && !(WindowMask{-2, 3}.allows(5, 6)));
  EXPECT_TRUE(PrefixMask{3}.allows(0, 2) && PrefixMask{3}.allows(9, -1));
  EXPECT_FALSE(PrefixMask{3}.allows(0, 3) || PrefixMask{}.allows(0, 0));
  const StridedMask s(3);
  EXPECT_TRUE(s.allows(7, 7) && s.allows(7, 4) && s.allows(7, 10) && s.allows(-2, 4));
  EXPECT_FALSE(s.allows(7, 6) || s.allows(7, 8) || s.allows(-2, 0));
}

// What pays: tiles that are certain must be called so, or nothing is skipped and everything is
// masked.
TEST(Masks, CertainTilesAreCalledCertain) {
  for (const NamedMask& m : exact_masks()) {
    const Table allows(m.mask);
    for (std::int64_t q = kLow; q < kHigh; q += 4) {
      for (const std::int64_t rows : {1, 2, 10, 16}) {
        for (std::int64_t kv = kLow; kv < kHigh; kv += 7) {
          for (const std::int64_t keys : {1, 2, 9, 64}) {
            const TileRange tile{q, std::min(q + rows, kHigh), kv, kv + keys};
            ASSERT_EQ(m.mask.classify(tile), kind_of(allows, tile))
                << m.name << " queries " << q << " + " << rows << ", keys " << kv << " + " << keys;
          }
        }
      }
    }
  }
  std::vector<std::int64_t> ids(256, 1);
  for (std::size_t i = 128; i < 256; ++i) ids[i] = 2;
  const DocumentMask m(ids);
  EXPECT_EQ(m.classify({0, 48, 128, 192}), TileKind::kEmpty);
  EXPECT_EQ(m.classify({128, 176, 128, 192}), TileKind::kFull);
  EXPECT_EQ((CausalMask{} & m).classify({192, 240, 0, 64}), TileKind::kEmpty);
  EXPECT_EQ((CausalMask{} & m).classify({192, 240, 128, 192}), TileKind::kFull);
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
