// cli/look_generated.cc - a prompt and a model's answer to it, as tokens with their places in a
// text.
#include "cli/look_generated.h"

#include <algorithm>
#include <array>
#include <utility>

#include "regard/kv_cache.h"
#include "regard/model/generate.h"

namespace regard::cli {
namespace {

/// A piece's own text without the space before it, as the tokenizer's ranges have it.
std::int64_t skip_space(const std::string& text, std::int64_t begin, std::int64_t end) {
  const std::size_t found = text.find_first_not_of(" \t\r\n", static_cast<std::size_t>(begin));
  return found < static_cast<std::size_t>(end) ? static_cast<std::int64_t>(found) : begin;
}

/// Bytes of each token in the text that they spell; one that ends within a character reaches to its
/// end, the next one begins with it.
std::vector<model::Token> spell(const model::Tokenizer& tokenizer,
                                const std::vector<std::int32_t>& ids, std::string& text) {
  std::vector<model::Token> tokens;
  model::TextStream stream(tokenizer.drops_blank());
  std::size_t open = 0;  // tokens from here on have no end yet
  const auto take = [&](const std::string& complete) {
    text += complete;
    if (complete.empty()) return;
    for (; open < tokens.size(); ++open) tokens[open].end = std::ssize(text);
  };
  for (const std::int32_t id : ids) {
    tokens.push_back({.id = id,
                      .text = std::string(tokenizer.piece(id)),
                      .begin = std::ssize(text),
                      .special = tokenizer.is_special(id)});
    take(stream.push(tokenizer.bytes(id)));
  }
  take(stream.finish());
  for (; open < tokens.size(); ++open) tokens[open].end = std::ssize(text);
  for (model::Token& token : tokens) token.begin = skip_space(text, token.begin, token.end);
  return tokens;
}

}  // namespace

model::Prompt make_prompt(const model::FoundModel& found, const model::Tokenizer& tokenizer,
                          const std::string& text, bool raw) {
  if (raw) return model::raw_prompt(text, tokenizer);
  const std::array messages{model::Message{"user", text}};
  return model::chat_prompt(messages, tokenizer, model::ChatTemplate::load(found.source()));
}

Generated generate_greedily(const model::Decoder& decoder, const model::Tokenizer& tokenizer,
                            model::Prompt prompt, std::int64_t max_tokens, Executor& executor) {
  PagedKvCache cache(decoder.cache_shape(DType::kF32));
  model::GenerateOptions options{.sampling = {.temperature = 0},
                                 .max_tokens = max_tokens,
                                 .end_ids = std::move(prompt.end_ids),
                                 .is_answer = prompt.is_answer,
                                 .executor = &executor};
  model::Generation generation(decoder, tokenizer, cache, cache.create(), std::move(options));
  std::vector<std::int32_t>& ids = prompt.ids;
  generation.prompt(ids);
  while (generation.next()) {
  }
  Generated generated{.prompt_tokens = std::ssize(ids)};
  const bool ended = generation.stop() == model::StopReason::kEos;
  ids.insert(ids.end(), generation.ids().begin(), generation.ids().end() - (ended ? 1 : 0));
  generated.tokens = place_tokens(tokenizer, ids, generated.text);
  return generated;
}

std::vector<model::Token> place_tokens(const model::Tokenizer& tokenizer,
                                       const std::vector<std::int32_t>& ids, std::string& text) {
  std::vector<model::Token> tokens = spell(tokenizer, ids, text);
  const std::vector<model::Token> encoded = tokenizer.encode(text, {.add_special = false});
  auto at = encoded.begin();
  for (model::Token& token : tokens) {
    while (at != encoded.end() && at + 1 != encoded.end() && (at + 1)->begin <= token.begin) ++at;
    if (!token.special && at != encoded.end()) token.word = at->word;
  }
  return tokens;
}

}  // namespace regard::cli
