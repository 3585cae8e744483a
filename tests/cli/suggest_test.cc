// tests/cli/suggest_test.cc - which name is meant by a slip.
#include "cli/suggest.h"

#include <gtest/gtest.h>

#include <vector>

namespace regard::cli {
namespace {

const std::vector<std::string> kNames{"--focus", "--from", "--head", "--json", "--layer", "Zürich"};

TEST(Nearest, FindsOneEditAway) {
  EXPECT_EQ(nearest("--fokus", kNames), "--focus");   // replaced
  EXPECT_EQ(nearest("--foccus", kNames), "--focus");  // inserted
  EXPECT_EQ(nearest("--heads", kNames), "--head");
  EXPECT_EQ(nearest("--jsn", kNames), "--json");     // deleted
  EXPECT_EQ(nearest("--laeyr", kNames), "--layer");  // swapped
}

TEST(Nearest, CountsCharactersNotBytesNorCase) {
  EXPECT_EQ(nearest("zurich", kNames), "Zürich");
  EXPECT_EQ(nearest("ZÜRICH", kNames), "Zürich");
}

TEST(Nearest, CountsASwapAsOneEdit) {
  const std::vector<std::string> names{"abc"};
  EXPECT_EQ(nearest("acb", names), "abc");  // two replacements would be more than a third
  EXPECT_EQ(nearest("xyc", names), "");
}

TEST(Nearest, SaysNothingRatherThanNonsense) {
  EXPECT_EQ(nearest("--threads", kNames), "");
  EXPECT_EQ(nearest("", kNames), "");
  EXPECT_EQ(nearest(std::string(1 << 20, 'x'), kNames), "");
  EXPECT_EQ(nearest("x", {}), "");
  EXPECT_EQ(did_you_mean("--zzz", kNames), "");
  EXPECT_EQ(did_you_mean("--jsn", kNames), "; did you mean \"--json\"?");
}

TEST(Nearest, TakesTheFirstOfEquals) {
  const std::vector<std::string> names{"bank", "banc"};
  EXPECT_EQ(nearest("banq", names), "bank");
}

}  // namespace
}  // namespace regard::cli
