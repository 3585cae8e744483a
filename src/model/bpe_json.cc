// src/model/bpe_json.cc - vocabularies of byte pair encoding from tokenizer.json.
#include <algorithm>
#include <set>

#include "model/bpe_tokenizer.h"
#include "model/json.h"

namespace regard::model {

std::optional<std::pair<std::string, std::string>> split_merge(const std::string& text) {
  const auto blank = text.find(' ');
  if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos)
    return std::nullopt;
  return std::pair(text.substr(0, blank), text.substr(blank + 1));
}

namespace {

/// Fills a vocabulary from a tokenizer.json.
class JsonReader {
 public:
  explicit JsonReader(const JsonField& file) : file_(file) {}

  BpeVocabulary read() {
    check_file(file_);
    const JsonField decoder = file_.at("decoder");
    if (decoder.is_null()) decoder.fail("a ByteLevel or SentencePiece's Sequence");
    const std::string& type = decoder.at("type").text();
    if (type == "Sequence") return read_sentencepiece(decoder);
    if (type != "ByteLevel")
      decoder.at("type").fail("\"ByteLevel\" or \"Sequence\" (SentencePiece's)");
    return read_byte_level();
  }

 private:
  BpeVocabulary read_byte_level() {
    const JsonField model = file_.at("model");
    read_model(model);
    if (is_true(model, "byte_fallback", false)) model.at("byte_fallback").fail("false");
    check_bytes(model);
    if (const auto normalizer = present(file_, "normalizer")) {
      normalizer->at("type").only("NFC");
      normalizer->only_keys({"type"});
      v_.compose = true;
    }
    read_pre_tokenizer(file_.at("pre_tokenizer"));
    read_added();
    if (const auto processor = present(file_, "post_processor")) read_processors(*processor);
    return std::move(v_);
  }

  BpeVocabulary read_sentencepiece(const JsonField& decoder) {
    const JsonField model = file_.at("model");
    read_model(model);
    v_.pattern = {WordPattern::Kind::kNone, false};
    v_.sentencepiece = model::read_sentencepiece(file_, decoder);
    read_fallback(model, *v_.sentencepiece);
    read_added();
    if (const auto processor = present(file_, "post_processor")) read_processors(*processor);
    return std::move(v_);
  }

  void read_model(const JsonField& model) {
    model.only_keys({"type", "dropout", "unk_token", "continuing_subword_prefix",
                     "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges", "vocab",
                     "merges"});
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (const auto text = present(model, key)) text->only("");
    }
    if (present(model, "dropout")) model.at("dropout").fail("null");
    v_.ignore_merges = is_true(model, "ignore_merges", false);
    read_pieces(model);
    for (const JsonField& merge : model.at("merges").elements()) {
      if (merge.value().is_string()) {
        auto pair = split_merge(merge.text());
        if (!pair) merge.fail("two pieces and a blank between");
        v_.merges.push_back(*std::move(pair));
        continue;
      }
      const auto pair = merge.elements();
      if (pair.size() != 2) merge.fail("two pieces");
      v_.merges.emplace_back(pair[0].text(), pair[1].text());
    }
  }

  void read_pieces(const JsonField& model) {
    const JsonField vocab = model.at("vocab");
    for (Piece& piece : read_vocabulary(vocab, ids_)) {
      const auto id = static_cast<std::size_t>(piece.id);
      if (id >= 2 * vocab.value().size() + 4096)
        vocab.at(piece.text).fail("an id near the number of pieces");
      if (id >= v_.texts.size()) v_.texts.resize(id + 1);
      v_.texts[id] = std::move(piece.text);
      ++pieces_;
    }
  }

  void check_bytes(const JsonField& model) const {
    std::set<std::string> bytes;
    for (const std::string& text : v_.texts) {
      if (auto byte = bytes_of_piece(text); byte && byte->size() == 1)
        bytes.insert(*std::move(byte));
    }
    if (const auto unk = present(model, "unk_token"); unk && bytes.size() < 256)
      unk->fail("null, since the vocabulary lacks " + std::to_string(256 - bytes.size()) +
                " of the 256 bytes");
  }

  /// What SentencePiece makes of what is no piece.
  void read_fallback(const JsonField& model, SentencePiece& to) const {
    to.byte_fallback = is_true(model, "byte_fallback", false);
    to.fuse_unk = is_true(model, "fuse_unk", false);
    for (int byte = 0; to.byte_fallback && byte < 256; ++byte) {
      const std::string text = byte_token(static_cast<unsigned char>(byte));
      if (!ids_.find(text))
        model.at("byte_fallback").fail("false, since the vocabulary lacks " + in_quotes(text));
    }
    if (to.byte_fallback) return;  // and there is nothing that would be unknown
    const JsonField unk = model.at("unk_token");
    if (!unk.is_null()) to.unk_id = ids_.find(unk.text());
    if (!to.unk_id) unk.fail("a piece of model.vocab, since byte_fallback is false");
  }

