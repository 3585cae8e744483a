// src/model/bert_normalizer.h - Hugging Face's BertNormalizer, with the place each byte came from.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace regard::model {

/// Half-open range of bytes.
struct ByteRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// Text after normalisation. source[i]: the bytes of the original that byte i of `text` stands for,
/// ascending in both ends, on the boundaries of code points, never empty.
struct NormalizedText {
  std::string text;
  std::vector<ByteRange> source;
};

/// The steps, in this order; each only if it is asked for.
struct BertNormalizer {
  bool clean_text = true;            ///< drops controls, makes every white space a blank
  bool handle_chinese_chars = true;  ///< blanks round ideographs
  bool strip_accents = true;         ///< canonical decomposition, then without nonspacing marks
  bool lowercase = true;

  /// `text` is valid UTF-8 that begins at byte `offset` of the original.
  NormalizedText normalize(std::string_view text, std::size_t offset) const;
};

}  // namespace regard::model
