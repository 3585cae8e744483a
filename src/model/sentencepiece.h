// src/model/sentencepiece.h - what is SentencePiece's in byte pair encoding: blanks that are part
// of pieces, bytes for what is no piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/json_field.h"
#include "model/unicode_compose.h"

namespace regard::model {

/// How SentencePiece's vocabularies differ from byte-level ones: pieces are characters, and blanks,
/// written as kBlank, are part of them.
struct SentencePiece {
  static constexpr char32_t kBlank = 0x2581;
  static constexpr std::string_view kBlankText = "\xE2\x96\x81";
  /// Where a blank is put that the text does not have: before every part of the text between tokens
  /// that are found in it, before those that begin with none, or before the first if it has none.
  enum class Prefix : std::uint8_t { kNever, kEach, kEachWithout, kFirstWithout };

  Prefix prefix = Prefix::kNever;
  /// Blanks are written before added.normalized is looked for, by a normaliser; else by Metaspace.
  bool normalizes = true;
  bool drops_blank = false;    ///< decoding leaves out one at the beginning
  std::vector<double> scores;  ///< by id, instead of merges
  bool byte_fallback = true;   ///< what is no piece is bytes, else unk_id
  std::optional<std::int32_t> unk_id;
  bool fuse_unk = false;

  /// A text of its own as the normaliser leaves it.
  std::string normalized(std::string_view text) const;
  /// A part of a text that begins at byte `offset` of it, its blanks written as kBlank. One that is
  /// put before it stands for the character after it. at_begin: nothing comes before the text.
  AlignedText written(std::string_view part, std::size_t offset, bool at_begin) const;
};

/// From a tokenizer.json's normalizer, pre_tokenizer and decoder, a Sequence: all but the model.
SentencePiece read_sentencepiece(const JsonField& file, const JsonField& decoder);

/// What a piece stands for: blanks, or a byte.
std::string sentencepiece_bytes(const std::string& piece);

}  // namespace regard::model
