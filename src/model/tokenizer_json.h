// src/model/tokenizer_json.h - tokenizer.json to the parts of a tokenizer, every field distrusted.
#pragma once

#include "model/bert_normalizer.h"
#include "model/json_field.h"
#include "model/tokenizer_fields.h"
#include "model/wordpiece.h"

namespace regard::model {

/// What a tokenizer.json says, checked.
struct TokenizerParts {
  BertNormalizer normalizer;
  WordPiece model;
  AddedTokenSets added;
  PiecesAround around;
  std::int64_t vocab_size;  ///< largest id + 1, added tokens included
};

/// Throws std::runtime_error: one line with the file, the field, what came and what was wanted.
TokenizerParts read_tokenizer_json(const JsonField& file);

}  // namespace regard::model
