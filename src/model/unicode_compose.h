// src/model/unicode_compose.h - canonical composition (NFC), with the place each byte came from.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "model/bert_normalizer.h"

namespace regard::model {

/// Text after normalisation, and the bytes of the original that it stands for. Takes memory only
/// where the two differ.
class AlignedText {
 public:
  /// Empty; what comes next stands for the original from byte `offset` on.
  explicit AlignedText(std::size_t offset) { runs_.push_back({0, {offset, offset}}); }

  const std::string& text() const { return text_; }
  /// The code points of the original that the bytes [begin, end), not empty, stand for.
  ByteRange source(std::size_t begin, std::size_t end) const;

  /// Appends what is unchanged.
  void append(std::string_view same) { text_ += same; }
  /// Appends one code point, which stands for other bytes of the original.
  void append(char32_t c, ByteRange source);
  /// What comes next stands for the original from byte `offset` on.
  void go_on(std::size_t offset) { runs_.push_back({text_.size(), {offset, offset}}); }

 private:
  ByteRange source(std::size_t at) const;

  /// From byte `at` of the text on: one code point that stands for `source`; an empty one begins
  /// code points that stand for themselves.
  struct Run {
    std::size_t at;
    ByteRange source;
  };
  std::string text_;
  std::vector<Run> runs_;
};

/// NFC of valid UTF-8 that begins at byte `offset` of the original. A composed code point stands
/// for the first of those it is made of, as in `tokenizers`. O(n log n).
AlignedText compose(std::string_view text, std::size_t offset);

}  // namespace regard::model
