// src/model/bpe_tokenizer.cc - byte-level BPE: text to tokens and back.
#include "model/bpe_tokenizer.h"

#include <algorithm>
#include <stdexcept>

#include "model/compose.h"
#include "model/json.h"
#include "model/unicode.h"

namespace regard::model {
namespace {

std::string piece_bytes(const std::string& text) {
  auto bytes = bytes_of_piece(text);
  return bytes ? std::move(*bytes) : text;  // an added token is written as it is
}

std::vector<std::string> all_pieces(const BpeVocabulary& vocabulary) {
  std::vector<std::string> pieces;
  for (const std::string& text : vocabulary.texts) pieces.push_back(piece_bytes(text));
  for (const AddedToken& token : vocabulary.added) {
    const auto id = static_cast<std::size_t>(token.id);
    if (id >= pieces.size()) pieces.resize(id + 1);
    pieces[id] = token.content;
  }
  return pieces;
}

/// Pieces that byte pairs may become: an added token is never merged into being.
std::vector<std::string> mergeable(const BpeVocabulary& vocabulary,
                                   std::vector<std::string> pieces) {
  for (const AddedToken& token : vocabulary.added)
    pieces[static_cast<std::size_t>(token.id)].clear();
  return pieces;
}

BytePairs make_model(const BpeVocabulary& vocabulary, const std::vector<std::string>& pieces,
                     const std::string& name) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (const auto& [left, right] : vocabulary.merges)
    merges.emplace_back(piece_bytes(left), piece_bytes(right));
  try {
    return {mergeable(vocabulary, pieces), merges, vocabulary.ignore_merges};
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(name + ": the vocabulary: " + error.what());
  }
}

/// Those that are looked for in the text as it is given, or in the normalised one.
AddedTokens make_added(const BpeVocabulary& vocabulary, bool normalized) {
  std::vector<AddedToken> tokens;
  std::vector<std::string> patterns;
  for (const AddedToken& token : vocabulary.added) {
    if (token.normalized != normalized) continue;
    tokens.push_back(token);
    patterns.push_back(normalized && vocabulary.compose ? compose(token.content, 0).text
                                                        : token.content);
  }
  return {tokens, patterns};
}

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

/// White space at the beginning of a token is not shown as its own, unless it is nothing else.
std::size_t skip_space(std::string_view text, std::size_t begin, std::size_t end) {
  std::size_t at = begin;
  while (at < end) {
    std::size_t next = at;
    if ((code_point_flags(next_code_point(text, next)) & kWhitespace) == 0) return at;
    at = next;
  }
  return begin;
}

}  // namespace

BpeTokenizer::BpeTokenizer(BpeVocabulary vocabulary, const std::string& name)
    : vocabulary_(std::move(vocabulary)),
      pieces_(all_pieces(vocabulary_)),
      special_(pieces_.size(), false),
      raw_tokens_(make_added(vocabulary_, false)),
      normalized_tokens_(make_added(vocabulary_, true)),
      model_(make_model(vocabulary_, pieces_, name)) {
  for (std::size_t id = 0; id < vocabulary_.texts.size(); ++id)
    ids_.try_emplace(vocabulary_.texts[id], static_cast<std::int32_t>(id));
  for (const AddedToken& token : vocabulary_.added) {
    ids_.insert_or_assign(token.content, token.id);
    special_[static_cast<std::size_t>(token.id)] = token.special;
  }
  const auto check = [&](std::int32_t id) {
    if (id < 0 || id >= vocab_size())
      throw std::runtime_error(name + ": token " + std::to_string(id) +
                               " is named, expected 0 to " + std::to_string(vocab_size() - 1));
  };
  std::ranges::for_each(vocabulary_.before, check);
  std::ranges::for_each(vocabulary_.after, check);
  for (const auto& id : {vocabulary_.bos, vocabulary_.eos}) {
    if (id) check(*id);
  }
}

std::string_view BpeTokenizer::bytes(std::int32_t id) const {
  if (id < 0 || id >= vocab_size()) return {};
  return pieces_[static_cast<std::size_t>(id)];
}

bool BpeTokenizer::is_special(std::int32_t id) const {
  return id >= 0 && id < vocab_size() && special_[static_cast<std::size_t>(id)];
}

std::string_view BpeTokenizer::piece(std::int32_t id) const {
  if (id < 0 || id >= vocab_size()) return {};
  const auto at = static_cast<std::size_t>(id);
  const bool named = at < vocabulary_.texts.size() && !vocabulary_.texts[at].empty();
  return named ? vocabulary_.texts[at] : pieces_[at];
}

