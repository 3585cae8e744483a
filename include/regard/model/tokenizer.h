// include/regard/model/tokenizer.h - text to token ids, as tokenizer.json says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace regard::model {

/// One token. begin and end are bytes of the text, half-open, on the boundaries of code points and
/// ascending from token to token; special tokens that the post-processor adds have 0, 0. Two tokens
/// may share bytes (ligatures, Hangul).
struct Token {
  std::int32_t id = 0;
  std::string text;  ///< the vocabulary's piece, "##s" included
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool special = false;  ///< [CLS], [SEP] and the like, added or written in the text
  /// Index of the pre-token it came from, ascending; -1 for special tokens. As `tokenizers` counts
  /// them: a special token that the text spells out takes a number too, which then no token has.
  std::int64_t word = -1;
};

/// A tokenizer read from a Hugging Face tokenizer.json (WordPiece with a BERT normaliser,
/// pre-tokeniser and template post-processor). truncation and padding in the file are ignored.
/// Immutable; thread safe. Errors are std::runtime_error: one line with the path, the thing, what
/// came and what was wanted.
class Tokenizer {
 public:
  /// Reads the file. Throws on JSON that is not what it must be, and names the first thing that
  /// this reader does not know (another model type, normaliser, ...).
  static Tokenizer load(const std::filesystem::path& tokenizer_json);
  /// The same from memory; `name` stands for the path in errors.
  static Tokenizer parse(std::string_view json, std::string_view name);

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// Tokens of `text`, special tokens added, as PyPI's tokenizers 0.23.3 gives them without
  /// truncation and padding. Time and memory are linear in the text. Throws std::invalid_argument
  /// on invalid UTF-8, with the byte's place.
  std::vector<Token> encode(std::string_view text) const;

  /// Number of ids (largest id + 1), for checking against a model's vocabulary.
  std::int64_t vocab_size() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace regard::model
