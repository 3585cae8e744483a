// tests/model/sentencepiece_test.cc - SentencePiece's byte pair encoding: tokenizer.json as
// `tokenizers` reads it, GGUF as llama.cpp does, and files that are refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "model/gguf_writer.h"
#include "model/json.h"
#include "model/temp_folder.h"
#include "regard/model/chat.h"
#include "regard/model/decoder.h"
#include "regard/model/generate.h"
#include "regard/model/tokenizer.h"

namespace regard::model {
namespace {

using testing::GgufWriter;
using testing::message_of;
using testing::TempFolder;

const std::string kGolden = REGARD_SOURCE_DIR "/tests/golden/";
const std::string kFolder = kGolden + "sentencepiece/";

Json read_json(const std::string& path) { return parse_json(read_file(path, 16 << 20), path); }

std::vector<std::int32_t> ids_of(const std::vector<Token>& tokens) {
  std::vector<std::int32_t> ids;
  for (const Token& token : tokens) ids.push_back(token.id);
  return ids;
}

class SentencePieceJson : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Kinds, SentencePieceJson,
                         ::testing::Values("prepend", "first", "always", "never", "gemma", "unk"),
                         [](const auto& kind) { return std::string(kind.param); });

TEST_P(SentencePieceJson, GivesIdsOffsetsAndTextOfTokenizers) {
  const Tokenizer tokenizer = Tokenizer::load(kFolder + GetParam() + ".json");
  int cases = 0;
  for (const Json& each : read_json(kFolder + GetParam() + ".cases.json")) {
    const auto text = each.at(0).get<std::string>();
    const auto tokens = tokenizer.encode(text);
    std::vector<std::int64_t> offsets;
    TextStream stream(tokenizer.drops_blank());
    std::string streamed;
    for (const Token& token : tokens) {
      offsets.insert(offsets.end(), {token.begin, token.end});
      if (!tokenizer.is_special(token.id)) streamed += stream.push(tokenizer.bytes(token.id));
    }
    ASSERT_EQ(ids_of(tokens), each.at(1).get<std::vector<std::int32_t>>()) << text;
    ASSERT_EQ(tokenizer.decode(ids_of(tokens)), each.at(2).get<std::string>()) << text;
    ASSERT_EQ(streamed + stream.finish(), each.at(2).get<std::string>()) << text;
    ASSERT_EQ(offsets, each.at(3).get<std::vector<std::int64_t>>()) << text;
    ++cases;
  }
  EXPECT_EQ(cases, 157);
}

TEST(SentencePieceOptions, WhatComesAfterAnotherTextBeginsWithNoBlank) {
  const std::string text = "of";
  for (const char* kind : {"first", "prepend", "always"}) {
    const Tokenizer tokenizer = Tokenizer::load(kFolder + kind + ".json");
    const auto first = [&](bool at_begin) {
      return tokenizer.encode(text, {.add_special = false, .at_begin = at_begin}).front().text;
    };
    EXPECT_TRUE(first(true).starts_with("\u2581")) << kind;
    EXPECT_EQ(first(false).starts_with("\u2581"), kind != std::string("first")) << kind;
  }
}

TEST(SentencePieceOptions, WhatAUserSpellsOutIsText) {
  const Tokenizer tokenizer = Tokenizer::load(kFolder + "prepend.json");
  const std::int32_t end = tokenizer.find("</s>").value_or(-1),
                     user = tokenizer.find("<|user|>").value_or(-1);
  ASSERT_TRUE(end >= 0 && user >= 0);
  const auto ids = ids_of(tokenizer.encode("a</s><|user|>", {false, false}));
  EXPECT_EQ(std::ranges::count(ids, end), 0);
  EXPECT_EQ(std::ranges::count(ids, user), 1) << "which is no special token";
  EXPECT_EQ(std::ranges::count(ids_of(tokenizer.encode("a</s>", {.add_special = false})), end), 1);
}

TEST(SentencePieceJsonFiles, ByteTokensMayBeSpecial) {
  Json file = read_json(kFolder + "prepend.json");
  Json token = file["added_tokens"][0];
  for (const char* text : {"<0xC3>", "<0xBE>"}) {
    token["content"] = text;
    token["id"] = file["model"]["vocab"][text];
    file["added_tokens"].push_back(token);
  }
  const Tokenizer tokenizer = Tokenizer::parse(file.dump(), "f.json");
  const auto ids = ids_of(tokenizer.encode("\u00FE", {.add_special = false}));
  ASSERT_GE(ids.size(), 2U);
  EXPECT_EQ(ids.back(), tokenizer.find("<0xBE>"));
  EXPECT_EQ(ids[ids.size() - 2], tokenizer.find("<0xC3>"));
}

TEST(SentencePieceText, AMegabyteTakesNoLongerThanOthers) {
  const Tokenizer tokenizer = Tokenizer::load(kFolder + "prepend.json");
  for (const char* part : {"a", " ", "ab", "\xF0\x9F\x99\x82", "ing of a "}) {
    std::string text;
    while (text.size() < (1 << 20)) text += part;
    EXPECT_EQ(tokenizer.decode(ids_of(tokenizer.encode(text))), text);
  }
}

TEST(TextStream, DropsOneBlankAtTheVeryBeginning) {
  TextStream stream(true);
  EXPECT_EQ(stream.push(""), "");
  EXPECT_EQ(stream.push(" "), "");
  EXPECT_EQ(stream.push("  a"), "  a");
  TextStream other(true);
  EXPECT_EQ(other.push("\xC3"), "");
  EXPECT_EQ(other.push("\xA9 "), "\u00E9 ");
}

/// A file of GGUF's "llama": <unk>, <s>, </s>, the 256 bytes, then pieces of type 1 (normal), or
/// what a test makes of it.
struct Vocabulary {
  std::vector<std::string> tokens{"<unk>", "<s>", "</s>"};
  std::vector<float> scores{0, 0, 0};
  std::vector<std::int32_t> types{2, 3, 3};
  std::function<void(GgufWriter&)> more;

