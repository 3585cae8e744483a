// cli/look_generated.h - a prompt and a model's answer to it, as tokens with their places in a
// text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "regard/executor.h"
#include "regard/model/chat.h"
#include "regard/model/decoder.h"
#include "regard/model/models.h"
#include "regard/model/tokenizer.h"

namespace regard::cli {

struct Generated {
  /// The prompt as the model was given it, template included, and the answer.
  std::string text = {};
  std::vector<model::Token> tokens = {};
  std::int64_t prompt_tokens = 0;
};

/// The text as it is (raw), or as the only message of the user in the model's template.
model::Prompt make_prompt(const model::FoundModel& found, const model::Tokenizer& tokenizer,
                          const std::string& text, bool raw);

/// The likeliest continuation by at most max_tokens, computed from a cache of float32. The token
/// that ends an answer is not part of it. Throws as Generation does.
Generated generate_greedily(const model::Decoder& decoder, const model::Tokenizer& tokenizer,
                            model::Prompt prompt, std::int64_t max_tokens, Executor& executor);

/// Tokens of ids where they stand in the text that they spell, and that text. Words are those that
/// the tokenizer would make of it.
std::vector<model::Token> place_tokens(const model::Tokenizer& tokenizer,
                                       const std::vector<std::int32_t>& ids, std::string& text);

}  // namespace regard::cli
