// src/model/tokenizer.cc - text to token ids: the parts of a tokenizer, one after the other.
#include "regard/model/tokenizer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <stdexcept>
#include <utility>
#include <variant>

#include "model/bpe_tokenizer.h"
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
    for (const auto& part : parts_.added.raw.split(text)) {
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
      if (parts_.added.normalized.empty()) {
        stop = std::min(end, text.find(' ', std::min(end, begin + kChunkBytes)));
      }
      add_normalized(parts_.normalizer.normalize(text.substr(begin, stop - begin), begin));
      begin = stop;
    }
  }

  void add_normalized(const NormalizedText& normalized) {
    for (const auto& part : parts_.added.normalized.split(normalized.text)) {
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

/// Old files of WordPiece have no type here.
bool is_bpe(const JsonField& file) {
  const auto type = file.at("model").find("type");
  if (type) return type->value().is_string() && type->text() == "BPE";
  return file.at("model").find("merges").has_value();
}

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
  std::variant<TokenizerParts, BpeTokenizer> kind;

  const BpeTokenizer& bpe() const {
    const auto* tokenizer = std::get_if<BpeTokenizer>(&kind);
    if (tokenizer == nullptr)
      throw std::logic_error("tokenizer: is WordPiece, which cannot decode");
    return *tokenizer;
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  if (path.extension() != ".gguf")
    return parse(read_file(path.string(), kMaxFileBytes), path.string());
  const GgufFile file(path);
  return Tokenizer(
      std::make_unique<Impl>(Impl{BpeTokenizer(read_gguf_vocabulary(file), path.string())}));
}

Tokenizer Tokenizer::parse(std::string_view json, std::string_view name) {
  const Json root = parse_json(json, name);
  const JsonField file(name, root);
  if (is_bpe(file)) {
    return Tokenizer(
        std::make_unique<Impl>(Impl{BpeTokenizer(read_bpe_json(file), std::string(name))}));
  }
  return Tokenizer(std::make_unique<Impl>(Impl{read_tokenizer_json(file)}));
}

std::vector<Token> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  check_utf8(text);
  if (const auto* bpe = std::get_if<BpeTokenizer>(&impl_->kind)) return bpe->encode(text, options);
  const auto& parts = std::get<TokenizerParts>(impl_->kind);
  std::vector<Token> tokens;
  tokens.reserve(text.size() / 4);
  Encoder encoder(parts, tokens);
  encoder.add_special(parts.around.before);
  encoder.add_text(text);
  encoder.add_special(parts.around.after);
  return tokens;
}

std::int64_t Tokenizer::vocab_size() const {
  const auto* parts = std::get_if<TokenizerParts>(&impl_->kind);
  return parts != nullptr ? parts->vocab_size : impl_->bpe().vocab_size();
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  const BpeTokenizer& bpe = impl_->bpe();
  std::string bytes;
  for (const std::int32_t id : ids) {
    if (!bpe.is_special(id)) bytes += bpe.bytes(id);
  }
  TextStream stream(bpe.drops_blank());
  std::string text = stream.push(bytes);
  return text += stream.finish();
}

std::string_view Tokenizer::bytes(std::int32_t id) const { return impl_->bpe().bytes(id); }
bool Tokenizer::is_special(std::int32_t id) const { return impl_->bpe().is_special(id); }
std::string_view Tokenizer::piece(std::int32_t id) const { return impl_->bpe().piece(id); }
std::optional<std::int32_t> Tokenizer::find(std::string_view piece) const {
  return impl_->bpe().find(piece);
}
bool Tokenizer::drops_blank() const { return impl_->bpe().drops_blank(); }
std::optional<std::int32_t> Tokenizer::bos() const { return impl_->bpe().bos(); }
std::optional<std::int32_t> Tokenizer::eos() const { return impl_->bpe().eos(); }

std::string TextStream::push(std::string_view bytes) {
  if (drop_blank_ && !bytes.empty()) {
    drop_blank_ = false;
    if (bytes.front() == ' ') bytes.remove_prefix(1);
  }
  pending_ += bytes;
  std::string text;
  const std::size_t open = append_lossy(text, pending_);
  pending_.erase(0, pending_.size() - open);
  return text;
}

std::string TextStream::finish() {
  std::string text;
  if (!pending_.empty()) append_utf8(text, 0xFFFD);
  pending_.clear();
  return text;
}

}  // namespace regard::model
