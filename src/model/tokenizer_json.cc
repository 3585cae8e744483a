// src/model/tokenizer_json.cc - tokenizer.json to the parts of a tokenizer, every field distrusted.
#include "model/tokenizer_json.h"

#include <string>
#include <utility>

namespace regard::model {
namespace {

void check_type(const JsonField& field, std::string_view wanted) {
  if (!field.value().is_object()) field.fail("a " + std::string(wanted));
  field.at("type").only(wanted);
}

BertNormalizer read_normalizer(const JsonField& field) {
  check_type(field, "BertNormalizer");
  field.only_keys({"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"});
  BertNormalizer normalizer;
  normalizer.clean_text = field.at("clean_text").boolean();
  normalizer.handle_chinese_chars = field.at("handle_chinese_chars").boolean();
  normalizer.lowercase = field.at("lowercase").boolean();
  const auto strip = field.find("strip_accents");
  normalizer.strip_accents = strip && !strip->is_null() ? strip->boolean() : normalizer.lowercase;
  return normalizer;
}

void check_pre_tokenizer(const JsonField& field) {
  check_type(field, "BertPreTokenizer");
  field.only_keys({"type"});
}

WordPiece read_model(const JsonField& field, Ids& ids) {
  // Files of 2020 have no type here; what else they hold tells.
  if (const auto type = field.find("type")) {
    type->only("WordPiece");
  } else if (!field.find("max_input_chars_per_word")) {
    field.say("has no type and no max_input_chars_per_word, expected a WordPiece");
  }
  field.only_keys(
      {"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"});
  WordPiece::Options options;
  const JsonField unk = field.at("unk_token");
  options.unk_token = unk.text();
  options.continuing_subword_prefix = field.at("continuing_subword_prefix").text();
  options.max_input_chars_per_word =
      static_cast<std::size_t>(field.at("max_input_chars_per_word").integer(0, 1'000'000));
  std::vector<Piece> vocabulary = read_vocabulary(field.at("vocab"), ids);
  if (options.unk_token.empty() || !ids.find(options.unk_token)) {
    unk.fail("a piece of model.vocab");
  }
  return WordPiece(std::move(vocabulary), std::move(options));
}

void read_post_processor(const JsonField& field, const Ids& ids, TokenizerParts& parts) {
  const JsonField type = field.at("type");
  if (type.text() == "TemplateProcessing") {
    parts.around = read_template(field, ids);
  } else if (type.text() == "BertProcessing") {
    field.only_keys({"type", "sep", "cls"});
    parts.around = read_cls_and_sep(field, ids);
  } else {
    type.fail("\"TemplateProcessing\" or \"BertProcessing\"");
  }
}

}  // namespace

TokenizerParts read_tokenizer_json(const JsonField& file) {
  check_file(file);
  Ids ids;
  WordPiece model = read_model(file.at("model"), ids);  // first: its type says most about the file
  TokenizerParts parts{read_normalizer(file.at("normalizer")), std::move(model), {}, {}, 0};
  check_pre_tokenizer(file.at("pre_tokenizer"));
  parts.added = read_added_tokens(
      file.at("added_tokens"), ids, parts.model.vocabulary().size(),
      [&](std::string_view text) { return parts.normalizer.normalize(text, 0).text; });
  read_post_processor(file.at("post_processor"), ids, parts);
  parts.vocab_size = ids.end();
  return parts;
}

}  // namespace regard::model
