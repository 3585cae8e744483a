// src/model/tokenizer_json.h - tokenizer.json to the parts of a tokenizer, every field distrusted.
#pragma once

#include <vector>

#include "model/added_tokens.h"
#include "model/bert_normalizer.h"
#include "model/json_field.h"
#include "model/wordpiece.h"

namespace regard::model {

/// What a tokenizer.json says, checked.
struct TokenizerParts {
  BertNormalizer normalizer;
  WordPiece model;
  AddedTokens raw_tokens;         ///< looked for in the text as it came
  AddedTokens normalized_tokens;  ///< looked for in the normalised text
  std::vector<Piece> before;      ///< what the post-processor puts before the text's tokens
  std::vector<Piece> after;       ///< and after them
  std::int64_t vocab_size;        ///< largest id + 1, added tokens included
};

/// Throws std::runtime_error: one line with the file, the field, what came and what was wanted.
TokenizerParts read_tokenizer_json(const JsonField& file);

}  // namespace regard::model
