// cli/words.h - words of a text, and attention between words instead of tokens.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "regard/model/tokenizer.h"

namespace regard::cli {

/// A pre-token with all its pieces, or one special token.
struct Word {
  std::string text;  ///< as it stands in the text, fit to be printed; a special token's own name
  std::size_t token_begin = 0, token_end = 0;
  bool sink = false;  ///< where heads put what they have no use for: punctuation, [CLS], [SEP]; in
                      ///< a causal model every special token and the first word
  int place = 1;      ///< 1 for its first occurrence in the text, 2 for the second ...
  int places = 1;     ///< how often it occurs

  /// "bank", or "bank#2" where it occurs more than once: what find_word takes.
  std::string label() const;
};

std::vector<Word> words_of(std::string_view text, std::span<const model::Token> tokens,
                           bool causal = false);

/// Attention between W words from weights (T, T) between T tokens: TO a word the sum over its
/// pieces, FROM it the mean. The result is (W, W), rows sum to what they summed to.
std::vector<float> word_weights(std::span<const Word> words, std::span<const float> weights,
                                std::size_t num_tokens);

/// Index of the word that `name` names: "bank" (case counts only where it must), or "bank#2".
/// Throws UsageError with what there is: near words, or the places of a word that occurs more than
/// once.
std::size_t find_word(std::span<const Word> words, std::string_view name);

}  // namespace regard::cli
