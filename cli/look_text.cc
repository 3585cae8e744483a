// cli/look_text.cc - regard look for a terminal: which words every word attends to, as bars.
#include "cli/look_text.h"

#include <algorithm>

#include "cli/command.h"
#include "cli/text_view.h"
#include "cli/unicode.h"

namespace regard::cli {
namespace {

constexpr std::string_view kCaution =
    "Weights say where the model looked. They are no explanation.";

/// "layer 3", "layers 0-5" or "layers 0, 2, 5".
std::string numbered(const std::string& noun, const std::vector<std::int64_t>& numbers) {
  if (numbers.size() == 1) return noun + " " + std::to_string(numbers[0]);
  const auto last = numbers.back();
  if (last - numbers.front() + 1 == static_cast<std::int64_t>(numbers.size())) {
    return noun + "s " + std::to_string(numbers.front()) + "-" + std::to_string(last);
  }
  std::string list = noun + "s";
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    list += (i == 0 ? " " : ", ") + std::to_string(numbers[i]);
  }
  return list;
}

std::string how_it_came(std::int64_t num_tokens, std::int64_t prompt) {
  return std::to_string(num_tokens - prompt) + " tokens after a prompt of " +
         std::to_string(prompt) + "; a row is where the model looked to choose it";
}

/// Which model, which of its heads.
std::string what_is_shown(const LookHeader& header) {
  const auto num_heads = header.layers.size() * header.heads.size();
  const std::string mean =
      num_heads == 1 ? "" : "mean of " + std::to_string(num_heads) + " heads: ";
  return printable(header.model.name) + ", " + mean + numbered("layer", header.layers) + ", " +
         numbered("head", header.heads) +
         (header.truncated
              ? ", text truncated to " + std::to_string(header.tokens.size()) + " tokens"
              : "");
}

/// The answer alone, of a text that the model generated.
std::string_view shown_text(const LookHeader& header) {
  if (!header.prompt_tokens) return header.text;
  const auto& first = header.tokens[static_cast<std::size_t>(*header.prompt_tokens)];
  return std::string_view(header.text).substr(static_cast<std::size_t>(first.begin));
}

std::size_t first_of_answer(const std::vector<Word>& words, const LookHeader& header) {
  if (!header.prompt_tokens) return 0;
  const auto prompt = static_cast<std::size_t>(*header.prompt_tokens);
  const auto first =
      std::ranges::find_if(words, [&](const Word& word) { return word.token_begin >= prompt; });
  return static_cast<std::size_t>(first - words.begin());
}

}  // namespace

void LookText::begin(const LookHeader& header) {
  header_ = header;
  links_ = WordLinks(words_of(header.text, header.tokens, header.causal), header.causal);
  answer_ = first_of_answer(links_.words(), header);
  if (!question_.focus.empty()) focus_ = find_word(links_.words(), question_.focus);
  if (!question_.from.empty()) from_ = find_word(links_.words(), question_.from);
  if (!question_.to.empty()) to_ = find_word(links_.words(), question_.to);
}

void LookText::layer(std::int64_t layer, std::span<const float> weights) {
  const std::size_t num_tokens = header_.tokens.size();
  const std::size_t head_size = num_tokens * num_tokens;
  std::vector<float> chosen;
  for (std::size_t i = 0; i < header_.heads.size(); ++i) {
    std::span<const float> head = weights.subspan(i * head_size, head_size);
    if (header_
            .prompt_tokens) {  // the token before chose this one: what is asked is where it looked
      chosen.assign(num_tokens, 0.0F);
      chosen.insert(chosen.end(), head.begin(), head.end() - std::ssize(header_.tokens));
      head = chosen;
    }
    links_.add(layer, header_.heads[i], head, num_tokens);
  }
}

void LookText::end() {
  std::string text = text_lines(shown_text(header_), terminal_);
  text += Line(terminal_).add(what_is_shown(header_), Style::kDim).str();
  if (const auto prompt = header_.prompt_tokens) {
    const std::string how = how_it_came(std::ssize(header_.tokens), *prompt);
    text += Line(terminal_).add(how, Style::kDim).str();
  }
  text += "\n";
  const bool pair = !question_.from.empty();
  if (!question_.focus.empty()) {
    text += one_word(links_, focus_, terminal_);
  } else if (!pair) {
    text += every_word(links_, answer_, terminal_);
  }
  if (pair) text += link_line(links_, links_.strongest(from_, to_), "strongest head", terminal_);
  text += "\n" + Line(terminal_).add(kCaution, Style::kDim).str();
  print(text);
}

}  // namespace regard::cli
