// tests/plan/mask_text_test.cc - masks from text: what they mean, and what is said of text that
// means none.
#include "regard/mask_text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "plan/mask_promises.h"
#include "support/masks.h"

namespace regard::test {
namespace {

void expect_same(const AnyMask& a, const AnyMask& b, const std::string& what) {
  const Table in_a(a), in_b(b);
  EXPECT_TRUE(in_a.all() == in_b.all()) << what;
}

TEST(MaskText, EveryMask) {
  expect_same(parse_mask("full"), FullMask{}, "full");
  EXPECT_TRUE(parse_mask(" full ").is_full());
  expect_same(parse_mask("causal"), CausalMask{}, "causal");
  expect_same(parse_mask("window(7, 3)"), WindowMask{7, 3}, "window");
  expect_same(parse_mask("window(*, -2)"), WindowMask{.right = -2}, "window to the left");
  expect_same(parse_mask("window(5,*)"), WindowMask{.left = 5}, "window to the right");
  expect_same(parse_mask("prefix(30)"), PrefixMask{30}, "prefix");
  expect_same(parse_mask("strided(9)"), StridedMask(9), "strided");
  expect_same(parse_mask("document(4, 4, -1, 4)"), DocumentMask({4, 4, -1, 4}), "document");
  expect_same(parse_mask("document()"), DocumentMask({}), "no document");
  const std::string far = "9223372036854775807";
  expect_same(parse_mask("window(" + far + ", -" + far + ")"), WindowMask{INT64_MAX, -INT64_MAX},
              "far window");
}

TEST(MaskText, AndBindsTighterThanOr) {
  const AnyMask a = CausalMask{}, b = PrefixMask{30}, c = StridedMask(4);
  expect_same(parse_mask("causal & prefix(30) | strided(4)"), (a & b) | c, "a & b | c");
  expect_same(parse_mask("causal | prefix(30) & strided(4)"), a | (b & c), "a | b & c");
  expect_same(parse_mask("(causal | prefix(30)) & strided(4)"), (a | b) & c, "(a | b) & c");
  expect_same(parse_mask("!causal & strided(4)"), (!a) & c, "!a & c");
  expect_same(parse_mask("!(causal & strided(4))"), !(a & c), "!(a & c)");
  expect_same(parse_mask("!!causal"), a, "!!a");
  expect_same(parse_mask("causal & !prefix(30) & strided(4)"), a & !b & c, "a & !b & c");
}

TEST(MaskText, SpacesAnywhere) {
  const AnyMask expected = CausalMask{} & !WindowMask{4, 2};
  expect_same(parse_mask("causal&!window(4,2)"), expected, "none");
  expect_same(parse_mask("\n causal\t&\r\n ! window ( 4 , 2 ) \v\f"), expected, "many");
}

TEST(MaskText, DescriptionsReadBack) {
  for (const std::uint64_t seed : trial_seeds(300)) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    const NamedMask mask = random_text_mask(rng, rng.pick({16, 120}), 5);
    if (mask.mask.describe().find("...") != std::string::npos) continue;  // for people only
    const AnyMask read = parse_mask(mask.mask.describe());
    expect_same(read, mask.mask, mask.mask.describe());
    EXPECT_EQ(read.describe(), mask.mask.describe());
  }
}

TEST(MaskText, AShortenedDescriptionIsNoText) {
  const std::string text = DocumentMask(std::vector<std::int64_t>(17)).describe();
  EXPECT_THROW(parse_mask(text), std::invalid_argument) << text;
}

// Thousands of terms nest no deeper than their logarithm: nothing overflows the stack, and what is
// described reads back.
TEST(MaskText, LongChains) {
  std::string text = "prefix(3)";
  for (int i = 0; i < 100'000; ++i) text += " | prefix(" + std::to_string(i % 50) + ")";
  const AnyMask mask = parse_mask(text);
  EXPECT_TRUE(mask.allows(0, 48));
  EXPECT_FALSE(mask.allows(0, 49));
  EXPECT_EQ(parse_mask(mask.describe()).describe(), mask.describe());
  text = "full";  // an odd number of terms
  for (int i = 0; i < 100; ++i) text += " & !window(0, " + std::to_string(i) + ")";
  EXPECT_FALSE(parse_mask(text).allows(0, 99));
  EXPECT_TRUE(parse_mask(text).allows(0, 100));
}

std::string refusal(const std::string& text) {
  try {
    return "accepted: " + parse_mask(text).describe();
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
}

TEST(MaskText, SaysWhereAndWhat) {
  EXPECT_EQ(refusal("causal & foo | full"),
            "mask: column 10: expected full, causal, window(left, right), prefix(n), strided(n), "
            "document(ids), ! or (, came \"foo\"\n"
            "  causal & foo | full\n"
            "           ^");
  EXPECT_EQ(refusal("window(3)"),
            "mask: column 9: expected a comma, came \")\"\n  window(3)\n          ^");
}

// The first line after its column, without what came.
std::string expected_of(const std::string& text) {
  const std::string message = refusal(text);
  const std::string line = message.substr(0, message.find('\n'));
  const std::size_t begin = line.find("column ");
  return begin == std::string::npos ? message : line.substr(begin + 7);
}

TEST(MaskText, EveryError) {
  const std::string mask =
      ": expected full, causal, window(left, right), prefix(n), strided(n), document(ids), ! or (";
  EXPECT_EQ(expected_of(""), "1" + mask + ", came the end");
  EXPECT_EQ(expected_of("  "), "3" + mask + ", came the end");
  EXPECT_EQ(expected_of("Causal"), "1" + mask + ", came \"Causal\"");
  EXPECT_EQ(expected_of("causal && full"), "9" + mask + ", came \"&\"");
  EXPECT_EQ(expected_of("(causal | )"), "11" + mask + ", came \")\"");
  EXPECT_EQ(expected_of("causal full"), "8: expected &, | or the end, came \"full\"");
  EXPECT_EQ(expected_of("causal)"), "7: expected &, | or the end, came \")\"");
  EXPECT_EQ(expected_of("!(causal"), "9: expected &, | or ), came the end");
  EXPECT_EQ(expected_of("window 3, 4"), "8: expected (, came \"3\"");
  EXPECT_EQ(expected_of("window(a, 4)"), "8: expected a whole number or *, came \"a\"");
  EXPECT_EQ(expected_of("window(1, 2, 3)"), "12: expected ), came \",\"");
  EXPECT_EQ(expected_of("prefix(*)"), "8: expected a whole number, came \"*\"");
  EXPECT_EQ(expected_of("prefix(- 3)"), "8: expected a whole number, came \"-\"");
  EXPECT_EQ(expected_of("prefix(+3)"), "8: expected a whole number, came \"+\"");
  EXPECT_EQ(expected_of("prefix(3.5)"), "9: expected ), came \".\"");
  EXPECT_EQ(expected_of("prefix(9223372036854775808)"),
            "8: expected a whole number of at most 64 bits, came \"9223372036854775808\"");
  EXPECT_EQ(expected_of("strided( 0)"), "10: expected a whole number of 1 or more, came \"0\"");
  EXPECT_EQ(expected_of("full & strided(-3)"),
            "16: expected a whole number of 1 or more, came \"-3\"");
  EXPECT_EQ(expected_of("document(,)"), "10: expected a whole number or ), came \",\"");
  EXPECT_EQ(expected_of("document(1 2)"), "12: expected a comma or ), came \"2\"");
  EXPECT_EQ(expected_of("document(1,)"), "12: expected a whole number, came \")\"");
}

TEST(MaskText, RefusesMasksThatNoTextHolds) {
  const std::string held = "1: expected a mask that its text holds; this one's ";
  EXPECT_EQ(expected_of("dense(4, 5)"), held + "booleans must come from C++, came \"dense\"");
  EXPECT_EQ(expected_of("block(4, 5)"), held + "booleans must come from C++, came \"block\"");
  EXPECT_EQ(expected_of("custom"), held + "code must come from C++, came \"custom\"");
}

TEST(MaskText, NestingIsLimited) {
  const auto nested = [](std::size_t n, const std::string& open, const std::string& close) {
    std::string text;
    for (std::size_t i = 0; i < n; ++i) text += open;
    text += "causal";
    for (std::size_t i = 0; i < n; ++i) text += close;
    return text;
  };
  expect_same(parse_mask(nested(100, "(", ")")), CausalMask{}, "100 parentheses");
  expect_same(parse_mask(nested(50, "!(", ")")), CausalMask{}, "50 and 50");
  const std::string too_deep = "101: expected at most 100 levels of ( and !, came ";
  EXPECT_EQ(expected_of(nested(101, "(", ")")), too_deep + "\"(\"");
  EXPECT_EQ(expected_of(nested(1'000'000, "!", "")), too_deep + "\"!\"");
  // Side by side is not inside.
  std::string wide = "(causal)";
  for (int i = 0; i < 300; ++i) wide += " & !(causal)";
  EXPECT_FALSE(parse_mask(wide).allows(0, 0));
}

// Long or unprintable text: three short lines of ASCII, the caret below the column.
TEST(MaskText, ErrorsAreShortAndPrintable) {
  const std::string long_text = std::string(5000, ' ') + "causal & " + std::string(5000, 'x');
  const std::string message = refusal(long_text);
  EXPECT_LT(message.size(), 400U);
  EXPECT_NE(message.find("column 5010: "), std::string::npos) << message;
  const std::size_t line = message.find('\n') + 1, caret = message.rfind('\n') + 1;
  EXPECT_EQ(message[line + message.size() - 1 - caret], 'x');
  EXPECT_EQ(message[line + message.size() - 2 - caret], ' ');
  EXPECT_EQ(refusal("causal &\t\xC3\xA9\x01\n|"),
            "mask: column 10: expected full, causal, window(left, right), prefix(n), strided(n), "
            "document(ids), ! or (, came \"?\"\n  causal & ??? |\n           ^");
}

// Words of the language in any order: a mask, or an error as above.
TEST(MaskText, AnyTextIsSafe) {
  const std::string words[] = {"causal", "full", "window(", "prefix(", "strided(", "document(", "!",
                               "(",      ")",    ",",       "*",       "-1",       "&",         "|",
                               " ",      "70",   "0",       "\n",      "\xFF",     "block"};
  std::int64_t accepted = 0;
  const std::vector<std::uint64_t> seeds = trial_seeds(20'000);
  for (const std::uint64_t seed : seeds) {
    REGARD_TRIAL(seed);
    Rng rng(seed);
    std::string text;
    for (std::int64_t n = rng.integer(1, 12); n > 0; --n) text += words[rng.integer(0, 19)];
    const std::string message = refusal(text);
    accepted += message.starts_with("accepted: ") ? 1 : 0;
    if (message.starts_with("accepted: ")) continue;
    ASSERT_TRUE(message.starts_with("mask: column ")) << message;
    ASSERT_EQ(std::ranges::count(message, '\n'), 2) << message;
    for (const char c : message) ASSERT_TRUE((c >= ' ' && c <= '~') || c == '\n') << message;
  }
  EXPECT_GE(accepted, std::ssize(seeds) / 200);
}

}  // namespace
}  // namespace regard::test
