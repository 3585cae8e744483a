// tests/model/unicode_test.cc - every code point against what `tokenizers` does with it; UTF-8.
#include "model/unicode.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "support/golden_digest.h"

namespace regard::model {
namespace {

constexpr int kIdeograph = 32;  // make_unicode_golden.py's, beside CodePointFlag
constexpr int kAllFlags = kControl | kWhitespace | kPunctuation | kNonspacingMark | kWord;

bool is_identity(const CodePoints& mapped, char32_t c) {
  return mapped.size == 1 && mapped.at[0] == c;
}

// A row of make_unicode_golden.py --explain. Identity is size 0; what is never asked is 0.
struct Row {
  int flags;
  int combining;
  CodePoints decomposed, lowercased;
};

Row row_of(char32_t c) {
  Row row{code_point_flags(c) & kAllFlags, 0, decompose(c), lowercase(c)};
  if (is_ideograph(c)) row.flags |= kIdeograph;
  if (is_identity(row.lowercased, c)) row.lowercased.size = 0;
  if (is_identity(row.decomposed, c)) {
    row.decomposed.size = 0;
    row.combining = combining_class(c);
  } else {
    row.flags &= ~kNonspacingMark;
  }
  return row;
}

bool is_surrogate(char32_t c) { return c >= 0xD800 && c < 0xE000; }

std::string digests(char32_t block) {
  std::array<test::GoldenDigest, 4> columns;
  const auto add = [](test::GoldenDigest& digest, const CodePoints& mapped) {
    digest.add(static_cast<std::int64_t>(mapped.size));
    for (std::size_t i = 0; i < mapped.size; ++i) digest.add(mapped.at[i]);
  };
  for (char32_t c = block * 256; c < block * 256 + 256; ++c) {
    if (is_surrogate(c)) continue;
    const Row row = row_of(c);
    columns[0].add(row.flags);
    columns[1].add(row.combining);
    add(columns[2], row.decomposed);
    add(columns[3], row.lowercased);
  }
  std::string text;
  for (const auto& column : columns) text.append(" ").append(column.text());
  return text;
}

std::string explain(char32_t block) {
  std::ostringstream rows;
  const auto mapping = [](const CodePoints& mapped) {
    std::string text = mapped.size == 0 ? "-" : "";
    for (std::size_t i = 0; i < mapped.size; ++i) {
      char hex[16];
      std::snprintf(hex, sizeof hex, "%s%04X", i == 0 ? "" : ".", unsigned{mapped.at[i]});
      text += hex;
    }
    return text;
  };
  for (char32_t c = block * 256; c < block * 256 + 256; ++c) {
    if (is_surrogate(c)) continue;
    const Row row = row_of(c);
    char name[16];
    std::snprintf(name, sizeof name, "U+%04X", unsigned{c});
    rows << name << " flags " << row.flags << " class " << row.combining << " "
         << mapping(row.decomposed) << " " << mapping(row.lowercased) << "\n";
  }
  return rows.str();
}

TEST(Unicode, EveryCodePointIsTheReferences) {
  std::ifstream file(REGARD_SOURCE_DIR "/tests/golden/unicode.json");
  const auto golden = nlohmann::json::parse(file);
  char32_t expected_first = 0;
  int failures = 0;
  for (const std::string run : golden.at("blocks")) {
    std::istringstream fields(run);
    std::uint32_t first = 0, last = 0;
    fields >> std::hex >> first >> last;
    std::string wanted;
    std::getline(fields, wanted);
    ASSERT_EQ(first, expected_first);
    expected_first = last + 1;
    for (char32_t block = first; block <= last && failures < 3; ++block) {
      if (digests(block) == wanted) continue;
      ++failures;
      ADD_FAILURE() << std::hex << "block " << unsigned{block} << ":" << digests(block)
                    << "\nexpected:" << wanted
                    << "\n(flags, classes, decompositions, lower case); compare with "
                       "tests/golden/make_unicode_golden.py --explain "
                    << unsigned{block} << "\n"
                    << explain(block);
    }
  }
  EXPECT_EQ(expected_first, 0x1100U);
}

TEST(Unicode, WhatIsNoCodePointMapsToItself) {
  for (const char32_t c : {char32_t{0x110000}, char32_t{0x7FFFFFFF}, char32_t{0xFFFFFFFF}}) {
    EXPECT_EQ(code_point_flags(c), 0);
    EXPECT_EQ(combining_class(c), 0);
    EXPECT_FALSE(is_ideograph(c));
    EXPECT_TRUE(is_identity(decompose(c), c));
    EXPECT_TRUE(is_identity(lowercase(c), c));
  }
}

TEST(Unicode, LettersAndNumbersAreTheReferences) {
  EXPECT_TRUE(is_letter(U'\u00E9') && is_letter(U'\u4E2D') && !is_letter(U'5'));
  EXPECT_TRUE(is_number(U'5') && is_number(U'\u00BD') && !is_number(U'a'));
  // Of Unicode 16, which utf8proc does not have.
  EXPECT_TRUE(is_letter(U'\u1C89') && is_letter(U'\U000143FA') && !is_letter(U'\U000143FB'));
  EXPECT_TRUE(is_number(U'\U00010D40') && is_digit(U'\U00010D40') && !is_letter(U'\U00010D40'));
  // Of Unicode 17, which only Digits has.
  EXPECT_TRUE(is_digit(U'\U00011DE0') && !is_number(U'\U00011DE0'));
  EXPECT_FALSE(is_digit(0xFFFFFFFF) || is_number(0xFFFFFFFF) || is_letter(0xFFFFFFFF));
}

TEST(Unicode, ComposesPairsThatTheReferenceKnows) {
  EXPECT_EQ(compose(U'e', U'\u0301'), U'\u00E9');
  EXPECT_EQ(compose(U'\u1100', U'\u1161'), U'\uAC00');
  EXPECT_EQ(compose(U'\uAC00', U'\u11A8'), U'\uAC01');
  EXPECT_EQ(compose(U'\uAC00', U'\u11A7'), 0U);  // stands before the first that does
  EXPECT_EQ(compose(U'\u0915', U'\u093C'), 0U);  // excluded from composition
  EXPECT_EQ(compose(U'e', U'x'), 0U);
}

TEST(Unicode, WhatIsNoUtf8BecomesOneReplacementForEachLongestBeginning) {
  const auto lossy = [](std::string_view bytes) {
    std::string text;
    const std::size_t open = append_lossy(text, bytes);
    return text + std::string(open, '?');
  };
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(lossy("a\xC3\xA9\xF0\x9F\x99\x82"), "a\xC3\xA9\xF0\x9F\x99\x82");
  EXPECT_EQ(lossy("\xF0\x9F\x99!"), r + "!");          // three bytes of four
  EXPECT_EQ(lossy("\xF0\x9F\x99\xF0\x9F"), r + "??");  // the second may go on
  EXPECT_EQ(lossy("\xE2\x82\xE2\x82\xAC"), r + "\xE2\x82\xAC");
  EXPECT_EQ(lossy("\xED\xA0\x80"), r + r + r);          // a surrogate
  EXPECT_EQ(lossy("\xC0\x80\xE0\x80"), r + r + r + r);  // overlong
  EXPECT_EQ(lossy("\xF4\x90\xF5\x80\xFF"), r + r + r + r + r);
  EXPECT_EQ(lossy("\x80\xBF"), r + r);
}

TEST(Unicode, FindsTheFirstByteThatIsNoUtf8) {
  const auto place = [](std::string_view text) {
    return static_cast<int>(find_invalid_utf8(text).value_or(999));
  };
  EXPECT_EQ(place(""), 999);
  EXPECT_EQ(place("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), 999);
  EXPECT_EQ(place(std::string_view("a\0b", 3)), 999);
  EXPECT_EQ(place("\xEF\xBF\xBF\xF4\x8F\xBF\xBF"), 999);  // U+FFFF, U+10FFFF: allowed
  EXPECT_EQ(place("ab\xFF"), 2);
  EXPECT_EQ(place("ab\x80"), 2);
  EXPECT_EQ(place("\xC3"), 0);              // cut short
  EXPECT_EQ(place("a\xE2\x82"), 1);         // cut short
  EXPECT_EQ(place("a\xF0\x9F\x98"), 1);     // cut short
  EXPECT_EQ(place("\xC0\x80"), 0);          // overlong
  EXPECT_EQ(place("\xE0\x80\x80"), 0);      // overlong
  EXPECT_EQ(place("x\xED\xA0\x80"), 1);     // surrogate
  EXPECT_EQ(place("\xF4\x90\x80\x80"), 0);  // above U+10FFFF
}

TEST(Unicode, WalksUtf8BothWays) {
  const std::vector<char32_t> code_points = {0,     'a',    0x7F,    0x80,    0x7FF,
                                             0x800, 0xFFFF, 0x10000, 0x10FFFF};
  std::string text;
  for (const char32_t c : code_points) append_utf8(text, c);
  EXPECT_EQ(text.size(), 3U * 1 + 2 * 2 + 2 * 3 + 2 * 4);
  std::size_t at = 0;
  for (const char32_t c : code_points) EXPECT_EQ(next_code_point(text, at), c);
  EXPECT_EQ(at, text.size());
  for (auto c = code_points.rbegin(); c != code_points.rend(); ++c) {
    EXPECT_EQ(previous_code_point(text, at), *c);
  }
  EXPECT_EQ(at, 0U);
}

}  // namespace
}  // namespace regard::model
