// tests/model/bpe_test.cc - byte-level BPE: the ids that `tokenizers` gives, offsets that cover the
// text, text back from ids, text that streams.
#include <gtest/gtest.h>

#include "model/json.h"
#include "model/temp_folder.h"
#include "regard/model/tokenizer.h"

namespace regard::model {
namespace {

using testing::message_of;

const std::string kFolder = REGARD_SOURCE_DIR "/tests/golden/bpe/";

Json read_json(const std::string& path) { return parse_json(read_file(path, 16 << 20), path); }

std::vector<std::int32_t> ids_of(const std::vector<Token>& tokens) {
  std::vector<std::int32_t> ids;
  for (const Token& token : tokens) ids.push_back(token.id);
  return ids;
}

class Bpe : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Kinds, Bpe,
                         ::testing::Values("gpt2", "prefix", "digits", "llama3", "qwen2"),
                         [](const auto& kind) { return std::string(kind.param); });

TEST_P(Bpe, GivesTheIdsOfTokenizersAndTheTextBack) {
  const Tokenizer tokenizer = Tokenizer::load(kFolder + GetParam() + ".json");
  int cases = 0;
  for (const Json& each : read_json(kFolder + GetParam() + ".cases.json")) {
    const auto text = each.at(0).get<std::string>();
    const auto tokens = tokenizer.encode(text);
    ASSERT_EQ(ids_of(tokens), each.at(1).get<std::vector<std::int32_t>>()) << text;
    TextStream stream;
    std::string streamed;
    for (const Token& token : tokens) {
      if (!tokenizer.is_special(token.id)) streamed += stream.push(tokenizer.bytes(token.id));
    }
    streamed += stream.finish();
    EXPECT_EQ(streamed, each.at(2).get<std::string>()) << text;
    ++cases;
  }
  EXPECT_EQ(cases, 404);
}

TEST_P(Bpe, GivesTheOffsetsOfTokenizersInBytesOfTheTextAsItWasGiven) {
  const Tokenizer tokenizer = Tokenizer::load(kFolder + GetParam() + ".json");
  for (const Json& each : read_json(kFolder + GetParam() + ".cases.json")) {
    std::vector<std::vector<std::int64_t>> ranges;
    for (const Token& token : tokenizer.encode(each.at(0).get<std::string>()))
      ranges.push_back({token.begin, token.end});
    ASSERT_EQ(ranges, each.at(3).get<std::vector<std::vector<std::int64_t>>>()) << each.at(0);
  }
}

TEST_P(Bpe, OffsetsAreWholeCharactersAscendingAndLeaveOutOnlyWhiteSpace) {
  const std::string kind = GetParam();
  const Tokenizer tokenizer = Tokenizer::load(kFolder + kind + ".json");
  for (const Json& each : read_json(kFolder + kind + ".cases.json")) {
    const auto text = each.at(0).get<std::string>();
    std::int64_t end = 0, word = -1;
    for (const Token& token : tokenizer.encode(text)) {
      if (token.end == 0) continue;
      for (std::int64_t i = end; i < token.begin; ++i)
        ASSERT_FALSE(std::isalnum(static_cast<unsigned char>(text[static_cast<std::size_t>(i)])) !=
                     0)
            << text;
      ASSERT_LE(token.begin, token.end);
      ASSERT_GE(token.end, end);
      ASSERT_LE(token.end, std::ssize(text));
      const char next =
          token.end < std::ssize(text) ? text[static_cast<std::size_t>(token.end)] : ' ';
      ASSERT_NE(static_cast<unsigned char>(next) & 0xC0U, 0x80U) << "within a character";
      if (token.word >= 0) {
        ASSERT_GE(token.word, word);
        word = token.word;
      }
      end = token.end;
    }
  }
}

TEST(BpeOptions, SpecialTokensAreThoseOfTheCaller) {
  const Tokenizer tokenizer = Tokenizer::load(kFolder + "gpt2.json");
  const auto end = *tokenizer.find("<|end|>");
  const auto all = ids_of(tokenizer.encode("a<|end|>"));
  EXPECT_EQ(all.size(), 4U);
  EXPECT_EQ(all.front(), end);
  EXPECT_EQ(ids_of(tokenizer.encode("a<|end|>", {.add_special = false})).back(), end);
  for (const std::int32_t id :
       ids_of(tokenizer.encode("a<|end|>", {.add_special = false, .parse_special = false})))
    EXPECT_NE(id, end) << "what a user spells out is text";
  EXPECT_EQ(tokenizer.decode(all), "a");
  EXPECT_TRUE(tokenizer.is_special(end));
  EXPECT_FALSE(tokenizer.is_special(-5));
  EXPECT_EQ(tokenizer.bytes(1 << 20), "");
  EXPECT_TRUE(tokenizer.encode("", {.add_special = false}).empty());
  EXPECT_THROW(tokenizer.encode("\xFF"), std::invalid_argument);
}

TEST(BpeOptions, AWordOfAMegabyteTakesNoLongerThanOthers) {
  const Tokenizer tokenizer = Tokenizer::load(kFolder + "gpt2.json");
  const std::string word(1 << 20, 'a');
  const auto tokens = tokenizer.encode(word, {.add_special = false});
  EXPECT_EQ(tokenizer.decode(ids_of(tokens)), word);
}

TEST(TextStream, IsUtf8AtAnyTime) {
  TextStream stream;
  EXPECT_EQ(stream.push("a\xC3"), "a");
  EXPECT_EQ(stream.push("\xA9"
                        "b"),
            "\xC3\xA9"
            "b");
  EXPECT_EQ(stream.push("\xF0\x9F"), "");
  EXPECT_EQ(stream.push("\x99"), "");
  EXPECT_EQ(stream.push("\x82!"), "\xF0\x9F\x99\x82!");
  EXPECT_EQ(stream.push("\x82"), "\xEF\xBF\xBD") << "nothing can come before it";
  EXPECT_EQ(stream.push("\xC3"
                        "x"),
            "\xEF\xBF\xBDx");
  EXPECT_EQ(stream.push("\xED\xA0"), "\xEF\xBF\xBD\xEF\xBF\xBD") << "half of a surrogate";
  EXPECT_EQ(stream.push("\xE2\x82x"), "\xEF\xBF\xBDx") << "one for what begins well together";
  EXPECT_EQ(stream.push("\xF0\x9F\x99\xF0"), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.push("\x9F\x99\x82"), "\xF0\x9F\x99\x82");
  EXPECT_EQ(stream.push("\xF4\x90"), "\xEF\xBF\xBD\xEF\xBF\xBD") << "beyond the last";
  EXPECT_EQ(stream.push("\xE2\x82"), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(BpeErrors, SayWhatIsWrong) {
  Json good = read_json(kFolder + "llama3.json");
  const auto said = [&](const char* pointer, Json value) {
    Json bad = good;
    bad[Json::json_pointer(pointer)] = std::move(value);
    return message_of<std::runtime_error>([&] { Tokenizer::parse(bad.dump(), "f.json"); });
  };
  EXPECT_EQ(said("/pre_tokenizer/pretokenizers/0/pattern/Regex", "a+")
                .find("f.json: pre_tokenizer.pretokenizers[0].pattern.Regex is \"a+\", expected"),
            0U);
  EXPECT_NE(said("/pre_tokenizer/type", "Metaspace")
                .find("pre_tokenizer.type is \"Metaspace\", expected \"Digits\", \"Split\" and "
                      "\"ByteLevel\" in this order"),
            std::string::npos);
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  const Json digits = {{"type", "Digits"}, {"individual_digits", true}};
  const auto sequence = [](std::vector<Json> steps) {
    return Json{{"type", "Sequence"}, {"pretokenizers", steps}};
  };
  for (const Json& steps : {sequence({digits}), sequence({byte_level, digits}), sequence({}),
                            sequence({digits, digits, byte_level})})
    EXPECT_NE(said("/pre_tokenizer", steps).find("in this order"), std::string::npos) << steps;
  EXPECT_EQ(said("/pre_tokenizer", sequence({sequence({digits}), byte_level})), "");
  EXPECT_NE(said("/pre_tokenizer/pretokenizers/1/use_regex", true).find("false after \"Split\""),
            std::string::npos);
  EXPECT_NE(
      said("/pre_tokenizer/pretokenizers/1/add_prefix_space", true).find("false after another"),
      std::string::npos);
  EXPECT_NE(said("/decoder", {{"type", "WordPiece"}})
                .find("decoder.type is \"WordPiece\", expected \"ByteLevel\""),
            std::string::npos);
  EXPECT_NE(said("/decoder", nullptr).find("decoder"), std::string::npos);
  EXPECT_NE(said("/normalizer", {{"type", "NFKC"}}).find("expected \"NFC\""), std::string::npos);
  EXPECT_NE(said("/model/byte_fallback", true).find("expected false"), std::string::npos);
  EXPECT_NE(said("/model/merges/0", {"zz", "qq"}).find("is no token"), std::string::npos);
  EXPECT_NE(said("/model/merges/0", 5).find("merges[0]"), std::string::npos);
  EXPECT_NE(said("/model/vocab/a", 1 << 22).find("an id near"), std::string::npos);
  EXPECT_NE(said("/added_tokens/0/id", 1 << 22).find("an id near"), std::string::npos);
}

}  // namespace
}  // namespace regard::model
