// src/model/wordpiece.h - WordPiece: a word to the vocabulary's pieces, longest first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/piece_table.h"

namespace regard::model {

/// One entry of a vocabulary.
struct Piece {
  std::string text;
  std::int32_t id = 0;
};

/// A piece of a word; begin and end are bytes of the word.
struct WordPart {
  const Piece* piece;
  std::size_t begin;
  std::size_t end;
};

class WordPiece {
 public:
  struct Options {
    std::string unk_token;
    std::string continuing_subword_prefix;
    std::size_t max_input_chars_per_word = 0;
  };

  /// Pieces are distinct; unk_token is among them.
  WordPiece(std::vector<Piece> vocabulary, Options options);

  const std::vector<Piece>& vocabulary() const { return vocabulary_; }
  const Piece* find(std::string_view piece) const;

  /// Appends the parts of a word that is not empty: from each place the longest piece that fits;
  /// the whole word as unk_token where none does or the word is too long.
  void split(std::string_view word, std::vector<WordPart>& parts) const;

 private:
  bool too_long(std::string_view word) const;

  std::vector<Piece> vocabulary_;
  Options options_;
  PieceTable starting_;    // every piece
  PieceTable continuing_;  // those with the prefix, without it
  std::int32_t unk_ = 0;   // index in vocabulary_
};

}  // namespace regard::model
