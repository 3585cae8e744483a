// src/model/tokenizer.cc - text to token ids: the parts of a tokenizer, one after the other.
#include "regard/model/tokenizer.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <utility>

#include "model/json.h"
#include "model/tokenizer_json.h"
#include "model/unicode.h"

namespace regard::model {
namespace {

constexpr std::uint64_t kMaxFileBytes = 32 << 20;  // 500,000 pieces need half of it
// Text is normalised in chunks that begin with a blank, across which no step looks: memory stays
// small, and most chunks are ASCII, which is faster.
constexpr std::size_t kChunkBytes = 256;

// One text on its way to tokens.
class Encoder {
 public:
  Encoder(const TokenizerParts& parts, std::vector<Token>& tokens)
      : parts_(parts), tokens_(tokens) {}

  void add_special(const std::vector<Piece>& pieces) {
    for (const Piece& piece : pieces) tokens_.push_back({piece.id, piece.text, 0, 0, true, -1});
  }

  void add_text(std::string_view text) {
    for (const auto& part : parts_.raw_tokens.split(text)) {
      if (part.token != nullptr) {
        add_token(*part.token, {part.begin, part.end});
      } else {
        add_raw(text, part.begin, part.end);
      }
    }
  }

 private:
  void add_raw(std::string_view text, std::size_t begin, std::size_t end) {
    while (begin < end) {
      std::size_t stop = end;
      // Tokens of the normalised text may hold or strip blanks: then it has to be whole.
      if (parts_.normalized_tokens.empty()) {
        stop = std::min(end, text.find(' ', std::min(end, begin + kChunkBytes)));
      }
      add_normalized(parts_.normalizer.normalize(text.substr(begin, stop - begin), begin));
      begin = stop;
    }
  }

  void add_normalized(const NormalizedText& normalized) {
    for (const auto& part : parts_.normalized_tokens.split(normalized.text)) {
      if (part.token != nullptr) {
        add_token(*part.token, source(normalized, part.begin, part.end));
      } else {
        add_words(normalized, part.begin, part.end);
      }
    }
  }

  // BertPreTokenizer: words end at white space; punctuation is a word of its own.
  void add_words(const NormalizedText& normalized, std::size_t begin, std::size_t end) {
    std::size_t word = begin;
    for (std::size_t at = begin; at < end;) {
      const std::size_t here = at;
      const int flags = code_point_flags(next_code_point(normalized.text, at));
      if ((flags & (kWhitespace | kPunctuation)) == 0) continue;
      add_word(normalized, word, here);
      if ((flags & kWhitespace) == 0) add_word(normalized, here, at);
      word = at;
    }
    add_word(normalized, word, end);
  }

  void add_word(const NormalizedText& normalized, std::size_t begin, std::size_t end) {
    if (begin == end) return;
    word_parts_.clear();
    parts_.model.split(std::string_view(normalized.text).substr(begin, end - begin), word_parts_);
    for (const WordPart& part : word_parts_) {
      const ByteRange range = source(normalized, begin + part.begin, begin + part.end);
      tokens_.push_back({part.piece->id, part.piece->text, static_cast<std::int64_t>(range.begin),
                         static_cast<std::int64_t>(range.end), false, words_});
    }
    ++words_;
  }

  void add_token(const AddedToken& token, ByteRange range) {
    tokens_.push_back({token.id, token.content, static_cast<std::int64_t>(range.begin),
                       static_cast<std::int64_t>(range.end), token.special,
                       token.special ? -1 : words_});
    ++words_;  // special ones take a number as well
  }

  static ByteRange source(const NormalizedText& normalized, std::size_t begin, std::size_t end) {
    return {normalized.source[begin].begin, normalized.source[end - 1].end};
  }

  const TokenizerParts& parts_;
  std::vector<Token>& tokens_;
  std::vector<WordPart> word_parts_;
  std::int64_t words_ = 0;
};

void check_utf8(std::string_view text) {
  const auto bad = find_invalid_utf8(text);
  if (!bad) return;
  char byte[8];
  std::snprintf(byte, sizeof byte, "0x%02x", static_cast<unsigned char>(text[*bad]));
  throw std::invalid_argument("text: byte " + std::to_string(*bad) + " (" + byte +
                              ") is not valid UTF-8");
}

}  // namespace

struct Tokenizer::Impl {
  TokenizerParts parts;
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::filesystem::path& tokenizer_json) {
  const std::string path = tokenizer_json.string();
  return parse(read_file(path, kMaxFileBytes), path);
}

Tokenizer Tokenizer::parse(std::string_view json, std::string_view name) {
  return Tokenizer(std::make_unique<Impl>(Impl{read_tokenizer_json(json, name)}));
}

std::vector<Token> Tokenizer::encode(std::string_view text) const {
  check_utf8(text);
  const TokenizerParts& parts = impl_->parts;
  std::vector<Token> tokens;
  tokens.reserve(text.size() / 4);
  Encoder encoder(parts, tokens);
  encoder.add_special(parts.before);
  encoder.add_text(text);
  encoder.add_special(parts.after);
  return tokens;
}

std::int64_t Tokenizer::vocab_size() const { return impl_->parts.vocab_size; }

}  // namespace regard::model
