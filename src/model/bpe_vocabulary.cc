// src/model/bpe_vocabulary.cc - byte-level BPE vocabularies, from GGUF's metadata and from
// tokenizer.json.
#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "model/bpe_tokenizer.h"
#include "model/json.h"

namespace regard::model {
namespace {

constexpr std::int64_t kMaxId = (1 << 24) - 1;
constexpr std::size_t kMaxPieceBytes = 1000;

/// llama.cpp's names of the patterns (tokenizer.ggml.pre), and what else it takes them to say.
struct NamedPattern {
  std::string_view name;
  WordPattern pattern;
  bool is_llama3 = false;  ///< words of the vocabulary are not merged; bos unless a file says no
};
constexpr std::array<NamedPattern, 8> kPatterns{{
    {"gpt-2", {WordPattern::Kind::kGpt2, false}},
    {"roberta-bpe", {WordPattern::Kind::kGpt2, false}},
    {"smollm", {WordPattern::Kind::kGpt2, true}},
    {"starcoder", {WordPattern::Kind::kGpt2, true}},
    {"refact", {WordPattern::Kind::kGpt2, true}},
    {"llama-bpe", {WordPattern::Kind::kLlama3, false}, true},
    {"llama3", {WordPattern::Kind::kLlama3, false}, true},
    {"qwen2", {WordPattern::Kind::kQwen2, false}},
}};

const NamedPattern& find_pattern(const GgufFile& file) {
  const std::string& name = file.at<std::string>("tokenizer.ggml.pre");
  const auto* found = std::ranges::find(kPatterns, name, &NamedPattern::name);
  if (found != kPatterns.end()) return *found;
  std::string known;
  for (const NamedPattern& each : kPatterns)
    known += (known.empty() ? "" : ", ") + std::string(each.name);
  file.fail("\"tokenizer.ggml.pre\" is " + in_quotes(name) + ", expected one of " + known);
}

std::pair<std::string, std::string> split_merge(const std::string& text) {
  const auto blank = text.find(' ', 1);
  if (blank == std::string::npos) return {text, ""};
  return {text.substr(0, blank), text.substr(blank + 1)};
}

std::optional<std::int32_t> token_id(const GgufFile& file, std::string_view key,
                                     std::size_t vocabulary) {
  const std::int64_t id = file.integer(key, -1, static_cast<std::int64_t>(vocabulary) - 1, -1);
  return id < 0 ? std::nullopt : std::optional(static_cast<std::int32_t>(id));
}

bool flag(const GgufFile& file, std::string_view key, bool otherwise = false) {
  const bool* value = file.find<bool>(key);
  return value != nullptr ? *value : otherwise;
}

void check_piece(const GgufFile& file, const std::string& piece) {
  if (piece.size() > kMaxPieceBytes)
    file.fail("a token has " + std::to_string(piece.size()) + " bytes, expected at most 1000");
}

}  // namespace

BpeVocabulary read_gguf_vocabulary(const GgufFile& file) {
  const std::string& model = file.at<std::string>("tokenizer.ggml.model");
  if (model != "gpt2")
    file.fail("\"tokenizer.ggml.model\" is " + in_quotes(model) +
              ", expected \"gpt2\" (byte-level BPE)");
  const NamedPattern& named = find_pattern(file);
  BpeVocabulary v;
  v.texts = file.at<std::vector<std::string>>("tokenizer.ggml.tokens");
  if (v.texts.empty() || v.texts.size() > static_cast<std::size_t>(kMaxId))
    file.fail("\"tokenizer.ggml.tokens\" has " + std::to_string(v.texts.size()) +
              " tokens, expected 1 to 2^24");
  v.pattern = named.pattern;
  v.ignore_merges = named.is_llama3;
  for (const std::string& merge : file.at<std::vector<std::string>>("tokenizer.ggml.merges"))
    v.merges.push_back(split_merge(merge));
  constexpr std::int64_t kControl = 3, kUserDefined = 4;
  if (const auto* types = file.find<std::vector<std::int64_t>>("tokenizer.ggml.token_type")) {
    if (types->size() != v.texts.size())
      file.fail("\"tokenizer.ggml.token_type\" has " + std::to_string(types->size()) +
                " entries, expected " + std::to_string(v.texts.size()) + ", like tokens");
    for (std::size_t id = 0; id < types->size(); ++id) {
      check_piece(file, v.texts[id]);
      if (((*types)[id] != kControl && (*types)[id] != kUserDefined) || v.texts[id].empty())
        continue;
      AddedToken token;
      token.id = static_cast<std::int32_t>(id);
      token.content = v.texts[id];
      token.special = (*types)[id] == kControl;
      v.added.push_back(std::move(token));
    }
  }
  v.bos = token_id(file, "tokenizer.ggml.bos_token_id", v.texts.size());
  v.eos = token_id(file, "tokenizer.ggml.eos_token_id", v.texts.size());
  v.add_prefix_space = flag(file, "tokenizer.ggml.add_space_prefix");
  if (flag(file, "tokenizer.ggml.add_bos_token", named.is_llama3) && v.bos)
    v.before.push_back(*v.bos);
  if (flag(file, "tokenizer.ggml.add_eos_token") && v.eos) v.after.push_back(*v.eos);
  return v;
}

namespace {

/// Fills a vocabulary from a tokenizer.json.
class JsonReader {
 public:
  explicit JsonReader(const JsonField& file) : file_(file) {}

