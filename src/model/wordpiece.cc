// src/model/wordpiece.cc - WordPiece: a word to the vocabulary's pieces, longest first.
#include "model/wordpiece.h"

#include <stdexcept>
#include <utility>

#include "model/unicode.h"

namespace regard::model {
namespace {

PieceTable table_without(std::string_view prefix, const std::vector<Piece>& vocabulary) {
  std::vector<PieceTable::Entry> entries;
  entries.reserve(vocabulary.size());
  for (std::size_t i = 0; i < vocabulary.size(); ++i) {
    const std::string_view text = vocabulary[i].text;
    if (text.starts_with(prefix)) {
      entries.push_back({std::string(text.substr(prefix.size())), static_cast<std::int32_t>(i)});
    }
  }
  return PieceTable(std::move(entries));
}

}  // namespace

WordPiece::WordPiece(std::vector<Piece> vocabulary, Options options)
    : vocabulary_(std::move(vocabulary)),
      options_(std::move(options)),
      starting_(table_without("", vocabulary_)),
      continuing_(table_without(options_.continuing_subword_prefix, vocabulary_)) {
  const auto unk = starting_.find(options_.unk_token);
  if (!unk) throw std::invalid_argument("WordPiece: unk_token is not in the vocabulary");
  unk_ = *unk;
}

const Piece* WordPiece::find(std::string_view piece) const {
  const auto index = starting_.find(piece);
  return index ? &vocabulary_[static_cast<std::size_t>(*index)] : nullptr;
}

bool WordPiece::too_long(std::string_view word) const {
  if (word.size() <= options_.max_input_chars_per_word) return false;
  std::size_t chars = 0;
  for (std::size_t at = 0; at < word.size(); ++chars) next_code_point(word, at);
  return chars > options_.max_input_chars_per_word;
}

void WordPiece::split(std::string_view word, std::vector<WordPart>& parts) const {
  const std::size_t before = parts.size();
  bool fits = !too_long(word);
  for (std::size_t at = 0; fits && at < word.size();) {
    const auto match = (at == 0 ? starting_ : continuing_).longest_prefix(word.substr(at));
    fits = match.has_value();
    if (!fits) break;
    parts.push_back({&vocabulary_[static_cast<std::size_t>(match->value)], at, at + match->size});
    at += match->size;
  }
  if (fits) return;
  parts.resize(before);
  parts.push_back({&vocabulary_[static_cast<std::size_t>(unk_)], 0, word.size()});
}

}  // namespace regard::model
