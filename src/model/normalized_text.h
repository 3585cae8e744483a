// src/model/normalized_text.h - text after normalisation, with the place each byte came from.
#pragma once

#include <cstddef>
#include <string>
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

}  // namespace regard::model
