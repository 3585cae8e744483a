// src/model/bpe_tokenizer.h - byte pair encoding, byte-level or SentencePiece's: a vocabulary from
// GGUF or tokenizer.json, text to tokens and back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "model/byte_pairs.h"
#include "model/json_field.h"
#include "model/scored_pieces.h"
#include "model/sentencepiece.h"
#include "model/tokenizer_fields.h"
#include "model/unicode_compose.h"
#include "model/word_pattern.h"
#include "regard/model/gguf.h"
#include "regard/model/tokenizer.h"

namespace regard::model {

/// What a file says, before it is believed.
struct BpeVocabulary {
  std::vector<std::string> texts;  ///< by id, as the vocabulary writes them; "" where there is none
  std::vector<std::pair<std::string, std::string>> merges;  ///< written likewise
  AddedTokenSets added;
  std::optional<SentencePiece> sentencepiece;  ///< none: byte-level
  WordPattern pattern;
  bool add_prefix_space = false;
  bool compose = false;  ///< text is brought into NFC first
  bool ignore_merges = false;
  bool trim_offsets = false;      ///< blanks at the ends of a token are not shown as its own
  bool keep_first_blank = false;  ///< but for a single one of a token at the beginning
  std::vector<std::int32_t> before, after;  ///< put round a text
  std::optional<std::int32_t> bos, eos;
};

/// From metadata whose tokenizer.ggml.model is "gpt2" or "llama". Throws std::runtime_error.
BpeVocabulary read_gguf_vocabulary(const GgufFile& file);
/// From a tokenizer.json whose model is BPE. Throws std::runtime_error.
BpeVocabulary read_bpe_json(const JsonField& file);
/// "LEFT RIGHT"; nothing if it is not that.
std::optional<std::pair<std::string, std::string>> split_merge(const std::string& text);

class BpeTokenizer {
 public:
  /// `name` stands for the file in errors (std::runtime_error).
  BpeTokenizer(BpeVocabulary vocabulary, const std::string& name);

  std::vector<Token> encode(std::string_view given, const EncodeOptions& options) const;
  std::int64_t vocab_size() const { return static_cast<std::int64_t>(pieces_.size()); }
  /// The bytes that a token stands for; "" for an id that has none.
  std::string_view bytes(std::int32_t id) const;
  bool is_special(std::int32_t id) const;
  std::string_view piece(std::int32_t id) const;
  std::optional<std::int32_t> find(std::string_view text) const;
  std::optional<std::int32_t> bos() const { return vocabulary_.bos; }
  std::optional<std::int32_t> eos() const { return vocabulary_.eos; }
  /// Whether a text that was decoded begins without the first blank of its tokens.
  bool drops_blank() const {
    return vocabulary_.sentencepiece && vocabulary_.sentencepiece->drops_blank;
  }

 private:
  /// The tokens of a text so far, and how many words they are of.
  struct Encoding {
    std::string_view given;
    const EncodeOptions& options;
    std::vector<Token> tokens;
    std::int64_t words;
  };
  void add_part(std::string_view part, std::size_t offset, Encoding& encoding) const;
  void add_with_blanks(const AlignedText& text, std::size_t begin, std::size_t end,
                       Encoding& encoding) const;
  void split(std::string_view word, std::vector<WordToken>& tokens) const;
  void add_words(const AlignedText& text, std::size_t begin, std::size_t end,
                 Encoding& encoding) const;
  void add(std::int32_t id, ByteRange source, std::optional<std::string_view> shown,
           Encoding& encoding) const;
  void add_token(const AddedToken& token, ByteRange source, Encoding& encoding) const;
  Token token_of(std::int32_t id, ByteRange source) const;

  BpeVocabulary vocabulary_;
  std::vector<std::string> pieces_;                    // by id: bytes
  std::unordered_map<std::string, std::int32_t> ids_;  // by text
  std::vector<bool> special_;
  std::variant<BytePairs, ScoredPieces> model_;
};

}  // namespace regard::model
