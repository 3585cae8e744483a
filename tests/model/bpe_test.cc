// tests/model/bpe_test.cc - byte-level BPE: the ids that `tokenizers` gives, offsets that cover the
// text, text back from ids, text that streams.
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>

#include "model/gguf_writer.h"
#include "model/json.h"
#include "model/temp_folder.h"
#include "regard/model/tokenizer.h"

namespace regard::model {
namespace {

using testing::GgufWriter;
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

class BpeOffsets : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Kinds, BpeOffsets,
                         ::testing::Values("gpt2", "prefix", "digits", "llama3", "qwen2"),
                         [](const auto& kind) { return std::string(kind.param); });

TEST_P(BpeOffsets, AreWholeCharactersAscendingAndLeaveOutOnlyWhiteSpace) {
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

TEST(BpeNfc, GivesIdsAndOffsetsInTheGivenText) {
  const Tokenizer tokenizer = Tokenizer::load(kFolder + "nfc.json");
  int cases = 0;
  for (const Json& each : read_json(kFolder + "nfc.cases.json")) {
    const auto text = each.at(0).get<std::string>();
    const auto tokens = tokenizer.encode(text);
    std::vector<std::int64_t> offsets;
    for (const Token& token : tokens) offsets.insert(offsets.end(), {token.begin, token.end});
    ASSERT_EQ(ids_of(tokens), each.at(1).get<std::vector<std::int32_t>>()) << text;
    ASSERT_EQ(tokenizer.decode(ids_of(tokens)), each.at(2).get<std::string>()) << text;
    ASSERT_EQ(offsets, each.at(3).get<std::vector<std::int64_t>>()) << text;
    ++cases;
  }
  EXPECT_EQ(cases, 200);
}

TEST(BpeNfc, FindsSpecialTokensInTheGivenText) {
  const Tokenizer tokenizer = Tokenizer::load(kFolder + "qwen2.json");
  const auto tokens = tokenizer.encode("<|end|>\u0338");  // NFC would join the mark to the ">"
  ASSERT_GE(tokens.size(), 2U);
  EXPECT_EQ(tokens[0].id, tokenizer.find("<|end|>"));
  EXPECT_EQ(tokens[1].begin, 7);
  EXPECT_EQ(tokens[1].end, 9);
}

TEST(BpeNfc, AMegabyteOfMarksTakesNoLongerThanOthers) {
  const Tokenizer tokenizer = Tokenizer::load(kFolder + "qwen2.json");
  std::string text = "e";
  while (text.size() < (1 << 20)) text += "\u0301\u0323\u0345";
  const auto tokens = tokenizer.encode(text);
  ASSERT_FALSE(tokens.empty());
  EXPECT_LE(tokens.back().end, std::ssize(text));
}

TEST(BpeOptions, SpecialTokensAreThoseOfTheCaller) {
  const Tokenizer tokenizer = Tokenizer::load(kFolder + "gpt2.json");
  const auto end = tokenizer.find("<|end|>");
  const auto all = ids_of(tokenizer.encode("a<|end|>"));
  EXPECT_EQ(all.size(), 4U);
  EXPECT_EQ(all.front(), end);
  EXPECT_EQ(ids_of(tokenizer.encode("a<|end|>", {.add_special = false})).back(), end);
  for (const std::int32_t id :
       ids_of(tokenizer.encode("a<|end|>", {.add_special = false, .parse_special = false})))
    EXPECT_NE(id, end) << "what a user spells out is text";
  EXPECT_EQ(ids_of(tokenizer.encode("<|user|>", {.add_special = false, .parse_special = false})),
            std::vector{tokenizer.find("<|user|>").value_or(-1)})
      << "which is no special token";
  EXPECT_EQ(tokenizer.decode(all), "a");
  EXPECT_TRUE(tokenizer.is_special(end.value_or(-1)));
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
  EXPECT_EQ(stream.push("\xE2\x82"), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, GivesWhatDecodeGives) {
  const Tokenizer tokenizer = Tokenizer::load(kFolder + "gpt2.json");
  std::vector<std::int32_t> byte_ids;  // by byte
  for (int byte = 0; byte < 256; ++byte) {
    for (std::int32_t id = 0; id < 256; ++id) {
      if (tokenizer.bytes(id) == std::string(1, static_cast<char>(byte))) byte_ids.push_back(id);
    }
  }
  ASSERT_EQ(byte_ids.size(), 256U);
  const std::string r = "\xEF\xBF\xBD";
  for (const auto& [bytes, text] : std::vector<std::pair<std::string, std::string>>{
           {"\xF0\x9F\x99", r},  // one for all that one code point lacks
           {"\xF0\x9F\x99!", r + "!"},
           {"\xE2\x82\xE2\x82\xAC", r + "\u20AC"},
           {"\xF0\x9F\xC3\xA9\xFF", r + "\u00E9" + r},
           {"\xED\xA0\x80", r + r + r}}) {
    std::vector<std::int32_t> ids;
    TextStream stream;
    std::string streamed;
    for (const char byte : bytes) {
      ids.push_back(byte_ids[static_cast<unsigned char>(byte)]);
      streamed += stream.push(tokenizer.bytes(ids.back()));
    }
    streamed += stream.finish();
    EXPECT_EQ(streamed, text);
    EXPECT_EQ(tokenizer.decode(ids), text);
  }
}

TEST(TextStream, AMegabyteAtOnceTakesNoLongerThanOthers) {
  TextStream stream;
  EXPECT_EQ(stream.push(std::string(1 << 20, '\x80')).size(), 3U << 20);
  EXPECT_EQ(stream.push(std::string(1 << 20, 'a') + "\xF0").size(), 1U << 20);
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
}

TEST(BpeFiles, ThirtyThousandAddedTokensTakeNoLongerThanOthers) {
  Json file = read_json(kFolder + "gpt2.json");
  Json token = file["added_tokens"][0];
  for (int id = 422; id < 30422; ++id) {
    token["id"] = id;
    token["content"] = std::string("<").append(std::to_string(id)).append(">");
    file["added_tokens"].push_back(token);
  }
  const Tokenizer tokenizer = Tokenizer::parse(file.dump(), "f.json");
  EXPECT_EQ(tokenizer.vocab_size(), 30422);
  EXPECT_EQ(ids_of(tokenizer.encode("<30421>", {.add_special = false})),
            std::vector<std::int32_t>{30421});
}

TEST(BpeFiles, AnAddedTokenThatIsAPieceKeepsItsBytes) {
  Json file = read_json(kFolder + "prefix.json");
  Json token = file["added_tokens"][1];
  token["content"] = "\u00C5";  // as which the vocabulary writes byte 0xC5
  token["id"] = file["model"]["vocab"]["\u00C5"];
  token["single_word"] = true;
  file["added_tokens"].push_back(token);
  const Tokenizer tokenizer = Tokenizer::parse(file.dump(), "f.json");
  EXPECT_EQ(tokenizer.decode(ids_of(tokenizer.encode("\u017F"))), " \u017F");
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
  EXPECT_NE(said("/pre_tokenizer/type", "Metaspace").find("expected \"ByteLevel\""),
            std::string::npos);
  EXPECT_NE(said("/normalizer", {{"type", "NFKC"}}).find("expected \"NFC\""), std::string::npos);
  EXPECT_NE(said("/model/byte_fallback", true).find("expected false"), std::string::npos);
  EXPECT_NE(said("/model/merges/0", {"zz", "qq"}).find("is no token"), std::string::npos);
  EXPECT_NE(said("/model/merges/0", 5).find("merges[0]"), std::string::npos);
  EXPECT_NE(said("/model/vocab/a", 1 << 22).find("an id near"), std::string::npos);
  EXPECT_NE(said("/added_tokens/0/id", 1 << 22).find("expected 420, the id of its content"),
            std::string::npos);
}

TEST(BpeErrors, RefusesPipelinesThatMeanSomethingElse) {
  const Json gpt2 = read_json(kFolder + "gpt2.json"), llama3 = read_json(kFolder + "llama3.json");
  const Json &byte_level = gpt2.at("pre_tokenizer"), &steps = llama3.at("pre_tokenizer");
  const Json split = steps.at("pretokenizers").at(0), last = steps.at("pretokenizers").at(1),
             digits = {{"type", "Digits"}, {"individual_digits", true}};
  const auto sequence = [](std::vector<Json> of) {
    return Json{{"type", "Sequence"}, {"pretokenizers", std::move(of)}};
  };
  Json with_blank = last;
  with_blank["add_prefix_space"] = true;
  Json trims = byte_level;
  trims["trim_offsets"] = true;
  struct Case {
    const char* key;
    Json value;
    std::string error;
  };
  const std::string order = "expected \"ByteLevel\", before it at most \"Digits\" and \"Split\"";
  for (const Case& each : std::vector<Case>{
           {"pre_tokenizer", nullptr, "pre_tokenizer is null"},
           {"pre_tokenizer", split, "pre_tokenizer has no ByteLevel, " + order},
           {"pre_tokenizer", sequence({}), "pre_tokenizer has no ByteLevel, " + order},
           {"pre_tokenizer", sequence({split, digits, last}), "[1].type is \"Digits\", " + order},
           {"pre_tokenizer", sequence({split, split, last}), "[1].type is \"Split\", " + order},
           {"pre_tokenizer", sequence({last, split}),
            "[1].type is \"Split\", expected nothing after"},
           {"pre_tokenizer", sequence({split, byte_level}), "[1] cuts words once more"},
           {"pre_tokenizer", sequence({split, with_blank}),
            "add_prefix_space is true, expected false"},
           {"normalizer",
            {{"type", "Sequence"}, {"normalizers", {{{"type", "Lowercase"}}}}},
            "normalizer.type is \"Sequence\", expected \"NFC\""},
           {"decoder", nullptr, "decoder is null, expected a ByteLevel"},
           {"decoder", {{"type", "Metaspace"}}, "decoder.type is \"Metaspace\", expected"},
           {"post_processor", {{"type", "BertProcessing"}}, "post_processor.type is"},
           {"post_processor",
            {{"type", "Sequence"}, {"processors", {trims, trims}}},
            "processors[1].trim_offsets is true, expected false"},
           {"surprise", 1, "surprise is not known"}}) {
    Json bad = gpt2;
    bad[each.key] = each.value;
    const auto error =
        message_of<std::runtime_error>([&] { Tokenizer::parse(bad.dump(), "f.json"); });
    EXPECT_NE(error.find(each.error), std::string::npos) << error << "\nexpected: " << each.error;
  }
}

TEST(BpeErrors, RefusesAVocabularyThatLacksBytesAndHasAnUnknownToken) {
  Json file = read_json(kFolder + "prefix.json");
  file["model"]["unk_token"] = "!";
  EXPECT_NO_THROW(Tokenizer::parse(file.dump(), "f.json")) << "which it never needs";
  file["model"]["vocab"].erase("\u00C5");
  EXPECT_NE(message_of<std::runtime_error>([&] {
              Tokenizer::parse(file.dump(), "f.json");
            }).find("model.unk_token is \"!\", expected null, since the vocabulary lacks 1 of"),
            std::string::npos);
}

/// Metadata with the 256 bytes and <s> as its tokens.
GgufWriter byte_level_gguf() {
  GgufWriter metadata;
  metadata.text("tokenizer.ggml.model", "gpt2");
  std::vector<std::string> tokens;
  const Json vocabulary = read_json(kFolder + "prefix.json").at("model").at("vocab");
  for (const auto& [piece, id] : vocabulary.items()) {
    if (id < 256) tokens.push_back(piece);
  }
  tokens.emplace_back("<s>");
  metadata.texts("tokenizer.ggml.tokens", tokens);
  metadata.texts("tokenizer.ggml.merges", {});
  metadata.integer("tokenizer.ggml.bos_token_id", 256);
  return metadata;
}

TEST(BpeGguf, TakesWhatLlamaCppTakesFromTheNameOfThePattern) {
  const testing::TempFolder folder;
  const auto ids = [&](const std::string& pre, std::optional<bool> add_bos) {
    GgufWriter metadata = byte_level_gguf();
    metadata.text("tokenizer.ggml.pre", pre);
    if (add_bos) metadata.boolean("tokenizer.ggml.add_bos_token", *add_bos);
    return ids_of(Tokenizer::load(folder.write("f.gguf", metadata.file())).encode("a"));
  };
  for (const char* llama3 : {"llama-bpe", "llama3", "llama-v3"}) {
    ASSERT_EQ(ids(llama3, std::nullopt).size(), 2U);
    EXPECT_EQ(ids(llama3, std::nullopt).front(), 256) << "the token that begins a text";
    EXPECT_EQ(ids(llama3, false).size(), 1U);
  }
  EXPECT_EQ(ids("gpt-2", std::nullopt).size(), 1U);
  EXPECT_EQ(ids("gpt-2", true).front(), 256);
}

TEST(BpeGguf, RefusesPatternsThatItDoesNotCompute) {
  const testing::TempFolder folder;
  const auto error = [&](const char* pre) {
    GgufWriter metadata = byte_level_gguf();
    if (pre != nullptr) metadata.text("tokenizer.ggml.pre", pre);
    const auto path = folder.write("f.gguf", metadata.file());
    return message_of<std::runtime_error>([&] { Tokenizer::load(path); });
  };
  EXPECT_NE(error("default").find("\"tokenizer.ggml.pre\" is \"default\", expected one of gpt-2"),
            std::string::npos);
  EXPECT_NE(error(nullptr).find("\"tokenizer.ggml.pre\" is missing, expected one of gpt-2"),
            std::string::npos);
}

class GgufVocabulary : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Files, GgufVocabulary, ::testing::Values("gpt-2", "llama-spm", "phi-3"),
                         [](const auto& file) {
                           std::string name = file.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST_P(GgufVocabulary, GivesTheIdsOfLlamaCpp) {
  const std::filesystem::path path = REGARD_SOURCE_DIR "/../shared/data/gguf-vocab/ggml-vocab-" +
                                     std::string(GetParam()) + ".gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const Tokenizer tokenizer = Tokenizer::load(path);
  const auto lines = [&](const char* suffix, const std::string& separator) {
    std::string file = read_file(path.string() + suffix, 1 << 20);
    std::vector<std::string> parts;
    for (std::size_t at = 0, end = 0; end != file.npos; at = end + separator.size()) {
      end = file.find(separator, at);
      parts.push_back(file.substr(at, end - at));
    }
    return parts;
  };
  const auto texts = lines(".inp", "\n__ggml_vocab_test__\n"), wanted = lines(".out", "\n");
  ASSERT_GE(texts.size(), 40U);
  ASSERT_GE(wanted.size(), texts.size() - 1);
  for (std::size_t i = 0; i + 1 < texts.size(); ++i) {
    std::string ids;
    for (const Token& token : tokenizer.encode(texts[i], {false, false}))
      ids.append(" ").append(std::to_string(token.id));
    EXPECT_EQ(ids, wanted[i]) << texts[i];
  }
}

}  // namespace
}  // namespace regard::model
