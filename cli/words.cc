// cli/words.cc - words of a text, and attention between words instead of tokens.
#include "cli/words.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "cli/command.h"
#include "cli/suggest.h"
#include "cli/unicode.h"

namespace regard::cli {
namespace {

constexpr std::size_t kListedPlaces = 6;

/// What the tokens from first to last stand for.
std::string_view span_of(std::string_view text, const model::Token& first,
                         const model::Token& last) {
  if (last.end <= first.begin) return {};
  const auto begin = static_cast<std::size_t>(first.begin);
  return text.substr(begin, static_cast<std::size_t>(last.end) - begin);
}

bool is_space(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

std::string text_of(std::string_view text, const model::Token& first, const model::Token& last) {
  const std::string_view bytes = span_of(text, first, last);
  if (first.special || bytes.empty()) return printable(first.text);
  if (is_space(bytes)) return bytes.find('\n') == bytes.npos ? "space" : "line break";
  std::string word = printable(bytes);
  return display_width(word) > 0 ? word : printable(first.text);
}

std::string in_quotes(std::string_view text) { return "\"" + std::string(text) + "\""; }

/// `the#1 (on the bank), the#2 (of the river)`: each place with its neighbours.
std::string places_of(std::span<const Word> words, std::span<const std::size_t> places) {
  std::string list;
  for (std::size_t i = 0; i < std::min(places.size(), kListedPlaces); ++i) {
    const std::size_t at = places[i];
    const std::string before = at > 0 ? words[at - 1].text + " " : "";
    const std::string after = at + 1 < words.size() ? " " + words[at + 1].text : "";
    list += (i == 0 ? "" : ", ") + words[at].label() + " (" + before + words[at].text + after + ")";
  }
  if (places.size() > kListedPlaces) {
    list += ", ... " + words[places.back()].label();
  }
  return list;
}

std::vector<std::size_t> places_where(std::span<const Word> words, const auto& is_it) {
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (is_it(words[i])) places.push_back(i);
  }
  return places;
}

/// Case does not count, except to choose one of several.
std::vector<std::size_t> places_named(std::span<const Word> words, std::string_view name) {
  const auto exact = places_where(words, [&](const Word& word) { return word.text == name; });
  if (exact.size() == 1) return exact;
  const std::string folded = fold_case(name);
  return places_where(words, [&](const Word& word) { return fold_case(word.text) == folded; });
}

[[noreturn]] void throw_no_such_word(std::span<const Word> words, std::string_view name) {
  std::vector<std::string> names;
  for (const Word& word : words) names.push_back(word.text);
  std::string hint = did_you_mean(name, names);
  if (hint.empty()) {
    hint = "; its words are";
    for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 12); ++i)
      hint += " " + names[i];
    if (names.size() > 12) hint += " ...";
  }
  throw UsageError("the text has no word " + in_quotes(printable(name)) + hint);
}

/// "bank#2" to "bank" and 2; a name without a number has 0.
std::pair<std::string_view, int> split_place(std::string_view name) {
  const auto hash = name.rfind('#');
  if (hash == std::string_view::npos || hash == 0) return {name, 0};
  int place = 0;
  const auto [end, error] =
      std::from_chars(name.data() + hash + 1, name.data() + name.size(), place);
  const bool whole = error == std::errc{} && end == name.data() + name.size() && place >= 0;
  return whole ? std::pair{name.substr(0, hash), place} : std::pair{name, 0};
}

}  // namespace

std::string Word::label() const { return places == 1 ? text : text + "#" + std::to_string(place); }

std::vector<Word> words_of(std::string_view text, std::span<const model::Token> tokens,
                           bool causal) {
  std::vector<Word> words;
  std::map<std::string, int> seen;
  std::set<std::int32_t> added;  // [MASK] in the text is special, but no sink
  for (const model::Token& token : tokens) {
    if (token.special && token.end == 0) added.insert(token.id);
  }
  for (std::size_t begin = 0; begin < tokens.size();) {
    std::size_t end = begin + 1;
    if (!tokens[begin].special && tokens[begin].word >= 0) {
      while (end < tokens.size() && tokens[end].word == tokens[begin].word) ++end;
    }
    Word word{.text = text_of(text, tokens[begin], tokens[end - 1]),
              .token_begin = begin,
              .token_end = end};
    word.sink = added.contains(tokens[begin].id) || is_punctuation(word.text) ||
                (causal && (begin == 0 || tokens[begin].special ||
                            is_space(span_of(text, tokens[begin], tokens[end - 1]))));
    word.place = ++seen[fold_case(word.text)];
    words.push_back(std::move(word));
    begin = end;
  }
  for (Word& word : words) word.places = seen[fold_case(word.text)];
  return words;
}

std::vector<float> word_weights(std::span<const Word> words, std::span<const float> weights,
                                std::size_t num_tokens) {
  std::vector<float> result(words.size() * words.size());
  for (std::size_t from = 0; from < words.size(); ++from) {
    const std::size_t pieces = words[from].token_end - words[from].token_begin;
    for (std::size_t to = 0; to < words.size(); ++to) {
      double sum = 0;
      for (std::size_t q = words[from].token_begin; q < words[from].token_end; ++q) {
        for (std::size_t k = words[to].token_begin; k < words[to].token_end; ++k) {
          sum += static_cast<double>(weights[q * num_tokens + k]);
        }
      }
      result[from * words.size() + to] = static_cast<float>(sum / static_cast<double>(pieces));
    }
  }
  return result;
}

std::size_t find_word(std::span<const Word> words, std::string_view name) {
  std::vector<std::size_t> places = places_named(words, name);  // a word may itself end in "#2"
  if (places.size() == 1) return places[0];
  const auto [text, place] = split_place(name);
  if (places.empty()) {
    const std::string folded = fold_case(text);
    places = places_where(words, [&](const Word& word) { return fold_case(word.text) == folded; });
  }
  if (places.empty()) throw_no_such_word(words, text);
  const bool numbered = text.size() < name.size();
  if (numbered && place >= 1 && static_cast<std::size_t>(place) <= places.size()) {
    return places[static_cast<std::size_t>(place) - 1];
  }
  const std::string count = places.size() == 1 ? "once" : std::to_string(places.size()) + " times";
  throw UsageError("the text has " + in_quotes(printable(text)) + " " + count +
                   (numbered ? ", but no " + printable(name) : ", choose one") + ": " +
                   places_of(words, places));
}

}  // namespace regard::cli
