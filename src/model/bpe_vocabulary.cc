// src/model/bpe_vocabulary.cc - byte-level BPE vocabularies, from GGUF's metadata and from
// tokenizer.json.
#include <algorithm>
#include <array>
#include <set>

#include "model/bpe_tokenizer.h"
#include "model/json.h"

namespace regard::model {
namespace {

/// llama.cpp's names of the patterns (tokenizer.ggml.pre), and what else it takes from them.
struct NamedPattern {
  std::string_view name;
  WordPattern pattern;
  bool ignore_merges = false;
  bool add_bos = false;  ///< unless tokenizer.ggml.add_bos_token says otherwise
};
constexpr std::array<NamedPattern, 9> kPatterns{{
    {"gpt-2", {WordPattern::Kind::kGpt2, false}},
    {"roberta-bpe", {WordPattern::Kind::kGpt2, false}},
    {"smollm", {WordPattern::Kind::kGpt2, true}},
    {"starcoder", {WordPattern::Kind::kGpt2, true}},
    {"refact", {WordPattern::Kind::kGpt2, true}},
    {"llama-bpe", {WordPattern::Kind::kLlama3, false}, true, true},
    {"llama3", {WordPattern::Kind::kLlama3, false}, true, true},
    {"llama-v3", {WordPattern::Kind::kLlama3, false}, true, true},
    {"qwen2", {WordPattern::Kind::kQwen2, false}},
}};

/// Without a name llama.cpp takes patterns of its own ("default"), which no vocabulary was made
/// with.
const NamedPattern& find_pattern(const GgufFile& file) {
  const std::string* name = file.find<std::string>("tokenizer.ggml.pre");
  if (name != nullptr) {
    const auto* found = std::ranges::find(kPatterns, *name, &NamedPattern::name);
    if (found != kPatterns.end()) return *found;
  }
  std::string known;
  for (const NamedPattern& each : kPatterns)
    known.append(known.empty() ? "" : ", ").append(each.name);
  file.fail("\"tokenizer.ggml.pre\" is " + (name != nullptr ? in_quotes(*name) : "missing") +
            ", expected one of " + known);
}

/// "LEFT RIGHT"; nothing if it is not that.
std::optional<std::pair<std::string, std::string>> split_merge(const std::string& text) {
  const auto blank = text.find(' ');
  if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos)
    return std::nullopt;
  return std::pair(text.substr(0, blank), text.substr(blank + 1));
}

std::optional<std::int32_t> token_id(const GgufFile& file, std::string_view key,
                                     std::size_t vocabulary) {
  const std::int64_t id = file.integer(key, -1, static_cast<std::int64_t>(vocabulary) - 1, -1);
  return id < 0 ? std::nullopt : std::optional(static_cast<std::int32_t>(id));
}

bool flag(const GgufFile& file, std::string_view key, bool otherwise) {
  const bool* value = file.find<bool>(key);
  return value != nullptr ? *value : otherwise;
}

std::vector<std::string> read_tokens(const GgufFile& file) {
  const auto& tokens = file.at<std::vector<std::string>>("tokenizer.ggml.tokens");
  if (tokens.empty() || tokens.size() > static_cast<std::size_t>(kMaxId))
    file.fail("\"tokenizer.ggml.tokens\" has " + std::to_string(tokens.size()) +
              " tokens, expected 1 to 2^24");
  for (const std::string& token : tokens) {
    if (token.size() > kMaxPieceBytes)
      file.fail("a token has " + std::to_string(token.size()) + " bytes, expected at most 1000");
  }
  return tokens;
}

AddedTokens read_added(const GgufFile& file, const std::vector<std::string>& texts) {
  constexpr std::int64_t kControl = 3, kUserDefined = 4;
  const auto* types = file.find<std::vector<std::int64_t>>("tokenizer.ggml.token_type");
  if (types == nullptr) return {};
  if (types->size() != texts.size())
    file.fail("\"tokenizer.ggml.token_type\" has " + std::to_string(types->size()) +
              " entries, expected " + std::to_string(texts.size()) + ", like tokens");
  std::vector<AddedToken> tokens;
  std::vector<std::string> patterns;
  for (std::size_t id = 0; id < types->size(); ++id) {
    const std::int64_t type = (*types)[id];
    if ((type != kControl && type != kUserDefined) || texts[id].empty()) continue;
    AddedToken token;
    token.id = static_cast<std::int32_t>(id);
    token.content = texts[id];
    token.special = type == kControl;
    tokens.push_back(std::move(token));
    patterns.push_back(texts[id]);
  }
  return {std::move(tokens), patterns};
}

}  // namespace

