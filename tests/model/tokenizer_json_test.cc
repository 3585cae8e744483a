// tests/model/tokenizer_json_test.cc - malformed tokenizer.json files: what each is told.
#include "model/tokenizer_json.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "regard/model/tokenizer.h"

namespace regard::model {
namespace {

using nlohmann::json;

// A file of five pieces that is right; the cases change one thing each.
json small_file() {
  return json::parse(R"({
    "version": "1.0", "truncation": {"max_length": "ignored"}, "padding": 7, "decoder": null,
    "added_tokens": [
      {"id": 2, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false,
       "normalized": false, "special": true},
      {"id": 5, "content": "<x>", "single_word": false, "lstrip": false, "rstrip": true,
       "normalized": false, "special": true}],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                   "strip_accents": null, "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                 {"Sequence": {"id": "A", "type_id": 0}},
                 {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
      "pair": [],
      "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]},
                         "[SEP]": {"id": "[SEP]", "ids": [2], "tokens": ["[SEP]"]}}},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100,
              "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "##b": 4}}})");
}

std::string error_of(const std::string& text) {
  try {
    Tokenizer::parse(text, "f.json");
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "accepted";
}

struct Case {
  const char* pointer;  // what is changed, as a JSON pointer
  const char* value;    // to this; nullptr: removed
  const char* error;    // without "f.json: "
};

std::string error_after(const Case& change) {
  json file = small_file();
  const json::json_pointer pointer(change.pointer);
  if (change.value != nullptr) {
    file[pointer] = json::parse(change.value);
  } else {
    file.at(pointer.parent_pointer()).erase(pointer.back());
  }
  return error_of(file.dump());
}

TEST(TokenizerJson, AcceptsTheFileThatTheCasesChange) {
  EXPECT_EQ(error_of(small_file().dump()), "accepted");
  EXPECT_EQ(Tokenizer::parse(small_file().dump(), "f.json").vocab_size(), 6);
}

TEST(TokenizerJson, AcceptsWhatIsIgnoredOrOptional) {
  for (const Case& change : std::vector<Case>{
           {"/truncation", nullptr, ""},
           {"/padding", nullptr, ""},
           {"/decoder", nullptr, ""},
           {"/version", nullptr, ""},
           {"/model/type", nullptr, ""},
           {"/normalizer/strip_accents", nullptr, ""},
           {"/post_processor/pair", nullptr, ""},
           {"/added_tokens", "[]", ""},
           {"/model/continuing_subword_prefix", "\"\"", ""},
           {"/post_processor",
            R"({"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]})", ""}}) {
    EXPECT_EQ(error_after(change), "accepted") << change.pointer;
  }
}

constexpr Case kMalformed[] = {
    // the file
    {"/version", "\"2.0\"", R"(version is "2.0", expected "1.0")"},
    {"/version", "1", "version is 1, expected a string"},
    {"/surprise", "1", "surprise is not known to this reader"},
    {"/a\nb", "1", R"(["a\nb"] is not known to this reader)"},
    {"/model", nullptr, "model is missing"},
    {"/normalizer", nullptr, "normalizer is missing"},
    {"/pre_tokenizer", nullptr, "pre_tokenizer is missing"},
    {"/post_processor", nullptr, "post_processor is missing"},
    {"/added_tokens", nullptr, "added_tokens is missing"},
    // model
    {"/model", "[]", "model is an array of 0, expected an object"},
    {"/model/type", "\"Unigram\"", R"(model.type is "Unigram", expected "WordPiece")"},
    {"/model", R"({"vocab": {}})",
     "model has no type and no max_input_chars_per_word, expected a WordPiece"},
    {"/model/merges", "[]", "model.merges is not known to this reader"},
    {"/model/unk_token", nullptr, "model.unk_token is missing"},
    {"/model/unk_token", "null", "model.unk_token is null, expected a string"},
    {"/model/unk_token", "\"[unk]\"",
     R"(model.unk_token is "[unk]", expected a piece of model.vocab)"},
    {"/model/continuing_subword_prefix", "2",
     "model.continuing_subword_prefix is 2, expected a string"},
    {"/model/max_input_chars_per_word", "-1",
     "model.max_input_chars_per_word is -1, expected an integer from 0 to 1000000"},
    {"/model/max_input_chars_per_word", "1e3",
     "model.max_input_chars_per_word is 1000.0, expected an integer from 0 to 1000000"},
    {"/model/max_input_chars_per_word", "9223372036854775808",
     "model.max_input_chars_per_word is 9223372036854775808, expected an integer from 0 to "
     "1000000"},
    {"/model/max_input_chars_per_word", "18446744073709551616",
     "model.max_input_chars_per_word is 1.8446744073709552e+19, expected an integer from 0 to "
     "1000000"},
    // vocabulary
    {"/model/vocab", "{}", R"(model.vocab is an object, expected at least one piece)"},
    {"/model/vocab", "[\"a\"]", "model.vocab is an array of 1, expected an object"},
    {"/model/vocab/a", "-1", "model.vocab.a is -1, expected an integer from 0 to 16777215"},
    {"/model/vocab/a", "16777216",
     "model.vocab.a is 16777216, expected an integer from 0 to 16777215"},
    {"/model/vocab/a", "3.0", "model.vocab.a is 3.0, expected an integer from 0 to 16777215"},
    {"/model/vocab/##b", "\"4\"",
     R"(model.vocab["##b"] is "4", expected an integer from 0 to 16777215)"},
    {"/model/vocab/##b", "3", R"(model.vocab.a has id 3, which is also that of "##b")"},
    {"/model/vocab/\u00e9\u0001", "3",
     R"(model.vocab["\u00e9\u0001"] has id 3, which is also that of "a")"},
    // normaliser and pre-tokeniser
    {"/normalizer", "null", "normalizer is null, expected a BertNormalizer"},
    {"/normalizer/type", "\"NFC\"", R"(normalizer.type is "NFC", expected "BertNormalizer")"},
    {"/normalizer/form", "1", "normalizer.form is not known to this reader"},
    {"/normalizer/clean_text", nullptr, "normalizer.clean_text is missing"},
    {"/normalizer/clean_text", "1", "normalizer.clean_text is 1, expected true or false"},
    {"/normalizer/handle_chinese_chars", "null",
     "normalizer.handle_chinese_chars is null, expected true or false"},
    {"/normalizer/strip_accents", "\"no\"",
     R"(normalizer.strip_accents is "no", expected true or false)"},
    {"/normalizer/lowercase", "{}", "normalizer.lowercase is an object, expected true or false"},
    {"/pre_tokenizer", "null", "pre_tokenizer is null, expected a BertPreTokenizer"},
    {"/pre_tokenizer/type", "\"Whitespace\"",
     R"(pre_tokenizer.type is "Whitespace", expected "BertPreTokenizer")"},
    {"/pre_tokenizer/add_prefix_space", "true",
     "pre_tokenizer.add_prefix_space is not known to this reader"},
    // added tokens
    {"/added_tokens", "{}", "added_tokens is an object, expected an array"},
    {"/added_tokens/0", "\"[SEP]\"", R"(added_tokens[0] is "[SEP]", expected an object)"},
    {"/added_tokens/0/colour", "1", "added_tokens[0].colour is not known to this reader"},
    {"/added_tokens/0/special", nullptr, "added_tokens[0].special is missing"},
    {"/added_tokens/0/lstrip", "0", "added_tokens[0].lstrip is 0, expected true or false"},
    {"/added_tokens/0/id", "1", "added_tokens[0].id is 1, expected 2, the id of its content"},
    {"/added_tokens/0/id", "-2",
     "added_tokens[0].id is -2, expected an integer from 0 to 16777215"},
    {"/added_tokens/1/id", "6", "added_tokens[1].id is 6, expected 5, the id of its content"},
    {"/added_tokens/1/content", "\"[SEP]\"",
     R"(added_tokens[1].content is "[SEP]", expected each token once)"},
    {"/added_tokens/1/content", "\"\"",
     R"(added_tokens[1].content is "", expected 1 to 1000 bytes, also when normalised)"},
    {"/added_tokens/1/content", "\" <x>\"",
     R"(added_tokens[1].content is " <x>", expected no white space at the beginning, since )"
     "there are tokens with rstrip"},
    {"/added_tokens/1", R"({"id": 5, "content": "\u0301", "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": true, "special": false})",
     R"(added_tokens[1].content is "\u0301", expected 1 to 1000 bytes, also when normalised)"},
    // post-processor
    {"/post_processor", "null", "post_processor is null, expected an object"},
    {"/post_processor/type", "\"Sequence\"",
     R"(post_processor.type is "Sequence", expected "TemplateProcessing" or "BertProcessing")"},
    {"/post_processor/type", "\"BertProcessing\"",
     "post_processor.pair is not known to this reader"},
    {"/post_processor/special_tokens", nullptr, "post_processor.special_tokens is missing"},
    {"/post_processor/special_tokens/[CLS]/id", "\"[SEP]\"",
     R"(post_processor.special_tokens["[CLS]"].id is "[SEP]", expected "[CLS]")"},
    {"/post_processor/special_tokens/[CLS]/ids", "[1, 2]",
     R"(post_processor.special_tokens["[CLS]"].ids is an array of 2, expected an array of 1, )"
     "like tokens"},
    {"/post_processor/special_tokens/[CLS]/ids/0", "2",
     R"(post_processor.special_tokens["[CLS]"].ids[0] is 2, expected 1, the id of "[CLS]")"},
    {"/post_processor/special_tokens/[CLS]/ids/0", "4294967295",
     R"(post_processor.special_tokens["[CLS]"].ids[0] is 4294967295, expected an integer from )"
     "0 to 16777215"},
    {"/post_processor/special_tokens/[CLS]/tokens/0", "\"[cls]\"",
     R"(post_processor.special_tokens["[CLS]"].ids[0] is 1, expected the id of "[cls]", which is )"
     "in neither vocabulary"},
    {"/post_processor/single", "{}", "post_processor.single is an object, expected an array"},
    {"/post_processor/single", "[]",
     "post_processor.single is an array of 0, expected the sequence A once"},
    {"/post_processor/single/0", R"({"Sequence": {"id": "A", "type_id": 0}})",
     "post_processor.single is an array of 3, expected the sequence A once"},
    {"/post_processor/single/1", R"({"Sequence": {"id": "B", "type_id": 0}})",
     R"(post_processor.single[1].Sequence.id is "B", expected "A")"},
    {"/post_processor/single/1/Sequence/type_id", "1",
     R"(post_processor.single[1].Sequence.type_id is 1, expected 0: one text has one segment)"},
    {"/post_processor/single/0", R"({"Token": 1})",
     R"(post_processor.single[0].Token is not known to this reader)"},
    {"/post_processor/single/0", "{}",
     "post_processor.single[0] is an object, expected one of SpecialToken and Sequence"},
    {"/post_processor/single/0/SpecialToken/id", "\"<s>\"",
     R"(post_processor.single[0].SpecialToken.id is "<s>", expected a key of )"
     "post_processor.special_tokens"},
    {"/post_processor", R"({"type": "BertProcessing", "sep": ["[SEP]"], "cls": ["[CLS]", 1]})",
     "post_processor.sep is an array of 1, expected a token and its id"},
    {"/post_processor", R"({"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 2]})",
     R"(post_processor.cls[1] is 2, expected 1, the id of "[CLS]")"},
};

TEST(TokenizerJson, SaysWhatIsWrongAndWhatWasWanted) {
  for (const Case& change : kMalformed) {
    EXPECT_EQ(error_after(change), std::string("f.json: ") + change.error) << change.pointer;
  }
}

TEST(TokenizerJson, RefusesTextThatIsNoJson) {
  EXPECT_EQ(
      error_of(""),
      "f.json: not JSON: parse error at line 1, column 1: attempting to parse an empty input; "
      "check that your input string or stream contains the expected JSON");
  EXPECT_EQ(error_of("[1]"), "f.json: the whole is an array of 1, expected an object");
  EXPECT_EQ(error_of(R"({"model": {}, "model": {}})"), R"(f.json: JSON key "model" comes twice)");
}

TEST(TokenizerJson, RefusesPiecesOfAbsurdSize) {
  json file = small_file();
  file["model"]["vocab"][std::string(1000, 'b')] = 7;
  EXPECT_EQ(error_of(file.dump()),
            "f.json: added_tokens[1].id is 5, expected 6, the id of its content");  // as wanted
  file = small_file();
  file["model"]["vocab"][std::string(1001, 'b')] = 7;
  EXPECT_EQ(error_of(file.dump()), "f.json: model.vocab[\"" + std::string(60, 'b') +
                                       "\"...] is a piece of 1001 bytes, expected at most 1000");
}

}  // namespace
}  // namespace regard::model
