// tests/fuzz/check_tokens.h - what holds of the tokens of any text; aborts where it does not.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "regard/model/tokenizer.h"

namespace regard::test {

inline void require(bool holds, const char* what, std::size_t token) {
  if (holds) return;
  std::fprintf(stderr, "token %zu: %s\n", token, what);
  std::abort();
}

/// The place is the text's end or the first byte of a code point.
inline bool is_boundary(std::string_view text, std::int64_t at) {
  const auto place = static_cast<std::size_t>(at);
  return place == text.size() || (static_cast<unsigned char>(text[place]) & 0xC0) != 0x80;
}

/// Ids within the vocabulary; ranges within the text, on boundaries, not empty, in order; words in
/// order.
inline void check_tokens(const std::vector<model::Token>& tokens, std::string_view text,
                         std::int64_t vocab_size) {
  const auto size = static_cast<std::int64_t>(text.size());
  std::int64_t begin = 0, end = 0, word = -1;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const model::Token& token = tokens[i];
    require(0 <= token.id && token.id < vocab_size, "id out of range", i);
    require(token.special == (token.word == -1), "special and word disagree", i);
    if (token.special && token.begin == 0 && token.end == 0)
      continue;  // added by the post-processor
    require(0 <= token.begin && token.begin < token.end && token.end <= size, "bad range", i);
    require(is_boundary(text, token.begin) && is_boundary(text, token.end), "halves a code point",
            i);
    require(begin <= token.begin && end <= token.end, "not in order", i);
    begin = token.begin;
    end = token.end;
    if (token.special) continue;
    require(word <= token.word, "words are not in order", i);
    word = token.word;
  }
}

}  // namespace regard::test
