// src/model/bpe_tokenizer.cc - byte pair encoding: text to tokens and back.
#include "model/bpe_tokenizer.h"

#include <algorithm>
#include <stdexcept>
#include <unordered_set>

#include "model/json.h"
#include "model/unicode.h"

namespace regard::model {
namespace {

template <class Visit>
void for_added(const BpeVocabulary& vocabulary, const Visit& visit) {
  std::ranges::for_each(vocabulary.added.raw.tokens(), visit);
  std::ranges::for_each(vocabulary.added.normalized.tokens(), visit);
}

std::vector<std::string> all_pieces(const BpeVocabulary& vocabulary) {
  // `tokenizers` reads every token as bytes if it can, else as it is written.
  const auto piece = [&](const std::string& text) {
    if (vocabulary.sentencepiece) return sentencepiece_bytes(text);
    return bytes_of_piece(text).value_or(text);
  };
  std::vector<std::string> pieces;
  for (const std::string& text : vocabulary.texts) pieces.push_back(piece(text));
  const auto& sentencepiece = vocabulary.sentencepiece;
  const auto added_piece = [&](const AddedToken& token) {
    // llama.cpp leaves them as they are; `tokenizers` knows them as they are looked for.
    if (sentencepiece && !sentencepiece->scores.empty()) return token.content;
    const bool changes = sentencepiece && token.normalized;
    return piece(changes ? sentencepiece->normalized(token.content) : token.content);
  };
  for_added(vocabulary, [&](const AddedToken& token) {
    const auto id = static_cast<std::size_t>(token.id);
    if (id >= pieces.size()) pieces.resize(id + 1);
    pieces[id] = added_piece(token);
  });
  return pieces;
}

/// Pieces that pairs may become: a special token is never merged into being. One that is a byte's
/// stays: it is what a byte falls back to.
std::vector<std::string> mergeable(const BpeVocabulary& vocabulary) {
  std::vector<std::string> pieces;
  for (const std::string& text : vocabulary.texts)
    pieces.push_back(vocabulary.sentencepiece ? text : bytes_of_piece(text).value_or(""));
  for_added(vocabulary, [&](const AddedToken& token) {
    const auto id = static_cast<std::size_t>(token.id);
    const bool is_byte = vocabulary.sentencepiece && byte_of_token(token.content);
    if (token.special && !is_byte && id < pieces.size() && pieces[id].size() > 1)
      pieces[id].clear();
  });
  return pieces;
}

std::string merge_part(const std::string& text) {
  if (auto bytes = bytes_of_piece(text)) return *std::move(bytes);
  throw std::invalid_argument(in_quotes(text) +
                              " is no token, expected every part of a merge to be one");
}

BytePairs::Merges byte_merges(const BpeVocabulary& vocabulary) {
  BytePairs::Merges merges;
  for (const auto& [left, right] : vocabulary.merges)
    merges.emplace_back(merge_part(left), merge_part(right));
  return merges;
}

/// But for those of special tokens.
BytePairs::Merges character_merges(const BpeVocabulary& vocabulary) {
  std::unordered_set<std::string> special;
  for_added(vocabulary, [&](const AddedToken& token) {
    if (token.special) special.insert(token.content);
  });
  BytePairs::Merges merges;
  for (const auto& [left, right] : vocabulary.merges) {
    if (!special.contains(left) && !special.contains(right) && !special.contains(left + right))
      merges.emplace_back(left, right);
  }
  return merges;
}

std::variant<BytePairs, ScoredPieces> make_model(const BpeVocabulary& vocabulary,
                                                 const std::string& name) {
  const auto& sentencepiece = vocabulary.sentencepiece;
  PairOptions options{.ignore_merges = vocabulary.ignore_merges};
  try {
    if (!sentencepiece) return BytePairs(mergeable(vocabulary), byte_merges(vocabulary), options);
    if (!sentencepiece->scores.empty())
      return ScoredPieces(mergeable(vocabulary), sentencepiece->scores);
    options.characters = true;
    options.byte_fallback = sentencepiece->byte_fallback;
    options.unk_id = sentencepiece->unk_id;
    options.fuse_unk = sentencepiece->fuse_unk;
    return BytePairs(mergeable(vocabulary), character_merges(vocabulary), options);
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(name + ": the vocabulary: " + error.what());
  }
}

/// How many of the code points from one end of a token on are blanks.
template <class Step>
std::size_t count_blanks(std::string_view text, std::size_t at, std::size_t stop,
                         const Step& step) {
  constexpr char32_t kBlank = 0x120;  // as which the vocabulary writes it
  std::size_t count = 0;
  for (; at != stop; ++count) {
    const char32_t c = step(text, at);
    if (c != kBlank && (code_point_flags(c) & kWhitespace) == 0) break;
  }
  return count;
}

/// trim_offsets of ByteLevel's post-processor, for a token that `shown` is the text of.
ByteRange without_blanks(std::string_view given, ByteRange source, std::string_view shown,
                         bool keep_first) {
  auto leading = count_blanks(shown, 0, shown.size(), next_code_point);
  auto trailing = count_blanks(shown, shown.size(), 0, previous_code_point);
  if (leading == 1 && keep_first) leading = 0;
  for (; leading > 0 && source.begin < source.end; --leading) next_code_point(given, source.begin);
  for (; trailing > 0 && source.begin < source.end; --trailing)
    previous_code_point(given, source.end);
  return source;
}

}  // namespace

BpeTokenizer::BpeTokenizer(BpeVocabulary vocabulary, const std::string& name)
    : vocabulary_(std::move(vocabulary)),
      pieces_(all_pieces(vocabulary_)),
      special_(pieces_.size(), false),
      model_(make_model(vocabulary_, name)) {
  for (std::size_t id = 0; id < vocabulary_.texts.size(); ++id)
    ids_.try_emplace(vocabulary_.texts[id], static_cast<std::int32_t>(id));
  for_added(vocabulary_, [&](const AddedToken& token) {
    ids_.insert_or_assign(token.content, token.id);
    special_[static_cast<std::size_t>(token.id)] = token.special;
  });
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

Token BpeTokenizer::token_of(std::int32_t id, ByteRange source) const {
  return {id,
          std::string(piece(id)),
          static_cast<std::int64_t>(source.begin),
          static_cast<std::int64_t>(source.end),
          is_special(id),
          -1};
}

void BpeTokenizer::add(std::int32_t id, ByteRange source, std::optional<std::string_view> shown,
                       Encoding& encoding) const {
  Token token = token_of(id, source);
  if (vocabulary_.trim_offsets) {
    const bool is_first = encoding.tokens.empty() || source.begin == 0;
    source = without_blanks(encoding.given, source, shown.value_or(token.text),
                            is_first && vocabulary_.keep_first_blank);
    token.begin = static_cast<std::int64_t>(source.begin);
    token.end = static_cast<std::int64_t>(source.end);
  }
  token.word = encoding.words;
  encoding.tokens.push_back(std::move(token));
}

void BpeTokenizer::add_token(const AddedToken& token, ByteRange source, Encoding& encoding) const {
  // To be trimmed as it is written in the text, with the white space that it took.
  add(token.id, source, encoding.given.substr(source.begin, source.end - source.begin), encoding);
  if (token.special) encoding.tokens.back().word = -1;
  ++encoding.words;
}

void BpeTokenizer::add_words(const AlignedText& text, std::size_t begin, std::size_t end,
                             Encoding& encoding) const {
  std::string with_blank;
  std::string_view part = std::string_view(text.text()).substr(begin, end - begin);
  std::size_t added = 0;  // bytes at the beginning of `part` that the text does not have
  if (vocabulary_.add_prefix_space && part.front() != ' ') {
    with_blank.append(" ").append(part);
    part = with_blank;
    added = 1;
  }
  // The added blank stands for the character after it.
  const auto place = [&](std::size_t at) { return begin + std::max(at, added) - added; };
  std::vector<WordToken> pieces;
  vocabulary_.pattern.for_words(part, [&](std::size_t first, std::size_t last) {
    pieces.clear();
    split(part.substr(first, last - first), pieces);
    for (const auto& [id, size] : pieces) {
      const std::size_t from = first;
      first += size;
      if (id < 0) continue;  // left out, as `tokenizers` does
      add(id, text.source(place(from), place(first - 1) + 1), std::nullopt, encoding);
    }
    ++encoding.words;
  });
}

/// Of SentencePiece, which merges all of a part: it has no words, so they are those that GPT-2's
/// pattern cuts the part into.
void BpeTokenizer::add_with_blanks(const AlignedText& text, std::size_t begin, std::size_t end,
                                   Encoding& encoding) const {
  const ByteRange all = text.source(begin, end);
  std::vector<std::size_t> word_ends;
  WordPattern{}.for_words(encoding.given.substr(all.begin, all.end - all.begin),
                          [&](std::size_t, std::size_t last) { word_ends.push_back(last); });
  std::vector<WordToken> pieces;
  split(std::string_view(text.text()).substr(begin, end - begin), pieces);
  std::size_t word = 0;
  for (const auto& [id, size] : pieces) {
    const ByteRange source = text.source(begin, begin + size);
    begin += size;
    while (all.begin + word_ends[word] <= source.begin) ++word;
    add(id, source, std::nullopt, encoding);
    encoding.tokens.back().special = false;  // <unk> in the place of text is none
    encoding.tokens.back().word = encoding.words + static_cast<std::int64_t>(word);
  }
  encoding.words += std::ssize(word_ends);
}

void BpeTokenizer::add_part(std::string_view part, std::size_t offset, Encoding& encoding) const {
  const auto& sentencepiece = vocabulary_.sentencepiece;
  const auto blanks_written = [&](std::string_view of, std::size_t at) {
    return sentencepiece->written(of, at, encoding.options.at_begin);
  };
  AlignedText text(offset);
  if (vocabulary_.compose) {
    text = compose(part, offset);
  } else if (sentencepiece && sentencepiece->normalizes) {
    text = blanks_written(part, offset);
  } else {
    text.append(part);
  }
  for (const auto& [begin, end, token] :
       vocabulary_.added.normalized.split(text.text(), encoding.options.parse_special)) {
    if (token != nullptr) {
      add_token(*token, text.source(begin, end), encoding);
    } else if (!sentencepiece) {
      add_words(text, begin, end, encoding);
    } else if (sentencepiece->normalizes) {
      add_with_blanks(text, begin, end, encoding);
    } else {
      const AlignedText written = blanks_written(part.substr(begin, end - begin), offset + begin);
      add_with_blanks(written, 0, written.text().size(), encoding);
    }
  }
}

void BpeTokenizer::split(std::string_view word, std::vector<WordToken>& tokens) const {
  std::visit([&](const auto& model) { model.split(word, tokens); }, model_);
}

std::vector<Token> BpeTokenizer::encode(std::string_view given,
                                        const EncodeOptions& options) const {
  Encoding encoding{given, options, {}, 0};
  for (const auto& [begin, end, token] :
       vocabulary_.added.raw.split(given, options.parse_special)) {
    if (token == nullptr) {
      add_part(given.substr(begin, end - begin), begin, encoding);
    } else {
      add_token(*token, {begin, end}, encoding);
    }
  }
  std::vector<Token>& tokens = encoding.tokens;
  if (!options.add_special) return std::move(tokens);
  const auto insert = [&](bool at_end, const std::vector<std::int32_t>& ids) {
    std::vector<Token> more;
    for (const std::int32_t id : ids) {
      more.push_back(token_of(id, {}));
      more.back().special = true;
    }
    tokens.insert(at_end ? tokens.end() : tokens.begin(), more.begin(), more.end());
  };
  insert(false, vocabulary_.before);
  insert(true, vocabulary_.after);
  return std::move(tokens);
}

}  // namespace regard::model
