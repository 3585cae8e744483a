// include/regard/model/tokenizer.h - text to token ids, as tokenizer.json says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace regard::model {

/// One token. begin and end are bytes of the text as it was given, half-open, on the boundaries of
/// code points and ascending from token to token: the offsets of `tokenizers`. Special tokens that
/// the post-processor adds have 0, 0. Two tokens may share bytes (ligatures, Hangul), some bytes
/// may be of no token (marks that NFC joins to a letter, blanks under trim_offsets), and a blank
/// that is trimmed away is an empty range, of no order.
struct Token {
  std::int32_t id = 0;
  std::string text;  ///< the vocabulary's piece, "##s" included
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool special = false;  ///< [CLS], [SEP] and the like, added or written in the text
  /// Index of the pre-token it came from, ascending; -1 for special tokens. As `tokenizers` counts
  /// them: a special token that the text spells out takes a number too, which then no token has.
  /// SentencePiece has no pre-tokens: the word of GPT-2's pattern that the token begins in.
  std::int64_t word = -1;
};

struct EncodeOptions {
  bool add_special = true;  ///< what the post-processor adds
  /// Special tokens such as <|im_end|> that the text spells out are those tokens, else text.
  bool parse_special = true;
  /// Nothing comes before the text: a tokenizer whose texts begin with a blank puts one
  /// (Metaspace's prepend_scheme "first").
  bool at_begin = true;
};

/// A tokenizer read from a Hugging Face tokenizer.json (WordPiece with a BERT normaliser,
/// pre-tokeniser and template post-processor, byte-level BPE with the patterns of GPT-2, Llama 3 or
/// Qwen2, or BPE as of SentencePiece with byte_fallback), or from the metadata of a GGUF file
/// (byte-level BPE, SentencePiece's). truncation and padding in the file are ignored. Immutable;
/// thread safe. Errors are std::runtime_error: one line with the path, the thing, what came and
/// what was wanted.
class Tokenizer {
 public:
  /// Reads tokenizer.json, or a file whose name ends in .gguf. Throws on JSON that is not what it
  /// must be, and names the first thing that this reader does not know (another model type,
  /// normaliser, ...).
  static Tokenizer load(const std::filesystem::path& path);
  /// The same from memory; `name` stands for the path in errors.
  static Tokenizer parse(std::string_view json, std::string_view name);

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// Tokens of `text` as PyPI's tokenizers 0.23.3 gives them without truncation and padding, and
  /// with a GGUF file as llama.cpp. Time and memory are linear in the text, n log n within a word
  /// of BPE (SentencePiece: all of it), whose tokens may begin and end inside of a code point:
  /// begin and end are then those of the code point. The options are for BPE; WordPiece is encoded
  /// as if all were true. Throws std::invalid_argument on invalid UTF-8, with the byte's place.
  std::vector<Token> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // Of BPE; with WordPiece these throw std::logic_error.
  /// The text that the ids stand for, special tokens left out; as of TextStream(drops_blank()).
  /// `tokenizers` differs in SentencePiece's bytes that are no UTF-8, U+FFFD for each of the tokens
  /// side by side, which a stream could not know.
  std::string decode(std::span<const std::int32_t> ids) const;
  /// Whether one blank at the beginning of a text's tokens is none of the text: SentencePiece puts
  /// it there.
  bool drops_blank() const;
  /// The bytes of one token; "" for an id that has none.
  std::string_view bytes(std::int32_t id) const;
  bool is_special(std::int32_t id) const;
  /// How the vocabulary writes a token; "" for an id that has none.
  std::string_view piece(std::int32_t id) const;
  /// The id of a token as the vocabulary writes it.
  std::optional<std::int32_t> find(std::string_view piece) const;
  std::optional<std::int32_t> bos() const;
  std::optional<std::int32_t> eos() const;

  /// Number of ids (largest id + 1), for checking against a model's vocabulary.
  std::int64_t vocab_size() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Bytes that come in pieces as text that is UTF-8 at any time.
class TextStream {
 public:
  /// drop_blank: one blank at the very beginning is left out.
  explicit TextStream(bool drop_blank = false) : drop_blank_(drop_blank) {}

  /// What is complete now. U+FFFD for each byte that begins no code point and for each longest
  /// beginning of one that breaks off, as `tokenizers` does.
  std::string push(std::string_view bytes);
  /// What is left over, as U+FFFD.
  std::string finish();

 private:
  std::string pending_;
  bool drop_blank_;
};

}  // namespace regard::model
