// src/model/added_tokens.h - tokens found in text before the model sees it: [SEP] and the like.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/piece_table.h"

namespace regard::model {

/// An entry of tokenizer.json's added_tokens.
struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool single_word = false;  ///< only where no word character touches it
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space after it
  bool normalized = false;   ///< is looked for in the normalised text
  bool special = false;
};

/// Finds tokens as `tokenizers` does: leftmost first, the longest of those that begin there.
class AddedTokens {
 public:
  /// A part of a text; token is null between the tokens. Parts are not empty.
  struct Part {
    std::size_t begin;
    std::size_t end;
    const AddedToken* token;
  };

  /// patterns[i] is what text has where tokens[i] stands; distinct, not empty. If a token has
  /// rstrip, none may begin with white space: it would overlap.
  AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& patterns);
  AddedTokens() = default;

  bool empty() const { return tokens_.empty(); }
  const std::vector<AddedToken>& tokens() const { return tokens_; }

  /// Parts in order; together they are the text. parse_special: special tokens are found as well.
  std::vector<Part> split(std::string_view text, bool parse_special = true) const;

 private:
  // The next match at or after `at`, or one with a null token.
  Part next_match(std::string_view text, std::size_t at) const;

  std::vector<AddedToken> tokens_;
  PieceTable patterns_;
  std::array<bool, 256> begins_{};  // whether a pattern begins with this byte
};

}  // namespace regard::model