BpeVocabulary read_gguf_vocabulary(const GgufFile& file) {
  const std::string& model = file.at<std::string>("tokenizer.ggml.model");
  if (model != "gpt2")
    file.fail("\"tokenizer.ggml.model\" is " + in_quotes(model) +
              ", expected \"gpt2\" (byte-level BPE)");
  const NamedPattern& named = find_pattern(file);
  BpeVocabulary v;
  v.texts = read_tokens(file);
  v.pattern = named.pattern;
  v.ignore_merges = named.ignore_merges;
  for (const std::string& merge : file.at<std::vector<std::string>>("tokenizer.ggml.merges")) {
    auto pair = split_merge(merge);
    if (!pair) file.fail("merge " + in_quotes(merge) + ", expected two tokens and a blank between");
    v.merges.push_back(*std::move(pair));
  }
  v.added.raw = read_added(file, v.texts);
  v.bos = token_id(file, "tokenizer.ggml.bos_token_id", v.texts.size());
  v.eos = token_id(file, "tokenizer.ggml.eos_token_id", v.texts.size());
  if (flag(file, "tokenizer.ggml.add_bos_token", named.add_bos) && v.bos)
    v.before.push_back(*v.bos);
  if (flag(file, "tokenizer.ggml.add_eos_token", false) && v.eos) v.after.push_back(*v.eos);
  return v;
}

namespace {

std::optional<JsonField> present(const JsonField& object, std::string_view key) {
  auto field = object.find(key);
  return field && field->is_null() ? std::nullopt : field;
}

bool is_true(const JsonField& object, std::string_view key, bool otherwise) {
  const auto field = object.find(key);
  return field ? field->boolean() : otherwise;
}

/// The steps that a Sequence, and those within it, come to.
void flatten(const JsonField& step, std::string_view list, std::vector<JsonField>& steps) {
  if (step.at("type").text() != "Sequence") return steps.push_back(step);
  step.only_keys({"type", list});
  for (const JsonField& each : step.at(list).elements()) flatten(each, list, steps);
}

/// Fills a vocabulary from a tokenizer.json.
class JsonReader {
 public:
  explicit JsonReader(const JsonField& file) : file_(file) {}

  BpeVocabulary read() {
    check_file(file_);
    read_model(file_.at("model"));
    if (const auto normalizer = present(file_, "normalizer")) {
      normalizer->at("type").only("NFC");
      normalizer->only_keys({"type"});
      v_.compose = true;
    }
    read_pre_tokenizer(file_.at("pre_tokenizer"));
    read_added();
    if (const auto processor = present(file_, "post_processor")) read_processors(*processor);
    const JsonField decoder = file_.at("decoder");
    if (decoder.is_null()) decoder.fail("a ByteLevel");
    decoder.at("type").only("ByteLevel");
    return std::move(v_);
  }

 private:
  void read_model(const JsonField& model) {
    model.only_keys({"type", "dropout", "unk_token", "continuing_subword_prefix",
                     "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges", "vocab",
                     "merges"});
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (const auto text = present(model, key)) text->only("");
    }
    if (is_true(model, "byte_fallback", false)) model.at("byte_fallback").fail("false");
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
    std::set<std::string> bytes;
    for (Piece& piece : read_vocabulary(vocab, ids_)) {
      const auto id = static_cast<std::size_t>(piece.id);
      if (id >= 2 * vocab.value().size() + 4096)
        vocab.at(piece.text).fail("an id near the number of pieces");
      if (id >= v_.texts.size()) v_.texts.resize(id + 1);
      if (auto byte = bytes_of_piece(piece.text); byte && byte->size() == 1)
        bytes.insert(*std::move(byte));
      v_.texts[id] = std::move(piece.text);
      ++pieces_;
    }
    if (const auto unk = present(model, "unk_token"); unk && bytes.size() < 256)
      unk->fail("null, since the vocabulary lacks " + std::to_string(256 - bytes.size()) +
                " of the 256 bytes");
  }

  void read_pre_tokenizer(const JsonField& field) {
    std::vector<JsonField> steps;
    flatten(field, "pretokenizers", steps);
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
      return v_.compose ? compose(text, 0).text() : std::string(text);
    };
    v_.added = read_added_tokens(field, ids_, pieces_, normalize);
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
    std::vector<JsonField> steps;
    flatten(field, "processors", steps);
    bool is_around = false;  // whether something is put round the text
    for (const JsonField& step : steps) {
      const std::string& type = step.at("type").text();
      const bool puts = type == "TemplateProcessing" || type == "RobertaProcessing";
      if (puts && std::exchange(is_around, true)) step.at("type").fail("only one of its kind");
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
