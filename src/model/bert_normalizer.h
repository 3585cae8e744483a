// src/model/bert_normalizer.h - Hugging Face's BertNormalizer.
#pragma once

#include <cstddef>
#include <string_view>

#include "model/normalized_text.h"

namespace regard::model {

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
