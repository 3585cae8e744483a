// src/model/tokenizer_fields.cc - the parts of a tokenizer.json that every kind of tokenizer has.
#include "model/tokenizer_fields.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "model/unicode.h"

namespace regard::model {
namespace {

std::int32_t read_id(const JsonField& field) {
  return static_cast<std::int32_t>(field.integer(0, kMaxId));
}

std::string id_text(std::int32_t id) { return std::to_string(id); }

AddedToken read_added_token(const JsonField& field) {
  field.only_keys({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.id = read_id(field.at("id"));
  token.content = field.at("content").text();
  token.single_word = field.at("single_word").boolean();
  token.lstrip = field.at("lstrip").boolean();
  token.rstrip = field.at("rstrip").boolean();
  token.normalized = field.at("normalized").boolean();
  token.special = field.at("special").boolean();
  return token;
}

bool begins_with_whitespace(std::string_view text) {
  std::size_t at = 0;
  return (code_point_flags(next_code_point(text, at)) & kWhitespace) != 0;
}

// The added tokens that are looked for in one kind of text, as they are read.
struct AddedTokenList {
  std::vector<AddedToken> tokens;
  std::vector<std::string> patterns;
  std::map<std::string, std::string> seen;  // pattern to the field that has it
  bool strips_right = false;
  std::optional<JsonField> begins_blank;

  void add(AddedToken token, std::string pattern, const JsonField& content) {
    if (pattern.empty() || pattern.size() > kMaxPieceBytes) {
      content.fail("1 to " + std::to_string(kMaxPieceBytes) + " bytes, also when normalised");
    }
    const auto [at, is_new] = seen.emplace(pattern, content.name());
    if (!is_new) content.fail("other text than " + at->second);
    strips_right = strips_right || token.rstrip;
    if (begins_with_whitespace(pattern)) begins_blank = content;
    patterns.push_back(std::move(pattern));
    tokens.push_back(std::move(token));
  }

  // `tokenizers` gives overlapping tokens where one is made of the white space that another strips;
  // nobody means that.
  AddedTokens finish() && {
    if (strips_right && begins_blank) {
      begins_blank->fail("no white space at the beginning, since there are tokens with rstrip");
    }
    return AddedTokens(std::move(tokens), patterns);
  }
};

void check_id(const JsonField& field, std::int32_t id, const std::string& text, const Ids& ids) {
  const auto wanted = ids.find(text);
  if (!wanted) field.fail("the id of " + in_quotes(text) + ", which is in neither vocabulary");
  if (id != *wanted) field.fail(id_text(*wanted) + ", the id of " + in_quotes(text));
}

using SpecialPieces = std::map<std::string, std::vector<Piece>>;

SpecialPieces read_special_tokens(const JsonField& field, const Ids& ids) {
  SpecialPieces special;
  for (const auto& [key, entry] : field.members()) {
    entry.only_keys({"id", "ids", "tokens"});
    entry.at("id").only(key);
    const auto id_fields = entry.at("ids").elements();
    const auto texts = entry.at("tokens").elements();
    if (id_fields.size() != texts.size()) {
      entry.at("ids").fail("an array of " + std::to_string(texts.size()) + ", like tokens");
    }
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const Piece piece{texts[i].text(), read_id(id_fields[i])};
      check_id(id_fields[i], piece.id, piece.text, ids);
      special[key].push_back(piece);
    }
  }
  return special;
}

void check_segment(const JsonField& piece) {
  if (const auto type = piece.at("type_id"); type.integer(0, UINT32_MAX) != 0) {
    type.fail("0: one text has one segment");
  }
}

Piece read_special_pair(const JsonField& field, const Ids& ids) {
  const auto pair = field.elements();
  if (pair.size() != 2) field.fail("a token and its id");
  Piece piece{pair[0].text(), read_id(pair[1])};
  check_id(pair[1], piece.id, piece.text, ids);
  return piece;
}

}  // namespace

std::optional<JsonField> present(const JsonField& object, std::string_view key) {
  auto field = object.find(key);
  return field && field->is_null() ? std::nullopt : field;
}

bool is_true(const JsonField& object, std::string_view key, bool otherwise) {
  const auto field = object.find(key);
  return field ? field->boolean() : otherwise;
}

std::vector<JsonField> steps_of(const JsonField& field, std::string_view list) {
  if (field.at("type").text() != "Sequence") return {field};
  field.only_keys({"type", list});
  std::vector<JsonField> steps;
  for (const JsonField& each : field.at(list).elements()) {
    const auto inner = steps_of(each, list);
    steps.insert(steps.end(), inner.begin(), inner.end());
  }
  return steps;
}

void Ids::add(const std::string& text, std::int32_t id, const JsonField& field) {
  const auto [at, is_new] = texts_.emplace(id, text);
  if (!is_new)
    field.say("has id " + id_text(id) + ", which is also that of " + in_quotes(at->second));
  ids_.emplace(text, id);
  end_ = std::max(end_, std::int64_t{id} + 1);
}

std::optional<std::int32_t> Ids::find(const std::string& text) const {
  const auto found = ids_.find(text);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<Piece> read_vocabulary(const JsonField& field, Ids& ids) {
  std::vector<Piece> vocabulary;
  for (const auto& [text, entry] : field.members()) {
    if (text.size() > kMaxPieceBytes) {
      entry.say("is a piece of " + std::to_string(text.size()) + " bytes, expected at most " +
                std::to_string(kMaxPieceBytes));
    }
    vocabulary.push_back({text, read_id(entry)});
    ids.add(text, vocabulary.back().id, entry);
  }
  if (vocabulary.empty()) field.fail("at least one piece");
  return vocabulary;
}

void check_file(const JsonField& file) {
  file.only_keys({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                  "post_processor", "decoder", "model"});
  if (const auto version = file.find("version")) version->only("1.0");
}

// `tokenizers` looks the content up in the vocabulary, and numbers those that are not there from
// the vocabulary's size, or on from the greatest that it has added.
AddedTokenSets read_added_tokens(const JsonField& field, Ids& ids, std::size_t pieces,
                                 const std::function<std::string(std::string_view)>& normalize) {
  auto next_id = static_cast<std::int64_t>(pieces);
  AddedTokenList raw, normalized;
  std::set<std::string> contents;
  for (const JsonField& entry : field.elements()) {
    AddedToken token = read_added_token(entry);
    const JsonField content = entry.at("content");
    if (!contents.insert(token.content).second) content.fail("each token once");
    const auto known = ids.find(token.content);
    const std::int64_t wanted = known ? *known : next_id;
    if (token.id != wanted) entry.at("id").fail(std::to_string(wanted) + ", the id of its content");
    next_id = std::max(next_id, wanted + 1);
    if (!known) ids.add(token.content, token.id, entry);
    if (token.normalized) {
      std::string pattern = normalize(token.content);
      normalized.add(std::move(token), std::move(pattern), content);
    } else {
      std::string pattern = token.content;
      raw.add(std::move(token), std::move(pattern), content);
    }
  }
  return {std::move(raw).finish(), std::move(normalized).finish()};
}

PiecesAround read_template(const JsonField& field, const Ids& ids) {
  field.only_keys({"type", "single", "pair", "special_tokens"});
  const SpecialPieces special = read_special_tokens(field.at("special_tokens"), ids);
  const JsonField single = field.at("single");
  PiecesAround around;
  std::vector<Piece>* side = &around.before;
  for (const JsonField& step : single.elements()) {
    step.only_keys({"SpecialToken", "Sequence"});
    if (step.value().size() != 1) step.fail("one of SpecialToken and Sequence");
    if (const auto sequence = step.find("Sequence")) {
      sequence->only_keys({"id", "type_id"});
      sequence->at("id").only("A");
      check_segment(*sequence);
      if (side == &around.after) single.fail("the sequence A once");
      side = &around.after;
      continue;
    }
    const JsonField token = step.at("SpecialToken");
    token.only_keys({"id", "type_id"});
    check_segment(token);
    const auto found = special.find(token.at("id").text());
    if (found == special.end()) token.at("id").fail("a key of " + field.name() + ".special_tokens");
    side->insert(side->end(), found->second.begin(), found->second.end());
  }
  if (side == &around.before) single.fail("the sequence A once");
  return around;
}

PiecesAround read_cls_and_sep(const JsonField& field, const Ids& ids) {
  return {{read_special_pair(field.at("cls"), ids)}, {read_special_pair(field.at("sep"), ids)}};
}

}  // namespace regard::model
