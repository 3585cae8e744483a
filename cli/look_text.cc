// cli/look_text.cc - regard look for a terminal: which words every word attends to, as bars.
#include "cli/look_text.h"

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

}  // namespace

void LookText::begin(const LookHeader& header) {
  header_ = header;
  links_ = WordLinks(words_of(header.text, header.tokens));
  if (!question_.focus.empty()) focus_ = find_word(links_.words(), question_.focus);
  if (!question_.from.empty()) from_ = find_word(links_.words(), question_.from);
  if (!question_.to.empty()) to_ = find_word(links_.words(), question_.to);
}

void LookText::layer(std::int64_t layer, std::span<const float> weights) {
  const std::size_t num_tokens = header_.tokens.size();
  const std::size_t head_size = num_tokens * num_tokens;
  for (std::size_t i = 0; i < header_.heads.size(); ++i) {
    links_.add(layer, header_.heads[i], weights.subspan(i * head_size, head_size), num_tokens);
  }
}

void LookText::end() {
  std::string text = text_lines(header_.text, terminal_);
  text += Line(terminal_).add(what_is_shown(header_), Style::kDim).str() + "\n";
  const bool pair = !question_.from.empty();
  if (!question_.focus.empty()) {
    text += one_word(links_, focus_, terminal_);
  } else if (!pair) {
    text += every_word(links_, terminal_);
  }
  if (pair) text += link_line(links_, links_.strongest(from_, to_), "strongest head", terminal_);
  text += "\n" + Line(terminal_).add(kCaution, Style::kDim).str();
  print(text);
}

}  // namespace regard::cli
