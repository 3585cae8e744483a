// tests/model/json_test.cc - JSON from outside: its limits, and errors of one line.
#include "model/json.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace regard::model {
namespace {

std::string error_of(const std::string& text) {
  try {
    parse_json(text, "f.json");
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "accepted";
}

std::string nested(int levels) { return std::string(levels, '[') + std::string(levels, ']'); }

TEST(Json, AcceptsWhatJsonIs) {
  for (const char* text : {"null", "1", "[]", " {\"a\": {\"a\": [{}, {\"a\": 1}]}, \"b\": -1.5e3} ",
                           R"("\ud83d\ude00 \u0000")", "\xEF\xBB\xBF[]"}) {
    EXPECT_EQ(error_of(text), "accepted") << text;
  }
  EXPECT_EQ(parse_json("{\"a\": [1, \"\\u00e9\"]}", "")["a"][1], "\xC3\xA9");
}

TEST(Json, RefusesWhatJsonIsNot) {
  for (const std::string& text :
       {std::string("{\"a\": 1,}"), std::string("[1"), std::string("nul"), std::string("[1] x"),
        std::string("{a: 1}"), std::string("[01]"), std::string("[1e400]"), std::string("\"\xFF\""),
        std::string("\"\\ud800\""), std::string("\"a\nb\""), std::string("[NaN]"),
        std::string("\xFF\xFE[\0]\0", 6), std::string("[]\0", 3), std::string("[]\0}x", 5),
        std::string("//x\n1")}) {
    const std::string error = error_of(text);
    EXPECT_TRUE(error.starts_with("f.json: not JSON: ")) << text << ": " << error;
    for (const char c : error) EXPECT_TRUE(c >= 0x20 && c < 0x7F) << error;
  }
  EXPECT_LT(error_of(std::string("\"").append(1 << 20, 'x')).size(), 300U);
}

TEST(Json, RefusesAKeyThatComesTwice) {
  EXPECT_EQ(error_of(R"({"a": 1, "b": {"a": 2}, "a": 3})"), R"(f.json: JSON key "a" comes twice)");
  EXPECT_EQ(error_of(R"([{"a": 1}, {"b": 1, "b": 1}])"), R"(f.json: JSON key "b" comes twice)");
  EXPECT_EQ(error_of(R"({"\u0061": 1, "a": 3})"), R"(f.json: JSON key "a" comes twice)");
  EXPECT_EQ(error_of(R"({"\n\u00e9": 1, "\n\u00e9": 3})"),
            R"(f.json: JSON key "\n\u00e9" comes twice)");
}

TEST(Json, RefusesNestingBeyondTheLimit) {
  const std::string deep = "f.json: JSON is nested deeper than 64 levels";
  EXPECT_EQ(error_of(nested(kMaxJsonDepth)), "accepted");
  EXPECT_EQ(error_of(nested(kMaxJsonDepth + 1)), deep);
  std::string objects;
  for (int i = 0; i <= kMaxJsonDepth; ++i) objects += "{\"a\":";
  EXPECT_EQ(error_of(objects), deep);
}

TEST(Json, AHundredMillionBracketsTakeNoTimeAndNoStack) {
  const std::string brackets(100'000'000, '[');
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(error_of(brackets), "f.json: JSON is nested deeper than 64 levels");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
}

TEST(Json, QuotesForErrorsAreShortAndAscii) {
  EXPECT_EQ(in_quotes("a\"\n\xC3\xA9\x7F"), R"("a\"\n\u00e9\u007f")");
  const std::string sixty(60, 'x');
  EXPECT_EQ(in_quotes(sixty), std::string("\"").append(sixty).append("\""));
  EXPECT_EQ(in_quotes(std::string(61, 'x')), '"' + std::string(60, 'x') + "\"...");
  EXPECT_EQ(in_quotes(std::string(59, 'x') + "\xC3\xA9"), '"' + std::string(59, 'x') + "\"...");
}

class ReadFile : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string error_of_file(const std::string& path, std::uint64_t max_bytes) const {
    try {
      read_file(path, max_bytes);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "accepted";
  }

  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / "regard_json_test";
};

TEST_F(ReadFile, ReadsAllOrSaysWhyNot) {
  const std::string path = folder_ / "five";
  std::ofstream(path) << "12345";
  EXPECT_EQ(read_file(path, 5), "12345");
  EXPECT_EQ(error_of_file(path, 4), path + ": is 5 bytes, expected at most 4");
  const std::string absent = folder_ / "absent";
  EXPECT_EQ(error_of_file(absent, 5), absent + ": No such file or directory");
  EXPECT_EQ(error_of_file(folder_, 5), folder_.string() + ": not a regular file");
  EXPECT_EQ(error_of_file("/dev/zero", 5), "/dev/zero: not a regular file");
  std::ofstream(folder_ / "empty").flush();
  EXPECT_EQ(read_file(folder_ / "empty", 0), "");
}

}  // namespace
}  // namespace regard::model