std::optional<std::int32_t> BpeTokenizer::find(std::string_view text) const {
  const auto found = ids_.find(std::string(text));
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

Token BpeTokenizer::token_of(std::int32_t id, ByteRange range) const {
  return {.id = id,
          .text = std::string(piece(id)),
          .begin = static_cast<std::int64_t>(range.begin),
          .end = static_cast<std::int64_t>(range.end),
          .special = is_special(id)};
}

/// A text on its way to tokens: what is between the special tokens that stand in it.
class BpeTokenizer::Encoder {
 public:
  Encoder(const BpeTokenizer& tokenizer, std::string_view text, std::vector<Token>& tokens)
      : t_(tokenizer), text_(text), tokens_(tokens) {}

  void encode(bool parse_special) {
    parse_special_ = parse_special;
    for (const auto& part : split(t_.raw_tokens_, text_)) {
      if (part.token != nullptr) {
        add_token(*part.token, {part.begin, part.end});
      } else {
        add_normalized(part.begin, part.end);
      }
    }
  }

 private:
  std::vector<AddedTokens::Part> split(const AddedTokens& added, std::string_view text) const {
    if (parse_special_) return added.split(text);
    if (text.empty()) return {};
    return {{0, text.size(), nullptr}};
  }

  void add_normalized(std::size_t begin, std::size_t end) {
    const std::string_view given = text_.substr(begin, end - begin);
    const bool stays = !t_.vocabulary_.compose || is_composed(given);
    const NormalizedText composed = stays ? NormalizedText() : compose(given, begin);
    const std::string_view text = stays ? given : std::string_view(composed.text);
    const auto source = [&](std::size_t from, std::size_t to) -> ByteRange {
      if (stays) return {begin + from, begin + to};
      return {composed.source[from].begin, composed.source[to - 1].end};
    };
    for (const auto& part : split(t_.normalized_tokens_, text)) {
      if (part.token != nullptr) {
        add_token(*part.token, source(part.begin, part.end));
      } else {
        add_words(text, part.begin, part.end, source);
      }
    }
  }

  /// The words of text[begin, end), which comes from where `source` says.
  template <class Source>
  void add_words(std::string_view text, std::size_t begin, std::size_t end, const Source& source) {
    std::string with_space;
    std::string_view part = text.substr(begin, end - begin);
    std::size_t before = 0;  // bytes of `part` that are not of the text
    if (t_.vocabulary_.add_prefix_space && part.front() != ' ') {
      with_space.append(" ").append(part);
      part = with_space;
      before = 1;
    }
    t_.vocabulary_.pattern.for_words(part, [&](std::size_t first, std::size_t last) {
      parts_.clear();
      t_.model_.split(part.substr(first, last - first), parts_);
      for (const BytePairs::Part& piece : parts_) {
        std::size_t from = begin + std::max(first, before) - before;
        const std::size_t piece_end = first + piece.size;
        // The blank before the text has the place of the first character.
        std::size_t to = begin + std::max(piece_end - before, std::size_t{1});
        first = piece_end;
        if (piece.id < 0) continue;  // left out, as `tokenizers` does
        while (from > begin && is_continuation(text[from])) --from;  // whole code points
        while (to < end && is_continuation(text[to])) ++to;
        const ByteRange range = source(skip_space(text, from, to), to);
        tokens_.push_back(t_.token_of(piece.id, range));
        tokens_.back().word = words_;
      }
      ++words_;
    });
  }

  void add_token(const AddedToken& token, ByteRange range) {
    tokens_.push_back(t_.token_of(token.id, range));
    if (!token.special) tokens_.back().word = words_;
    ++words_;
  }

  const BpeTokenizer& t_;
  std::string_view text_;
  std::vector<Token>& tokens_;
  bool parse_special_ = true;
  std::vector<BytePairs::Part> parts_;
  std::int64_t words_ = 0;
};

std::vector<Token> BpeTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<Token> tokens;
  const auto add_ids = [&](const std::vector<std::int32_t>& ids) {
    for (const std::int32_t id : ids) {
      tokens.push_back(token_of(id, {}));
      tokens.back().special = true;
    }
  };
  if (options.add_special) add_ids(vocabulary_.before);
  Encoder(*this, text, tokens).encode(options.parse_special);
  if (options.add_special) add_ids(vocabulary_.after);
  return tokens;
}

}  // namespace regard::model
