// tests/plan/mask_limits_test.cc - masks at the ends of their ranges: extreme numbers, nothing to
// ask, word ends, what is refused.
#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "regard/any_mask.h"

namespace regard::test {
namespace {

constexpr std::int64_t kFar = std::int64_t{1} << 40;  // the largest extent and offset of a call
constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
// What a side or a length may be, overflow included; and where queries and keys may stand.
constexpr std::array kNumbers{kLeast, kLeast + 1, -kFar, -65L,          -3L,       0L,
                              1L,     64L,        kFar,  kMost / 2 + 1, kMost - 1, kMost};
constexpr std::array kPositions{-kFar, -3L, 0L, 61L, kFar - 70, 2 * kFar};

/// The three promises for some rows and tiles that begin at (q, kv); "defined" is the definition.
template <class Defined>
void expect_promises_at(const AnyMask& mask, std::int64_t q, std::int64_t kv, Defined defined) {
  for (std::int64_t i = q; i < q + 3; ++i) {
    const std::uint64_t bits = mask.row_bits(i, kv);
    for (std::int64_t j = kv; j < kv + 64; ++j) {
      ASSERT_EQ(mask.allows(i, j), defined(i, j)) << mask.describe() << " " << i << " " << j;
      ASSERT_EQ((bits >> (j - kv) & 1) != 0, defined(i, j)) << mask.describe() << " bit " << j;
    }
  }
  for (const std::int64_t kv_end : {kv + 1, kv + 5, kv + 64}) {
    const TileKind kind = mask.classify({q, q + 3, kv, kv_end});
    for (std::int64_t i = q; kind != TileKind::kPartial && i < q + 3; ++i) {
      for (std::int64_t j = kv; j < kv_end; ++j) {
        ASSERT_EQ(defined(i, j), kind == TileKind::kFull)
            << mask.describe() << " " << i << " " << j;
      }
    }
  }
}

template <class Defined>
void expect_promises(const AnyMask& mask, Defined defined) {
  for (const std::int64_t q : kPositions) {
    for (const std::int64_t kv : kPositions) {
      for (const std::int64_t near : {kv, q - 66, q - 63, q - 1, q + 1, q + 60}) {
        expect_promises_at(mask, q, near, defined);
      }
    }
  }
}

__extension__ using Wide = __int128;  // its sums cannot overflow here

TEST(MaskLimits, AnyTwoNumbersMakeAWindow) {
  for (const std::int64_t left : kNumbers) {
    for (const std::int64_t right : kNumbers) {
      expect_promises(WindowMask{left, right}, [&](std::int64_t q, std::int64_t kv) {
        return Wide{kv} >= Wide{q} - left && Wide{kv} <= Wide{q} + right;
      });
    }
  }
}

TEST(MaskLimits, AnyNumberMakesAPrefix) {
  for (const std::int64_t length : kNumbers) {
    expect_promises(PrefixMask{length}, [&](std::int64_t, std::int64_t kv) { return kv < length; });
  }
}

TEST(MaskLimits, AnyNumberFrom1MakesAStride) {
  for (const std::int64_t stride : {1L, 2L, 63L, 64L, 65L, kFar, kMost - 1, kMost}) {
    expect_promises(StridedMask(stride),
                    [&](std::int64_t q, std::int64_t kv) { return (Wide{q} - kv) % stride == 0; });
  }
}

TEST(MaskLimits, BlocksOfAnySize) {
  constexpr std::array<bool, 6> kMap{true, false, true, false, true, true};
  for (const std::int64_t q_block : {1L, 7L, kFar, kMost}) {
    for (const std::int64_t kv_block : {1L, 7L, 64L, 65L, kFar, kMost}) {
      const BlockMask mask({kMap.data(), {1, 1, 2, 3}}, q_block, kv_block);
      const auto defined = [&](std::int64_t q, std::int64_t kv) {
        if (q < 0 || kv < 0 || q / q_block > 1 || kv / kv_block > 2) return false;
        return kMap[static_cast<std::size_t>(q / q_block * 3 + kv / kv_block)];
      };
      expect_promises(mask, defined);
      if (q_block > 7 || kv_block > 65) continue;
      for (const std::int64_t q : {-1L, 0L, q_block - 1, 2 * q_block - 1}) {  // where the map ends
        for (const std::int64_t kv : {-1L, kv_block - 1, 3 * kv_block - 1}) {
          expect_promises_at(mask, q, kv, defined);
        }
      }
    }
  }
}

// Eight keys are gathered at once: every length and every first key, in memory that ends where the
// mask does, so that a sanitizer sees a byte too far.
TEST(MaskLimits, DenseBitsAtEveryWordEnd) {
  for (const std::int64_t keys : {1L, 7L, 8L, 9L, 63L, 64L, 65L, 130L}) {
    const auto size = static_cast<std::size_t>(3 * keys);
    const auto allowed = std::make_unique<bool[]>(size);
    for (std::size_t i = 0; i < size; ++i) allowed[i] = i * i % 7 < 3;
    const DenseMask mask({allowed.get(), {1, 1, 3, keys}}, -1);
    for (std::int64_t kv = -70; kv < keys + 2; ++kv) {
      expect_promises_at(mask, -2, kv, [&](std::int64_t q, std::int64_t j) {
        if (q < -1 || q > 1 || j < 0 || j >= keys) return false;
        return allowed[static_cast<std::size_t>((q + 1) * keys + j)];
      });
    }
  }
}

TEST(MaskLimits, WithoutSequencesOrHeadsNothingIsSeenOrRead) {
  for (const std::array<std::int64_t, 4> shape :
       {std::array<std::int64_t, 4>{0, 1, 5, 70}, {1, 0, 5, 70}, {1, 2, 0, 70}, {1, 2, 5, 0}}) {
    const TensorView<const bool, 4> view(nullptr, shape);
    for (const AnyMask& mask : {AnyMask(DenseMask(view)), AnyMask(BlockMask(view, 2, 2)),
                                AnyMask(DenseMask(view)).at(0, 1)}) {
      mask.check(shape[0], shape[1]);
      expect_promises_at(mask, 0, 0, [](std::int64_t, std::int64_t) { return false; });
    }
  }
}

std::string message_of(const auto& action) {
  try {
    action();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing";
}

TEST(MaskLimits, RefusesWhatIsNoMask) {
  const bool one = true;
  const auto view = [&](std::array<std::int64_t, 4> shape) {
    return TensorView<const bool, 4>(&one, shape);
  };
  const TensorView<const bool, 4> nowhere(nullptr, {1, 1, 2, 2});
  EXPECT_EQ(message_of([] { StridedMask(0); }), "StridedMask: stride is 0, expected 1 or more");
  EXPECT_EQ(message_of([&] { BlockMask(view({1, 1, 1, 1}), 0, 1); }),
            "BlockMask: q_block is 0, expected 1 or more");
  EXPECT_EQ(message_of([&] { BlockMask(view({1, 1, 1, 1}), 1, -2); }),
            "BlockMask: kv_block is -2, expected 1 or more");
  EXPECT_EQ(message_of([&] { BlockMask(view({1, 1, -1, 1}), 1, 1); }),
            "BlockMask: map.shape[2] is -1, expected 0 or more");
  EXPECT_EQ(message_of([&] { BlockMask(nowhere, 1, 1); }),
            "BlockMask: map.data is null, expected a pointer to its elements");
  EXPECT_EQ(message_of([&] { DenseMask(view({1, 1, 1, -1})); }),
            "DenseMask: allowed.shape[3] is -1, expected 0 or more");
  EXPECT_EQ(message_of([&] { DenseMask(view({1, 1, 1, 1}), kFar + 1); }),
            "DenseMask: q_begin is 1099511627777, expected -1099511627776..1099511627776");
  EXPECT_EQ(message_of([&] { DenseMask(nowhere).check(1, 1); }),
            "attention: mask.data is null, expected a pointer to its elements");
}

TEST(MaskLimits, RefusesACallThatItDoesNotFit) {
  const std::array<bool, 12> memory{};
  const AnyMask mask = CausalMask{} & !BlockMask({memory.data(), {3, 4, 1, 1}}, 1, 1);
  EXPECT_EQ(message_of([&] { mask.check(3, 4); }), "nothing");
  EXPECT_EQ(message_of([&] { mask.check(2, 4); }),
            "attention: mask.shape[0] is 3, expected 1 or 2 (batch)");
  EXPECT_EQ(message_of([&] { mask.check(3, 1); }),
            "attention: mask.shape[1] is 4, expected 1 (num_heads)");
}

// at() alone makes a mask vary: forgetting varies() must not make it silently the same for all.
struct HeadWindow {
  std::int64_t head = 0;
  bool allows(std::int64_t q, std::int64_t kv) const { return kv >= q - head && kv <= q; }
  TileKind classify(TileRange) const { return TileKind::kPartial; }
  std::uint64_t row_bits(std::int64_t q, std::int64_t kv) const {
    return WindowMask{head, 0}.row_bits(q, kv);
  }
  HeadWindow at(std::int64_t, std::int64_t h) const { return {h}; }
};
static_assert(VaryingMask<HeadWindow> && VaryingMask<AnyMask> && !VaryingMask<CausalMask>);

TEST(MaskLimits, AtAloneMakesAMaskVary) {
  const AnyMask mask = DocumentMask({1, 1, 1, 2}) & HeadWindow{};
  EXPECT_TRUE(AnyMask(HeadWindow{}).varies() && mask.varies() && AnyMask(!mask).varies());
  EXPECT_FALSE(mask.allows(2, 1));
  EXPECT_TRUE(mask.at(0, 1).allows(2, 1) && mask.at(7, 2).allows(2, 0));
  EXPECT_FALSE(mask.at(0, 1).allows(2, 0) || mask.at(0, 1).allows(3, 2));
  EXPECT_FALSE(AnyMask(CausalMask{} & FullMask{}).varies());
}

}  // namespace
}  // namespace regard::test
