// tests/fuzz/check_tokens.h - what holds of the tokens of any text; aborts where it does not.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
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

/// Whether it can decode: WordPiece cannot.
inline bool is_bpe(const model::Tokenizer& tokenizer) {
  try {
    tokenizer.decode({});
    return true;
  } catch (const std::logic_error&) {
    return false;
  }
}

/// Ids within the vocabulary; ranges within the text, on boundaries, in order; words in order.
/// Ranges are not empty, but for blanks that BPE trims away, which may lie after the next token.
inline void check_tokens(const model::Tokenizer& tokenizer, std::string_view text) {
  const auto tokens = tokenizer.encode(text);
  const std::int64_t vocab_size = tokenizer.vocab_size();
  const bool trims = is_bpe(tokenizer);
  const auto size = static_cast<std::int64_t>(text.size());
  std::int64_t begin = 0, end = 0, word = -1;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const model::Token& token = tokens[i];
    require(0 <= token.id && token.id < vocab_size, "id out of range", i);
    require(token.special == (token.word == -1), "special and word disagree", i);
    if (token.special && token.begin == 0 && token.end == 0)
      continue;  // added by the post-processor
    require(0 <= token.begin && token.begin <= token.end && token.end <= size, "bad range", i);
    require(token.begin < token.end || trims, "empty range", i);
    require(is_boundary(text, token.begin) && is_boundary(text, token.end), "halves a code point",
            i);
    if (token.begin < token.end) {
      require(begin <= token.begin && end <= token.end, "not in order", i);
      begin = token.begin;
      end = token.end;
    }
    if (token.special) continue;
    require(word <= token.word, "words are not in order", i);
    word = token.word;
  }
}

/// Of BPE: pieces as they stream are what decode gives; if the tokenizer keeps a text, they are it.
inline void check_decoding(const model::Tokenizer& tokenizer, std::string_view text, bool keeps) {
  std::vector<std::int32_t> ids;
  std::string bytes, streamed;
  model::TextStream stream(tokenizer.drops_blank());
  for (const auto& token : tokenizer.encode(text, {.add_special = false, .parse_special = false})) {
    ids.push_back(token.id);
    bytes += tokenizer.bytes(token.id);
    if (!tokenizer.is_special(token.id)) streamed += stream.push(tokenizer.bytes(token.id));
  }
  streamed += stream.finish();
  require(streamed == tokenizer.decode(ids), "decode is not what streams", ids.size());
  require(bytes == text || !keeps, "the text does not come back", ids.size());
}

}  // namespace regard::test