  void read_pre_tokenizer(const JsonField& field) {
    const auto steps = steps_of(field, "pretokenizers");
    std::size_t at = 0;
    const auto is = [&](std::string_view type) {
      return at < steps.size() && steps[at].at("type").text() == type;
    };
    v_.pattern = {WordPattern::Kind::kNone, false};
    if (is("Digits")) read_digits(steps[at++]);
    if (is("Split")) read_split(steps[at++]);
    const std::string wanted =
        "\"ByteLevel\", before it at most \"Digits\" and \"Split\", in this order";
    if (at == steps.size()) field.say("has no ByteLevel, expected " + wanted);
    if (!is("ByteLevel")) steps[at].at("type").fail(wanted);
    read_byte_level(steps[at], at == 0);
    if (++at < steps.size()) steps[at].at("type").fail("nothing after ByteLevel");
  }

  void read_added() {
    const JsonField field = file_.at("added_tokens");
    const auto normalize = [&](std::string_view text) {
      if (v_.sentencepiece) return v_.sentencepiece->normalized(text);
      return v_.compose ? compose(text, 0).text() : std::string(text);
    };
    v_.added = read_added_tokens(field, ids_, pieces_, normalize);
    if (!v_.compose) return;
    for (const JsonField& entry : field.elements()) {
      const JsonField content = entry.at("content");
      if (entry.at("normalized").boolean() && normalize(content.text()) != content.text())
        content.fail("text in NFC, since it is looked for in such");
    }
  }

  void read_digits(const JsonField& step) {
    step.only_keys({"type", "individual_digits"});
    if (!step.at("individual_digits").boolean()) step.at("individual_digits").fail("true");
    v_.pattern.single_digits = true;
  }

  void read_split(const JsonField& step) {
    step.only_keys({"type", "pattern", "behavior", "invert"});
    step.at("behavior").only("Isolated");
    if (step.at("invert").boolean()) step.at("invert").fail("false");
    step.at("pattern").only_keys({"Regex"});
    const JsonField regex = step.at("pattern").at("Regex");
    const auto kind = WordPattern::find(regex.text());
    if (!kind) regex.fail("the pattern of GPT-2, Llama 3 or Qwen2");
    v_.pattern.kind = *kind;
  }

  void read_byte_level(const JsonField& step, bool is_first) {
    step.only_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    v_.add_prefix_space = step.at("add_prefix_space").boolean();
    if (v_.add_prefix_space && !is_first)
      step.at("add_prefix_space").fail("false: every part that the step before cuts would get one");
    if (!is_true(step, "use_regex", true)) return;
    if (v_.pattern.kind != WordPattern::Kind::kNone)
      step.say("cuts words once more, expected use_regex to be false after a Split");
    v_.pattern.kind = WordPattern::Kind::kGpt2;
  }

  void read_processors(const JsonField& field) {
    const auto steps = steps_of(field, "processors");
    bool is_around = false;  // whether something is put round the text
    for (const JsonField& step : steps) {
      const std::string& type = step.at("type").text();
      const bool puts = type == "TemplateProcessing" || type == "RobertaProcessing";
      if (puts && std::exchange(is_around, true)) step.at("type").fail("only one of its kind");
      if (v_.sentencepiece && type != "TemplateProcessing")
        step.at("type").fail("\"TemplateProcessing\"");
      if (type == "TemplateProcessing") {
        put_around(read_template(step, ids_));
      } else if (type == "RobertaProcessing") {
        step.only_keys({"type", "sep", "cls", "trim_offsets", "add_prefix_space"});
        put_around(read_cls_and_sep(step, ids_));
        read_trimming(step);
      } else if (type == "ByteLevel") {
        step.only_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
        read_trimming(step);
      } else {
        step.at("type").fail(
            "\"ByteLevel\", \"TemplateProcessing\", \"RobertaProcessing\" or \"Sequence\"");
      }
    }
  }

  void put_around(const PiecesAround& around) {
    for (const Piece& piece : around.before) v_.before.push_back(piece.id);
    for (const Piece& piece : around.after) v_.after.push_back(piece.id);
  }

  void read_trimming(const JsonField& step) {
    const bool keep_first = step.at("add_prefix_space").boolean();
    const JsonField trim = step.at("trim_offsets");
    if (!trim.boolean()) return;
    if (v_.trim_offsets) trim.fail("false: a step before has trimmed");
    if (v_.add_prefix_space && !keep_first)
      step.at("add_prefix_space").fail("true, as in pre_tokenizer");
    v_.trim_offsets = true;
    v_.keep_first_blank = keep_first;
  }

  const JsonField& file_;
  Ids ids_;
  std::size_t pieces_ = 0;
  BpeVocabulary v_;
};

}  // namespace

BpeVocabulary read_bpe_json(const JsonField& file) { return JsonReader(file).read(); }

}  // namespace regard::model
