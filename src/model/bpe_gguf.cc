// src/model/bpe_gguf.cc - vocabularies of byte pair encoding from GGUF's metadata.
#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

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

std::optional<std::int32_t> token_id(const GgufFile& file, std::string_view key,
                                     std::size_t vocabulary, std::int64_t otherwise) {
  const std::int64_t id =
      file.integer(key, -1, static_cast<std::int64_t>(vocabulary) - 1, otherwise);
  return id < 0 ? std::nullopt : std::optional(static_cast<std::int32_t>(id));
}

bool flag(const GgufFile& file, std::string_view key, bool otherwise) {
  const bool* value = file.find<bool>(key);
  return value != nullptr ? *value : otherwise;
}

void check_length(const GgufFile& file, const std::string& key, std::size_t came,
                  std::size_t wanted) {
  if (came == wanted) return;
  file.fail(in_quotes(key) + " has " + std::to_string(came) + " entries, expected " +
            std::to_string(wanted) + ", like tokens");
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

/// tokenizer.ggml.token_type
enum TokenType : std::int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kByte = 6,  // 5: unused
};

const std::vector<std::int64_t>* find_types(const GgufFile& file, std::size_t tokens) {
  const auto* types = file.find<std::vector<std::int64_t>>("tokenizer.ggml.token_type");
  if (types != nullptr) check_length(file, "tokenizer.ggml.token_type", types->size(), tokens);
  return types;
}

/// Tokens that are looked for in text.
AddedTokens added_tokens(const std::vector<std::string>& texts,
                         const std::vector<std::int64_t>& types, bool with_unknown) {
  std::vector<AddedToken> tokens;
  std::vector<std::string> patterns;
  for (std::size_t id = 0; id < types.size(); ++id) {
    const bool special = types[id] == kControl || (types[id] == kUnknown && with_unknown);
    if ((!special && types[id] != kUserDefined) || texts[id].empty()) continue;
    AddedToken token;
    token.id = static_cast<std::int32_t>(id);
    token.content = texts[id];
    token.special = special;
    tokens.push_back(std::move(token));
    patterns.push_back(texts[id]);
  }
  return {std::move(tokens), patterns};
}

/// What a file that does not say more is taken to mean, as by llama.cpp.
struct Defaults {
  std::int64_t bos = -1, eos = -1;
  bool add_bos = false;
};

void read_ends(const GgufFile& file, const Defaults& otherwise, BpeVocabulary& v) {
  v.bos = token_id(file, "tokenizer.ggml.bos_token_id", v.texts.size(), otherwise.bos);
  v.eos = token_id(file, "tokenizer.ggml.eos_token_id", v.texts.size(), otherwise.eos);
  if (flag(file, "tokenizer.ggml.add_bos_token", otherwise.add_bos) && v.bos)
    v.before.push_back(*v.bos);
  if (flag(file, "tokenizer.ggml.add_eos_token", false) && v.eos) v.after.push_back(*v.eos);
}

BpeVocabulary read_byte_level(const GgufFile& file) {
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
  if (const auto* types = find_types(file, v.texts.size()))
    v.added.raw = added_tokens(v.texts, *types, false);
  read_ends(file, {.add_bos = named.add_bos}, v);
  return v;
}

void check_pieces(const GgufFile& file, const std::vector<std::string>& texts,
                  const std::vector<std::int64_t>& types) {
  std::unordered_map<std::string_view, std::size_t> ids;
  for (std::size_t id = 0; id < texts.size(); ++id) {
    if (types[id] < kNormal || types[id] > kByte)
      file.fail("token " + std::to_string(id) + " is of type " + std::to_string(types[id]) +
                ", expected 1 to 6");
    if ((types[id] == kByte) != byte_of_token(texts[id]).has_value())
      file.fail("token " + std::to_string(id) + ", of type " + std::to_string(types[id]) + ", is " +
                in_quotes(texts[id]) + ", expected type 6 for \"<0x00>\" to \"<0xFF>\" alone");
    if (texts[id].empty()) continue;  // no text becomes it
    const auto [first, is_new] = ids.emplace(texts[id], id);
    if (!is_new)
      file.fail("tokens " + std::to_string(first->second) + " and " + std::to_string(id) +
                " are both " + in_quotes(texts[id]) + ", expected each once");
  }
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = byte_token(static_cast<unsigned char>(byte));
    if (!ids.contains(text))
      file.fail("\"tokenizer.ggml.tokens\" lacks " + in_quotes(text) +
                ", expected a token for each of the 256 bytes");
  }
}

BpeVocabulary read_sentencepiece(const GgufFile& file) {
  BpeVocabulary v;
  v.texts = read_tokens(file);
  SentencePiece& sentencepiece = v.sentencepiece.emplace();
  sentencepiece.scores = file.at<std::vector<double>>("tokenizer.ggml.scores");
  check_length(file, "tokenizer.ggml.scores", sentencepiece.scores.size(), v.texts.size());
  for (std::size_t id = 0; id < v.texts.size(); ++id) {
    if (!std::isfinite(sentencepiece.scores[id]))
      file.fail("the score of token " + std::to_string(id) + " is " +
                std::to_string(sentencepiece.scores[id]) + ", expected a finite number");
  }
  const auto* types = find_types(file, v.texts.size());
  if (types == nullptr) file.fail("\"tokenizer.ggml.token_type\" is missing");
  check_pieces(file, v.texts, *types);
  v.added.raw = added_tokens(v.texts, *types, true);
  token_id(file, "tokenizer.ggml.unknown_token_id", v.texts.size(), -1);
  if (flag(file, "tokenizer.ggml.add_space_prefix", true)) {
    sentencepiece.prefix = SentencePiece::Prefix::kEach;
    sentencepiece.drops_blank = true;
  }
  v.pattern = {WordPattern::Kind::kNone, false};
  read_ends(file, {.bos = 1, .eos = 2, .add_bos = true}, v);
  return v;
}

}  // namespace

BpeVocabulary read_gguf_vocabulary(const GgufFile& file) {
  const std::string& model = file.at<std::string>("tokenizer.ggml.model");
  if (model == "gpt2") return read_byte_level(file);
  if (model == "llama") return read_sentencepiece(file);
  file.fail("\"tokenizer.ggml.model\" is " + in_quotes(model) +
            ", expected \"gpt2\" (byte-level BPE) or \"llama\" (SentencePiece's BPE)");
}

}  // namespace regard::model
