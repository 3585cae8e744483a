// src/model/sentencepiece.cc - SentencePiece's blanks, and the pipelines of tokenizer.json that are
// its.
#include "model/sentencepiece.h"

#include "model/byte_pairs.h"
#include "model/tokenizer_fields.h"
#include "model/unicode.h"

namespace regard::model {
namespace {

using Prefix = SentencePiece::Prefix;

/// The step `at`, which must be there and of this type.
const JsonField& expect_step(const JsonField& field, const std::vector<JsonField>& steps,
                             std::size_t at, std::string_view type) {
  if (at >= steps.size()) field.say("ends too early, expected " + in_quotes(type) + " as well");
  steps[at].at("type").only(type);
  return steps[at];
}

void expect_end(const std::vector<JsonField>& steps, std::size_t at) {
  if (at < steps.size()) steps[at].at("type").fail("nothing here");
}

void check_replace(const JsonField& step, std::string_view from, std::string_view to) {
  step.only_keys({"type", "pattern", "content"});
  step.at("pattern").only_keys({"String"});
  step.at("pattern").at("String").only(from);
  step.at("content").only(to);
}

/// Prepend and Replace, or Replace alone.
void read_normalizer(const JsonField& field, SentencePiece& to) {
  const auto steps = steps_of(field, "normalizers");
  std::size_t at = 0;
  if (!steps.empty() && steps[0].at("type").text() == "Prepend") {
    steps[0].only_keys({"type", "prepend"});
    steps[0].at("prepend").only(SentencePiece::kBlankText);
    to.prefix = Prefix::kEach;
    ++at;
  }
  check_replace(expect_step(field, steps, at, "Replace"), " ", SentencePiece::kBlankText);
  expect_end(steps, at + 1);
}

void read_metaspace(const JsonField& field, SentencePiece& to) {
  const auto steps = steps_of(field, "pretokenizers");
  const JsonField& step = expect_step(field, steps, 0, "Metaspace");
  expect_end(steps, 1);
  step.only_keys({"type", "replacement", "prepend_scheme", "add_prefix_space", "split"});
  step.at("replacement").only(SentencePiece::kBlankText);
  if (step.at("split").boolean()) step.at("split").fail("false");
  const JsonField scheme = step.at("prepend_scheme");
  if (scheme.text() == "always") {
    to.prefix = Prefix::kEachWithout;
  } else if (scheme.text() == "first") {
    to.prefix = Prefix::kFirstWithout;
  } else if (scheme.text() != "never") {
    scheme.fail("\"always\", \"first\" or \"never\"");
  }
  if (const auto add = present(step, "add_prefix_space");
      add && add->boolean() != (to.prefix != Prefix::kNever))
    add->fail("the same as prepend_scheme");
}

/// After a normaliser that has left no blanks: nothing, or what looks for some in vain.
void check_no_split(const JsonField& field) {
  for (const JsonField& step : steps_of(field, "pretokenizers")) {
    if (step.at("type").text() != "Split")
      step.at("type").fail("\"Split\" or no pre_tokenizer, since the normalizer writes the blanks");
    step.only_keys({"type", "pattern", "behavior", "invert"});
    if (step.at("invert").boolean()) step.at("invert").fail("false");
    step.at("pattern").only_keys({"String"});
    step.at("pattern").at("String").only(" ");
  }
}

/// Replace, ByteFallback, Fuse, and Strip where a blank is put before a text.
void read_decoder(const JsonField& field, SentencePiece& to) {
  const auto steps = steps_of(field, "decoders");
  check_replace(expect_step(field, steps, 0, "Replace"), SentencePiece::kBlankText, " ");
  expect_step(field, steps, 1, "ByteFallback").only_keys({"type"});
  expect_step(field, steps, 2, "Fuse").only_keys({"type"});
  if (steps.size() == 3) return;
  const JsonField& strip = expect_step(field, steps, 3, "Strip");
  expect_end(steps, 4);
  strip.only_keys({"type", "content", "start", "stop"});
  strip.at("content").only(" ");
  if (strip.at("start").integer(0, UINT32_MAX) != 1) strip.at("start").fail("1");
  if (strip.at("stop").integer(0, UINT32_MAX) != 0) strip.at("stop").fail("0");
  to.drops_blank = true;
}

/// Whether a blank is put before a part of a text.
bool needs_blank(std::string_view part, Prefix prefix, bool is_first) {
  if (part.empty() || prefix == Prefix::kNever) return false;
  if (prefix == Prefix::kEach) return true;
  if (part.starts_with(' ') || part.starts_with(SentencePiece::kBlankText)) return false;
  return prefix == Prefix::kEachWithout || is_first;
}

}  // namespace

SentencePiece read_sentencepiece(const JsonField& file, const JsonField& decoder) {
  SentencePiece sentencepiece;
  read_decoder(decoder, sentencepiece);
  const auto pre_tokenizer = present(file, "pre_tokenizer");
  if (const auto normalizer = present(file, "normalizer")) {
    read_normalizer(*normalizer, sentencepiece);
    if (pre_tokenizer) check_no_split(*pre_tokenizer);
  } else {
    sentencepiece.normalizes = false;
    if (!pre_tokenizer)
      file.at("pre_tokenizer").fail("a Metaspace, since no normalizer writes the blanks");
    read_metaspace(*pre_tokenizer, sentencepiece);
  }
  return sentencepiece;
}

AlignedText SentencePiece::written(std::string_view part, std::size_t offset, bool at_begin) const {
  AlignedText text(offset);
  if (needs_blank(part, prefix, at_begin && offset == 0)) {
    std::size_t first = 0;
    next_code_point(part, first);
    text.append(kBlank, {offset, offset + first});
    text.go_on(offset);
  }
  std::size_t done = 0;
  for (std::size_t at = 0; (at = part.find(' ', done)) != part.npos; done = at + 1) {
    text.append(part.substr(done, at - done));
    text.append(kBlank, {offset + at, offset + at + 1});
    text.go_on(offset + at + 1);
  }
  text.append(part.substr(done));
  return text;
}

std::string SentencePiece::normalized(std::string_view text) const {
  return normalizes ? written(text, 0, true).text() : std::string(text);
}

std::string sentencepiece_bytes(const std::string& piece) {
  if (const auto byte = byte_of_token(piece)) return std::string(1, *byte);
  std::string bytes;
  std::size_t done = 0;
  for (std::size_t at = 0; (at = piece.find(SentencePiece::kBlankText, done)) != piece.npos;) {
    bytes.append(piece, done, at - done).append(" ");
    done = at + SentencePiece::kBlankText.size();
  }
  return bytes.append(piece, done);
}

}  // namespace regard::model