  BpeVocabulary read() {
    read_model(file_.at("model"));
    if (const auto normalizer = present(file_, "normalizer")) {
      normalizer->at("type").only("NFC");
      v_.compose = true;
    }
    v_.pattern = {WordPattern::Kind::kNone, false};
    read_pre_tokenizer(file_.at("pre_tokenizer"));
    read_decoder(file_.at("decoder"));
    for (const JsonField& entry : file_.at("added_tokens").elements()) read_added(entry);
    if (const auto processor = present(file_, "post_processor")) read_processor(*processor);
    return std::move(v_);
  }

 private:
  static std::optional<JsonField> present(const JsonField& object, std::string_view key) {
    auto field = object.find(key);
    return field && field->is_null() ? std::nullopt : field;
  }
  static bool is_true(const JsonField& object, std::string_view key, bool otherwise) {
    const auto field = present(object, key);
    return field ? field->boolean() : otherwise;
  }
  static std::int32_t id_of(const JsonField& field) {
    return static_cast<std::int32_t>(field.integer(0, kMaxId));
  }

  void read_model(const JsonField& model) {
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (const auto text = present(model, key)) text->only("");
    }
    if (is_true(model, "byte_fallback", false)) model.at("byte_fallback").fail("false");
    if (present(model, "dropout")) model.at("dropout").fail("null");
    v_.ignore_merges = is_true(model, "ignore_merges", false);
    const JsonField vocab = model.at("vocab");
    for (const auto& [text, entry] : vocab.members()) {
      const auto id = static_cast<std::size_t>(id_of(entry));
      if (text.size() > kMaxPieceBytes)
        entry.say("is a piece of too many bytes, expected at most 1000");
      if (id >= 2 * vocab.value().size() + 4096) entry.fail("an id near the number of pieces");
      if (id >= v_.texts.size()) v_.texts.resize(id + 1);
      if (!v_.texts[id].empty()) entry.say("has an id that another piece has");
      v_.texts[id] = text;
    }
    for (const JsonField& merge : model.at("merges").elements()) {
      if (merge.value().is_string()) {
        v_.merges.push_back(split_merge(merge.text()));
        continue;
      }
      const auto pair = merge.elements();
      if (pair.size() != 2) merge.fail("two pieces");
      v_.merges.emplace_back(pair[0].text(), pair[1].text());
    }
  }

  /// The steps of a Sequence and of those within it, in order.
  static void flatten(const JsonField& step, const char* list, std::vector<JsonField>& steps) {
    if (step.at("type").text() != "Sequence") {
      steps.push_back(step);
      return;
    }
    for (const JsonField& each : step.at(list).elements()) flatten(each, list, steps);
  }

