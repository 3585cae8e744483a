// tests/cli/terminal_test.cc - text and bars in the columns of a terminal.
#include "cli/terminal.h"

#include <gtest/gtest.h>

#include "cli/unicode.h"

namespace regard::cli {
namespace {

TEST(Printable, KeepsWhatIsSeenAndNothingElse) {
  EXPECT_EQ(printable("plain"), "plain");
  EXPECT_EQ(printable("a\tb\r\nc"), "a b  c");
  EXPECT_EQ(printable("a\033[31mb\a\x7F"), "a[31mb");
  EXPECT_EQ(printable("a\u202Eb\u2066c\u200Bd"), "abcd");      // overrides, zero width space
  EXPECT_EQ(printable("👩\u200D🚀"), "👩\u200D🚀");            // joined emoji stay joined
  EXPECT_EQ(printable("a\xFF\xC3("), "a\uFFFD\uFFFD(");        // no UTF-8
  EXPECT_EQ(printable("\u05E9\u05DC"), "\u05E9\u05DC\u200E");  // closed by a left-to-right mark
}

TEST(DisplayWidth, CountsColumns) {
  EXPECT_EQ(display_width("bank"), 4);
  EXPECT_EQ(display_width("銀行"), 4);
  EXPECT_EQ(display_width("e\u0301"), 1);
  EXPECT_EQ(display_width(""), 0);
}

TEST(Clip, EndsAtAGraphemeWithinTheWidth) {
  EXPECT_EQ(clip("bank", 4, "…"), "bank");
  EXPECT_EQ(clip("banks", 4, "…"), "ban…");
  EXPECT_EQ(clip("banks", 4, "..."), "b...");
  EXPECT_EQ(clip("banks", 2, "..."), "ba");
  EXPECT_EQ(clip("銀行銀行", 6, "…"), "銀行…");
  EXPECT_EQ(clip("e\u0301e\u0301e\u0301", 2, "…"), "e\u0301…");
  EXPECT_EQ(clip("銀", 1, ""), "");
  EXPECT_EQ(clip("banks", 0, "…"), "");
}

TEST(IsPunctuation, AsBertHasIt) {
  for (const char* mark : {".", "$", "—", "“", "、", "..."})
    EXPECT_TRUE(is_punctuation(mark)) << mark;
  for (const char* word : {"", "a", "a.", "1", "é", "€", " "})
    EXPECT_FALSE(is_punctuation(word)) << word;
}

TEST(Line, NeverExceedsTheWidth) {
  const Terminal terminal{.width = 8};
  EXPECT_EQ(Line(terminal).add("bank").add(" of the river").str(), "bank of…\n");
  EXPECT_EQ(Line(terminal).add_right("5%", 6).pad_to(20).str(), "    5%\n");
  EXPECT_EQ(Line(terminal).add("a").pad_to(3).add("b").add_right("c", 7).str(), "a  b  c\n");
}

TEST(Line, DrawsBarsInEighths) {
  const Terminal terminal{.width = 8};
  EXPECT_EQ(Line(terminal).add_bar(1, 4).add("|").str(), "████|\n");
  EXPECT_EQ(Line(terminal).add_bar(0.53125, 4).add("|").str(), "██▏ |\n");  // 17 of 32 eighths
  EXPECT_EQ(Line(terminal).add_bar(0, 4).add("|").str(), "    |\n");
  EXPECT_EQ(Line(terminal).add_bar(7, 4).add("|").str(), "████|\n");
  const Terminal ascii{.width = 8, .unicode = false};
  EXPECT_EQ(Line(ascii).add_bar(0.5, 4).add("|").str(), "##  |\n");
}

TEST(Line, ColoursOnlyWhereAsked) {
  const Terminal colour{.width = 8, .colour = true};
  EXPECT_EQ(Line(colour).add("a", Style::kBold).add("b").str(), "\033[1ma\033[0mb\n");
  EXPECT_EQ(Line(Terminal{.width = 8}).add("a", Style::kBold).str(), "a\n");
}

}  // namespace
}  // namespace regard::cli