  Vocabulary() {
    for (int byte = 0; byte < 256; ++byte) {
      char text[8];
      std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
      add(text, 0, 6);
    }
  }
  std::int32_t add(const std::string& token, float score, std::int32_t type = 1) {
    tokens.push_back(token);
    scores.push_back(score);
    types.push_back(type);
    return static_cast<std::int32_t>(tokens.size()) - 1;
  }
  std::string file(const std::string& without = "") const {
    GgufWriter file;
    file.text("tokenizer.ggml.model", "llama");
    file.texts("tokenizer.ggml.tokens", tokens);
    if (without != "scores") file.reals("tokenizer.ggml.scores", scores);
    if (without != "token_type") file.integers("tokenizer.ggml.token_type", types);
    if (more) more(file);
    return file.file();
  }
  Tokenizer load() const {
    const TempFolder folder;
    return Tokenizer::load(folder.write("f.gguf", file()));
  }
};

using Pieces = std::vector<std::string>;

Pieces pieces_of(const Tokenizer& tokenizer, std::string_view text, EncodeOptions options) {
  Pieces pieces;
  for (const Token& token : tokenizer.encode(text, options)) pieces.push_back(token.text);
  return pieces;
}

TEST(SentencePieceGguf, WordsAreThoseThatGpt2sPatternCuts) {
  Vocabulary v;
  v.add("\u2581wives", 0);
  const std::string text = "a truth, known\n</s>12 wives";
  std::vector<std::string> words;
  std::int64_t last = -1;
  std::size_t begin = 0;
  for (const Token& token : v.load().encode(text, {.add_special = false})) {
    if (token.special) continue;
    ASSERT_GE(token.word, last);
    if (token.word != last) {
      begin = static_cast<std::size_t>(token.begin);
      words.emplace_back();
    }
    last = token.word;
    words.back() = text.substr(begin, static_cast<std::size_t>(token.end) - begin);
  }
  EXPECT_EQ(words, (Pieces{"a", " truth", ",", " known", "\n", "12", " wives"}));
}

TEST(SentencePieceGguf, MergesTheHighestScoreFirstTheLeftmostOfEquals) {
  Vocabulary v;
  for (const char* letter : {"a", "b", "c", "\u2581"}) v.add(letter, -10);
  v.add("ab", -2);
  v.add("bc", -1);
  v.add("aa", -3);
  v.add("xy", -4);  // neither of which is a piece
  v.more = [](GgufWriter& file) { file.boolean("tokenizer.ggml.add_space_prefix", false); };
  const Tokenizer tokenizer = v.load();
  const EncodeOptions plain{.add_special = false};
  EXPECT_EQ(pieces_of(tokenizer, "abc", plain), (Pieces{"a", "bc"}));
  EXPECT_EQ(pieces_of(tokenizer, "aaa", plain), (Pieces{"aa", "a"}));
  EXPECT_EQ(pieces_of(tokenizer, "xyx", plain), (Pieces{"xy", "<0x78>"}));
  EXPECT_EQ(pieces_of(tokenizer, "\u00E9", plain), (Pieces{"<0xC3>", "<0xA9>"}));
  EXPECT_EQ(pieces_of(tokenizer, " a", plain), (Pieces{"\u2581", "a"}));
  EXPECT_EQ(tokenizer.decode(ids_of(tokenizer.encode(" \u00E9"))), " \u00E9");
  EXPECT_FALSE(tokenizer.drops_blank());
}

TEST(SentencePieceGguf, PutsABlankBeforeATextAndAfterTokensThatAreFoundInIt) {
  Vocabulary v;
  v.add("a", -1);
  v.add("\u2581", -2);
  v.add(
      "\u2581"
      "a",
      0);
  v.add("\n\n", 0, 4);
  const Tokenizer tokenizer = v.load();
  const std::string text = "a</s>a\n\na";
  EXPECT_EQ(pieces_of(tokenizer, text, {}), (Pieces{"<s>",
                                                    "\u2581"
                                                    "a",
                                                    "</s>",
                                                    "\u2581"
                                                    "a",
                                                    "\n\n",
                                                    "\u2581"
                                                    "a"}));
  EXPECT_EQ(pieces_of(tokenizer, "</s>\n\na", {false, false}),
            (Pieces{"\u2581", "<0x3C>", "<0x2F>", "<0x73>", "<0x3E>", "\n\n",
                    "\u2581"
                    "a"}))
      << "of a user's text tokens of type 4 alone";
  EXPECT_EQ(tokenizer.decode(ids_of(tokenizer.encode(text))), "a a\n\n a");
  EXPECT_EQ(tokenizer.decode(ids_of(tokenizer.encode(" a"))), " a");
  EXPECT_TRUE(tokenizer.encode("", {.add_special = false}).empty());
}

TEST(SentencePieceGguf, NeverMergesTextIntoTokensThatAreNone) {
  Vocabulary v;
  for (const char* piece : {"<", "s", ">", "s>", "<s", "<0", "x41", "x41>", "<0x41"})
    v.add(piece, 0);
  const Tokenizer tokenizer = v.load();
  for (const char* text : {"<s>", "<unk>", "<0x41>"}) {
    for (const Token& token : tokenizer.encode(text, {false, false}))
      EXPECT_NE(token.text, text) << "what a user spells out is text";
  }
  EXPECT_TRUE(tokenizer.is_special(tokenizer.find("<unk>").value_or(-1)));
}

TEST(SentencePieceGguf, TakesWhatLlamaCppTakesForKeysThatAreMissing) {
  Vocabulary v;
  v.add("a", 0);
  EXPECT_EQ(v.load().bos(), 1);
  EXPECT_EQ(v.load().eos(), 2);
  v.more = [](GgufWriter& file) {
    file.boolean("tokenizer.ggml.add_bos_token", false);
    file.boolean("tokenizer.ggml.add_eos_token", true);
    file.integer("tokenizer.ggml.eos_token_id", 1);
  };
  EXPECT_EQ(ids_of(v.load().encode("a")).back(), 1);
  EXPECT_NE(ids_of(v.load().encode("a")).front(), 1);
}

TEST(SentencePieceGguf, ErrorsNameWhatIsWrong) {
  const TempFolder folder;
  const auto said = [&](const std::function<void(Vocabulary&)>& change,
                        const std::string& without = "") {
    Vocabulary v;
    v.add("a", 0);
    change(v);
    const auto path = folder.write("f.gguf", v.file(without));
    const auto error = message_of<std::runtime_error>([&] { Tokenizer::load(path); });
    return error.substr(std::min(error.size(), path.string().size() + 2));
  };
  const auto nothing = [](Vocabulary&) {};
  EXPECT_EQ(said(nothing), "");
  EXPECT_NE(said(nothing, "scores").find("\"tokenizer.ggml.scores\""), std::string::npos);
  EXPECT_EQ(said(nothing, "token_type"), "\"tokenizer.ggml.token_type\" is missing");
  EXPECT_EQ(said([](Vocabulary& v) { v.scores.pop_back(); }),
            "\"tokenizer.ggml.scores\" has 259 entries, expected 260, like tokens");
  EXPECT_EQ(said([](Vocabulary& v) { v.types.push_back(1); }),
            "\"tokenizer.ggml.token_type\" has 261 entries, expected 260, like tokens");
  EXPECT_EQ(said([](Vocabulary& v) { v.scores[7] = std::nanf(""); }),
            "the score of token 7 is nan, expected a finite number");
  EXPECT_EQ(said([](Vocabulary& v) { v.scores[7] = -std::numeric_limits<float>::infinity(); }),
            "the score of token 7 is -inf, expected a finite number");
  EXPECT_EQ(said([](Vocabulary& v) { v.types[259] = 7; }),
            "token 259 is of type 7, expected 1 to 6");
  EXPECT_EQ(
      said([](Vocabulary& v) { v.types[13] = 1; }),
      "token 13, of type 1, is \"<0x0A>\", expected type 6 for \"<0x00>\" to \"<0xFF>\" alone");
  EXPECT_EQ(said([](Vocabulary& v) { v.types[259] = 6; }),
            "token 259, of type 6, is \"a\", expected type 6 for \"<0x00>\" to \"<0xFF>\" alone");
  EXPECT_EQ(
      said([](Vocabulary& v) { v.tokens[13] = "", v.types[13] = 1; }),
      "\"tokenizer.ggml.tokens\" lacks \"<0x0A>\", expected a token for each of the 256 bytes");
  EXPECT_EQ(said([](Vocabulary& v) { v.add("a", 1); }),
            "tokens 259 and 260 are both \"a\", expected each once");
  for (const std::string key : {"unknown", "bos", "eos"}) {
    const std::string name = "tokenizer.ggml." + key + "_token_id";
    EXPECT_NE(said([&](Vocabulary& v) {
                v.more = [&](GgufWriter& file) { file.integer(name, 260); };
              }).find(name),
              std::string::npos);
  }
}

TEST(SentencePieceJsonErrors, RefusePipelinesThatMeanSomethingElse) {
  struct Case {
    const char *file, *pointer;
    Json value;
    std::string error;
  };
  const Json replace = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}},
             nfkc = {{"type", "NFKC"}};
  const auto sequence = [](const char* key, std::vector<Json> steps) {
    return Json{{"type", "Sequence"}, {key, std::move(steps)}};
  };
  for (const Case& each : std::vector<Case>{
           {"prepend", "/decoder/type", "CTC", R"(decoder.type is "CTC", expected "ByteLevel" or)"},
           {"prepend", "/decoder/decoders/3/start", 2, "decoders[3].start is 2, expected 1"},
           {"prepend", "/decoder/decoders/3/stop", 1, "decoders[3].stop is 1, expected 0"},
           {"prepend", "/decoder/decoders/1/type", "Fuse",
            R"(decoders[1].type is "Fuse", expected "ByteFallback")"},
           {"prepend", "/decoder/decoders/0/content", "_", R"(content is "_", expected " ")"},
           {"prepend", "/normalizer", sequence("normalizers", {nfkc, replace}),
            R"(normalizers[0].type is "NFKC", expected "Replace")"},
           {"prepend", "/normalizer", sequence("normalizers", {replace, nfkc}),
            R"(normalizers[1].type is "NFKC", expected nothing here)"},
           {"prepend", "/normalizer/normalizers/0/prepend", "_", R"(prepend is "_", expected)"},
           {"prepend", "/normalizer/normalizers/1/pattern", {{"Regex", " +"}}, "pattern.Regex is"},
           {"prepend", "/normalizer", nullptr, "pre_tokenizer is null, expected a Metaspace"},
           {"prepend",
            "/pre_tokenizer",
            {{"type", "Metaspace"}},
            R"(pre_tokenizer.type is "Metaspace", expected "Split" or no pre_tokenizer)"},
           {"unk", "/model/byte_fallback", true,
            R"(byte_fallback is true, expected false, since the vocabulary lacks "<0x00>")"},
           {"unk", "/model/unk_token", nullptr,
            "unk_token is null, expected a piece of model.vocab, since byte_fallback is false"},
           {"unk", "/model/unk_token", "nobody", "unk_token is \"nobody\", expected a piece of"},
           {"first", "/pre_tokenizer/split", true, "pre_tokenizer.split is true, expected false"},
           {"first", "/pre_tokenizer/replacement", "_", "pre_tokenizer.replacement is"},
           {"first", "/pre_tokenizer/prepend_scheme", "last", R"(is "last", expected "always",)"},
           {"first", "/pre_tokenizer/add_prefix_space", false,
            "add_prefix_space is false, expected the same as prepend_scheme"},
           {"first", "/pre_tokenizer", sequence("pretokenizers", {}),
            R"(pre_tokenizer ends too early, expected "Metaspace" as well)"},
           {"gemma", "/pre_tokenizer/pattern/String", "a", R"(String is "a", expected " ")"},
           {"first", "/model/merges/0", {"zz", "qq"}, "is no token"},
           {"first",
            "/post_processor",
            {{"type", "ByteLevel"}},
            R"(post_processor.type is "ByteLevel", expected "TemplateProcessing")"},
           {"first", "/surprise", 1, "surprise is not known"}}) {
    Json bad = read_json(kFolder + each.file + ".json");
    bad[Json::json_pointer(each.pointer)] = each.value;
    const auto error =
        message_of<std::runtime_error>([&] { Tokenizer::parse(bad.dump(), "f.json"); });
    EXPECT_NE(error.find(each.error), std::string::npos) << error << "\nexpected: " << each.error;
  }
}

