// tests/model/compose_test.cc - NFC: what composes, in which order, and where it came from.
#include "model/compose.h"

#include <gtest/gtest.h>

namespace regard::model {
namespace {

std::string composed(std::string_view text) { return compose(text, 0).text; }

TEST(Compose, InCanonicalOrderInLongRunsOfMarksToo) {
  EXPECT_EQ(composed(""), "");
  EXPECT_EQ(composed("e\u0301"), "\u00E9");
  EXPECT_EQ(composed("a\u0301\u0323"), "\u1EA1\u0301");  // the mark below composes first
  EXPECT_EQ(composed("\u1112\u1161\u11AB"), "\uD55C");
  std::string marks = "x", sorted = "x";
  constexpr int kMarks = 100'000;
  for (int i = 0; i < kMarks; ++i) marks += i % 2 == 0 ? "\u0301" : "\u0323";
  for (int i = 0; i < kMarks; ++i) sorted += i < kMarks / 2 ? "\u0323" : "\u0301";
  EXPECT_EQ(composed(marks), composed(sorted));
  EXPECT_EQ(composed(marks), composed("x\u0323") + sorted.substr(3));
}

TEST(Compose, KnowsWhereEachByteCameFrom) {
  // 'e' and its mark become one character, which has the place of 'e'; what follows keeps its own.
  const NormalizedText text = compose("e\u0301b", 10);
  ASSERT_EQ(text.text, "\u00E9b");
  EXPECT_EQ(text.source[0].begin, 10U);
  EXPECT_EQ(text.source[1].end, 11U);
  EXPECT_EQ(text.source[2].begin, 13U);
  EXPECT_EQ(text.source[2].end, 14U);
  // U+0958 is excluded from composition: two characters come of one, at the same place.
  const NormalizedText two = compose("a\u0958", 0);
  ASSERT_EQ(two.text, "a\u0915\u093C");
  EXPECT_EQ(two.source.front().end, 1U);
  EXPECT_EQ(two.source.back().begin, 1U);
  EXPECT_EQ(two.source.back().end, 4U);
}

TEST(Compose, SaysWhereItHasNothingToDo) {
  EXPECT_TRUE(is_composed("plain \u00E9\u02FF"));
  EXPECT_FALSE(is_composed("\u0300"));
}

}  // namespace
}  // namespace regard::model