  /// Digits, if any; a Split, if any; ByteLevel, which alone may put a blank before the text, since
  /// after a split it would put one before every part.
  void read_pre_tokenizer(const JsonField& field) {
    std::vector<JsonField> steps;
    flatten(field, "pretokenizers", steps);
    std::size_t at = 0;
    const auto is = [&](const char* type) {
      return at < steps.size() && steps[at].at("type").text() == type;
    };
    if (is("Digits")) {
      const JsonField& step = steps[at++];
      if (!is_true(step, "individual_digits", false)) step.at("individual_digits").fail("true");
      v_.pattern.single_digits = true;
    }
    const bool splits = is("Split");
    if (splits) read_split(steps[at++]);
    if (!is("ByteLevel") || at + 1 != steps.size()) {
      const JsonField& wrong = at < steps.size() ? steps[is("ByteLevel") ? at + 1 : at] : field;
      wrong.at("type").fail(
          "\"Digits\", \"Split\" and \"ByteLevel\" in this order, the last one at the end");
    }
    v_.add_prefix_space = is_true(steps[at], "add_prefix_space", false);
    if (v_.add_prefix_space && at > 0)
      steps[at].at("add_prefix_space").fail("false after another step");
    if (!is_true(steps[at], "use_regex", true)) return;
    if (splits) steps[at].at("use_regex").fail("false after \"Split\"");
    v_.pattern.kind = WordPattern::Kind::kGpt2;
  }

  void read_split(const JsonField& step) {
    step.at("behavior").only("Isolated");
    if (is_true(step, "invert", false)) step.at("invert").fail("false");
    const JsonField regex = step.at("pattern").at("Regex");
    const auto kind = WordPattern::find(regex.text());
    if (!kind) regex.fail("the pattern of GPT-2, Llama 3 or Qwen2");
    v_.pattern.kind = *kind;
  }

  /// Tokens are bytes in disguise: another decoder would mean another vocabulary.
  static void read_decoder(const JsonField& field) {
    std::vector<JsonField> steps;
    flatten(field, "decoders", steps);
    if (steps.empty()) field.fail("\"ByteLevel\"");
    for (const JsonField& step : steps) step.at("type").only("ByteLevel");
  }

  void read_added(const JsonField& entry) {
    AddedToken token;
    token.id = id_of(entry.at("id"));
    token.content = entry.at("content").text();
    if (token.content.empty() || token.content.size() > kMaxPieceBytes)
      entry.at("content").fail("1 to 1000 bytes");
    if (static_cast<std::size_t>(token.id) >= 2 * v_.texts.size() + 4096)
      entry.at("id").fail("an id near the number of pieces");
    token.single_word = is_true(entry, "single_word", false);
    token.lstrip = is_true(entry, "lstrip", false);
    token.rstrip = is_true(entry, "rstrip", false);
    token.normalized = is_true(entry, "normalized", false);
    token.special = is_true(entry, "special", false);
    if (!added_.insert(token.content).second) entry.at("content").fail("each token once");
    v_.added.push_back(std::move(token));
  }

  void read_processor(const JsonField& field) {
    std::vector<JsonField> steps;
    flatten(field, "processors", steps);
    bool has_template = false;
    for (const JsonField& step : steps) {
      const JsonField type = step.at("type");
      if (type.text() == "ByteLevel") continue;
      if (std::exchange(has_template, true)) type.fail("\"ByteLevel\" beside one template");
      if (type.text() == "RobertaProcessing") {
        v_.before.push_back(id_of(step.at("cls").elements().at(1)));
        v_.after.push_back(id_of(step.at("sep").elements().at(1)));
      } else if (type.text() == "TemplateProcessing") {
        read_template(step);
      } else {
        type.fail(
            "\"ByteLevel\", \"TemplateProcessing\", \"RobertaProcessing\" or "
            "\"Sequence\"");
      }
    }
  }

  void read_template(const JsonField& processor) {
    std::vector<std::int32_t>* side = &v_.before;
    const JsonField single = processor.at("single");
    for (const JsonField& step : single.elements()) {
      if (const auto sequence = step.find("Sequence")) {
        sequence->at("id").only("A");
        if (std::exchange(side, &v_.after) == &v_.after) single.fail("the text once");
        continue;
      }
      const std::string& name = step.at("SpecialToken").at("id").text();
      for (const JsonField& id : processor.at("special_tokens").at(name).at("ids").elements())
        side->push_back(id_of(id));
    }
    if (side == &v_.before) single.fail("the text, \"Sequence\", among them");
  }

  const JsonField& file_;
  BpeVocabulary v_;
  std::set<std::string> added_;
};

}  // namespace

BpeVocabulary read_bpe_json(const JsonField& file) { return JsonReader(file).read(); }

}  // namespace regard::model
