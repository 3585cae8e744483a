// tests/plan/mask_data_test.cc - masks made of numbers in memory, and what differs between
// sequences and heads.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "plan/mask_promises.h"
#include "regard/any_mask.h"
#include "support/masks.h"

namespace regard::test {
namespace {

using Shape = std::array<std::int64_t, 4>;

// Whether pair (i, j) of a sequence and head is allowed: without a pattern that a wrong stride
// hits.
bool hash(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) {
  return (b * 31 + h * 17 + i * 7 + j * j * 3 + i * j) % 11 < 5;
}

// Bytes with a view into them: allowed(b, h, i, j) wherever the view's strides put it.
struct Booleans {
  Booleans(const Shape& shape, const Shape& strides, std::int64_t first, std::size_t size)
      : memory(new bool[size]()), view(memory.get() + first, shape, strides) {
    for (std::int64_t b = 0; b < shape[0]; ++b) {
      for (std::int64_t h = 0; h < shape[1]; ++h) {
        for (std::int64_t i = 0; i < shape[2]; ++i) {
          for (std::int64_t j = 0; j < shape[3]; ++j) view(b, h, i, j) = hash(b, h, i, j);
        }
      }
    }
  }
  std::unique_ptr<bool[]> memory;
  TensorView<bool, 4> view;
};

// What the mask says of one sequence and head, everywhere, is what its view holds.
void expect_reads(const DenseMask& mask, const TensorView<const bool, 4>& view, std::int64_t b,
                  std::int64_t h, std::int64_t q_begin) {
  const Table allows(mask);
  for (std::int64_t q = kLow; q < kHigh; ++q) {
    for (std::int64_t kv = kLow; kv < kHigh; ++kv) {
      const std::int64_t i = q - q_begin;
      const bool inside = i >= 0 && i < view.shape[2] && kv >= 0 && kv < view.shape[3];
      ASSERT_EQ(allows(q, kv), inside && view(b, h, i, kv))
          << b << " " << h << " " << i << " " << kv;
    }
  }
  expect_promises(mask, mask.describe());
}

TEST(DenseMask, ReadsAnyStrides) {
  const Shape shape{2, 3, 40, 130};
  const std::int64_t n = 40, m = 130;
  const Booleans adjacent(shape, {3 * n * m, n * m, m, 1}, 0, 6 * n * m);
  const Booleans columns(shape, {3 * n * m, n * m, 1, n}, 0, 6 * n * m);
  const Booleans gaps(shape, {m * 3 * 2, m * 2, m * 6 * 2, 2}, 0, 12 * n * m);
  const Booleans backwards(shape, {3 * n * m, n * m, -m, -1}, n * m - 1, 6 * n * m);
  for (const Booleans* each : {&adjacent, &columns, &gaps, &backwards}) {
    for (const std::int64_t q_begin : {0, -4, 90}) {
      const DenseMask mask(each->view, q_begin);
      EXPECT_TRUE(mask.varies());
      expect_reads(mask, each->view, 0, 0, q_begin);  // until it is asked: the first of them
      for (const auto& [b, h] : {std::pair{0, 1}, {1, 0}, {1, 2}}) {
        expect_reads(mask.at(b, h), each->view, b, h, q_begin);
        EXPECT_FALSE(mask.at(b, h).varies());
      }
    }
  }
}

TEST(DenseMask, Broadcasts) {
  const Booleans heads({1, 3, 9, 80}, {0, 9 * 80, 80, 1}, 0, 3 * 9 * 80);  // extents of 1
  const DenseMask mask(heads.view);
  EXPECT_TRUE(mask.varies());
  expect_reads(mask.at(7, 2), heads.view, 0, 2, 0);
  const Booleans rows({1, 1, 1, 80}, {0, 0, 0, 1}, 0, 80);  // strides of 0: padding of keys
  const TensorView<const bool, 4> padding(rows.view.data, {2, 3, 9, 80}, {0, 0, 0, 1});
  expect_reads(DenseMask(padding).at(1, 2), padding, 1, 2, 0);
}

TEST(BlockMask, IsItsMapPerSequenceAndHead) {
  const Booleans map({2, 3, 5, 7}, {3, 1, 6 * 7, 6}, 0, 2 * 3 * 5 * 7);
  const BlockMask mask(map.view, 11, 16);
  EXPECT_TRUE(mask.varies());
  for (std::int64_t b = 0; b < 2; ++b) {
    for (std::int64_t h = 0; h < 3; ++h) {
      const BlockMask one = mask.at(b, h);
      EXPECT_FALSE(one.varies());
      const Table allows(one);
      for (std::int64_t q = kLow; q < kHigh; ++q) {
        for (std::int64_t kv = kLow; kv < kHigh; ++kv) {
          const bool inside = q >= 0 && q < 55 && kv >= 0 && kv < 112;
          ASSERT_EQ(allows(q, kv), inside && hash(b, h, q / 11, kv / 16)) << q << " " << kv;
        }
      }
      expect_promises(one, one.describe());
    }
  }
}

TEST(BlockMask, CopiesItsMap) {
  Booleans map({1, 1, 2, 2}, {0, 0, 2, 1}, 0, 4);
  const BlockMask mask(map.view, 4, 4);
  const std::uint64_t before = mask.row_bits(0, 0);
  for (std::size_t i = 0; i < 4; ++i) map.memory[i] = !map.memory[i];
  EXPECT_EQ(mask.row_bits(0, 0), before);
}

std::string refusal(const AnyMask& mask, std::int64_t batch, std::int64_t heads) {
  try {
    mask.check(batch, heads);
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}

TEST(Masks, CheckTheirExtents) {
  const Booleans b({2, 3, 4, 5}, {60, 20, 5, 1}, 0, 120);
  const std::string batch = "attention: mask.shape[0] is 2, expected 1 or 4 (batch)";
  const std::string heads = "attention: mask.shape[1] is 3, expected 1 or 6 (num_heads)";
  const AnyMask both[] = {DenseMask(b.view), BlockMask(b.view, 2, 2)};
  for (const AnyMask& mask : both) {
    EXPECT_EQ(refusal(mask, 2, 3), "");
    EXPECT_EQ(refusal(mask, 4, 3), batch);
    EXPECT_EQ(refusal(mask, 2, 6), heads);
    // From wherever in an expression it stands.
    EXPECT_EQ(refusal(CausalMask{} & !mask, 2, 6), heads);
    EXPECT_EQ(refusal(mask | CausalMask{}, 4, 3), batch);
    EXPECT_EQ(refusal(CausalMask{} | (mask & FullMask{}), 4, 3), batch);
  }
  EXPECT_EQ(refusal(DenseMask(TensorView<const bool, 4>(nullptr, {1, 1, 4, 5})), 2, 6),
            "attention: mask.data is null, expected a pointer to its elements");
  EXPECT_EQ(refusal(CausalMask{} | WindowMask{}, 4, 3), "");
}

TEST(Masks, VaryWhereAPartDoes) {
  const Booleans b({2, 3, 4, 90}, {3 * 360, 360, 90, 1}, 0, 6 * 360);
  const DenseMask dense(b.view);
  EXPECT_TRUE((CausalMask{} & dense).varies() && (dense | FullMask{}).varies());
  EXPECT_TRUE((!dense).varies());
  EXPECT_FALSE((CausalMask{} & DocumentMask({1})).varies());
  for (std::int64_t q = 0; q < 4; ++q) {
    for (std::int64_t kv = 0; kv < 90; ++kv) {
      const bool allowed = b.view(1, 2, q, kv);
      EXPECT_EQ((CausalMask{} & dense).at(1, 2).allows(q, kv), kv <= q && allowed);
      EXPECT_EQ((dense | CausalMask{}).at(1, 2).allows(q, kv), kv <= q || allowed);
      EXPECT_EQ((!dense).at(1, 2).allows(q, kv), !allowed);
    }
  }
}

TEST(AnyMask, KnowsFull) {
  EXPECT_TRUE(AnyMask().is_full() && AnyMask(FullMask{}).is_full());
  EXPECT_FALSE(AnyMask(CausalMask{}).is_full());
  const AnyMask copy = AnyMask(CausalMask{});
  EXPECT_FALSE(AnyMask(copy).allows(0, 1));
}

TEST(AnyMask, ForwardsEverything) {
  const Booleans b({2, 3, 40, 130}, {3 * 40 * 130, 40 * 130, 130, 1}, 0, 6 * 40 * 130);
  const BlockMask block(b.view, 1, 1);
  const auto typed = CausalMask{} & block;
  const AnyMask any = typed;
  EXPECT_TRUE(any.varies());
  EXPECT_EQ(any.describe(), "(causal & block(1, 1))");
  EXPECT_EQ(AnyMask(PredicateMask{FullMask{}}).describe(), "custom");
  EXPECT_EQ(refusal(any, 9, 3), "attention: mask.shape[0] is 2, expected 1 or 9 (batch)");
  for (const AnyMask& mask : {any, any.at(1, 2)}) {
    const auto same = mask.varies() ? typed : typed.at(1, 2);
    for (std::int64_t q = -3; q < 45; ++q) {
      for (std::int64_t kv = -3; kv < 135; ++kv) {
        ASSERT_EQ(mask.allows(q, kv), same.allows(q, kv));
        ASSERT_EQ(mask.row_bits(q, kv), same.row_bits(q, kv));
        const TileRange tile{q, q + 5, kv, kv + 3};
        ASSERT_EQ(mask.classify(tile), same.classify(tile));
      }
    }
  }
  EXPECT_FALSE(any.at(1, 2).varies());
  EXPECT_EQ(AnyMask(CausalMask{}).at(5, 5).describe(), "causal");
}

TEST(Masks, DescribeThemselves) {
  const Booleans b({1, 1, 4, 5}, {20, 20, 5, 1}, 0, 20);
  EXPECT_EQ(describe_mask(!(CausalMask{} | (FullMask{} & PrefixMask{3}))),
            "!(causal | (full & prefix(3)))");
  EXPECT_EQ(describe_mask(WindowMask{.left = 4096, .right = 0}), "window(4096, 0)");
  EXPECT_EQ(describe_mask(WindowMask{.right = -2}), "window(*, -2)");
  EXPECT_EQ(describe_mask(StridedMask(8)), "strided(8)");
  EXPECT_EQ(describe_mask(DocumentMask({0, -1, 7})), "document(0, -1, 7)");
  EXPECT_EQ(describe_mask(DocumentMask({})), "document()");
  std::vector<std::int64_t> ids(16, 1);
  const std::string ones = "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1";
  EXPECT_EQ(describe_mask(DocumentMask(ids)), "document(" + ones + ")");
  ids.resize(100'000, 2);
  EXPECT_EQ(describe_mask(DocumentMask(ids)), "document(" + ones + ", ... 100000 ids)");
  EXPECT_EQ(describe_mask(BlockMask(b.view, 8, 16)), "block(8, 16)");
  EXPECT_EQ(describe_mask(DenseMask(b.view)), "dense(4, 5)");
}

TEST(DenseMask, KeepsItsOwner) {
  auto owner = std::make_shared<const std::array<bool, 6>>(std::array<bool, 6>{true});
  const std::weak_ptr<const void> watch = owner;
  AnyMask mask = DenseMask({owner->data(), {1, 1, 2, 3}}, 0, owner);
  owner.reset();
  mask = mask.at(0, 0) & AnyMask();
  EXPECT_TRUE(mask.allows(0, 0));
  EXPECT_FALSE(watch.expired());
  mask = AnyMask();
  EXPECT_TRUE(watch.expired());
}

TEST(PerSequenceMask, IsEachSequencesOwn) {
  const Booleans b({1, 2, 4, 5}, {40, 20, 5, 1}, 0, 40);
  const PerSequenceMask mask({!AnyMask(PrefixMask{3}), CausalMask{}, DenseMask(b.view)});
  expect_promises(mask.at(1, 0), "causal for sequence 1");
  for (std::int64_t q = kLow; q < kHigh; ++q) {
    for (std::int64_t kv = kLow; kv < kHigh; ++kv) {
      ASSERT_EQ(mask.at(0, 1).allows(q, kv), kv >= 3);
      ASSERT_EQ(mask.at(1, 1).allows(q, kv), kv <= q);
      ASSERT_EQ(mask.at(2, 1).allows(q, kv), DenseMask(b.view).at(0, 1).allows(q, kv));
    }
  }
  EXPECT_TRUE(AnyMask(mask).varies());
  EXPECT_EQ(AnyMask(mask).at(0, 0).at(2, 0).describe(), "per_sequence(!prefix(3))");
  EXPECT_EQ(mask.describe(), "per_sequence(!prefix(3), causal, dense(4, 5))");
  EXPECT_EQ(PerSequenceMask(std::vector<AnyMask>(9)).describe(),
            "per_sequence(full, full, full, full, ... 9 masks)");
}

TEST(PerSequenceMask, MustFitTheCall) {
  const PerSequenceMask two({AnyMask(), AnyMask()});
  EXPECT_NO_THROW(two.check(2, 5));
  EXPECT_EQ(refusal(two, 3, 1), "attention: mask.shape[0] is 2, expected 1 or 3 (batch)");
  EXPECT_EQ(refusal(PerSequenceMask({two}), 1, 1),
            "attention: mask.shape[0] is 2, expected 1 (batch)");
  EXPECT_THROW(PerSequenceMask({}), std::invalid_argument);
}

}  // namespace
}  // namespace regard::test