TEST(SentencePieceChat, BeginsTheConversationAloneWithABlank) {
  const ChatTemplate chat = ChatTemplate::parse(
      "{{bos_token}}{% for message in messages %}{{'<start_of_turn>' + role + '\n' + "
      "message['content'] | trim + '<end_of_turn>\n'}}{% endfor %}");
  Json file = read_json(kFolder + "first.json");
  Json token = file["added_tokens"][0];
  for (const char* text : {"<start_of_turn>", "<end_of_turn>"}) {
    token["content"] = text;
    token["id"] = Tokenizer::parse(file.dump(), "f.json").vocab_size();
    file["added_tokens"].push_back(token);
  }
  const Tokenizer tokenizer = Tokenizer::parse(file.dump(), "f.json");
  const Message message{"user", "of"};
  const auto ids = chat.encode({&message, 1}, tokenizer);
  EXPECT_EQ(ids,
            ids_of(tokenizer.encode("<start_of_turn>user\nof<end_of_turn>\n<start_of_turn>model\n",
                                    {.add_special = false})));
  ASSERT_GE(ids.size(), 2U);
  EXPECT_FALSE(tokenizer.piece(ids[1]).starts_with("\u2581"));
}

TEST(SentencePieceGeneration, AnAnswerBeginsWithoutTheBlankAndAContinuationWithIt) {
  const Decoder decoder = Decoder::load(kGolden + "decoder/gguf_llama.gguf");
  const Vocabulary others;
  Vocabulary words;  // whatever the decoder picks is a word
  words.tokens.clear(), words.scores.clear(), words.types.clear();
  for (std::int64_t id = 0; id < decoder.config().vocab_size; ++id)
    words.add("\u2581w" + std::to_string(id), 0);
  for (std::size_t id = 3; id < others.tokens.size(); ++id) words.add(others.tokens[id], 0, 6);
  const Tokenizer tokenizer = words.load();
  const auto text_of = [&](bool is_answer, std::vector<std::string> stop) {
    PagedKvCache cache(decoder.cache_shape(DType::kF32));
    GenerateOptions options{.sampling = {.temperature = 0},
                            .max_tokens = 3,
                            .stop = std::move(stop),
                            .is_answer = is_answer};
    Generation generation(decoder, tokenizer, cache, cache.create(), options);
    const std::vector<std::int32_t> prompt{3, 5};
    generation.prompt(prompt);
    std::string text;
    while (const auto piece = generation.next()) text += piece->text;
    return text + generation.rest();
  };
  const std::string answer = text_of(true, {});
  EXPECT_TRUE(answer.starts_with("w")) << answer;
  EXPECT_EQ(text_of(false, {}), " " + answer);
  EXPECT_EQ(text_of(true, {answer.substr(1, 3)}), "w");
  EXPECT_EQ(text_of(true, {" " + answer.substr(0, 2)}).find(" " + answer.substr(0, 2)),
            std::string::npos);
}

}  // namespace
}  // namespace regard::model
