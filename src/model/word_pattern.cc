// src/model/word_pattern.cc - text to the words that byte-level BPE merges within.
#include "model/word_pattern.h"

#include <algorithm>
#include <array>
#include <utility>

#include "model/unicode.h"

namespace regard::model {
namespace {

using Kind = WordPattern::Kind;

constexpr std::array<std::pair<std::string_view, Kind>, 3> kExpressions{{
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", Kind::kGpt2},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     Kind::kLlama3},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     Kind::kQwen2},
}};

enum class Class : std::uint8_t { kSpace, kLetter, kNumber, kOther, kEnd };

/// Reads classes of characters from a text.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::size_t size() const { return text_.size(); }
  Class at(std::size_t i) const {
    if (i >= text_.size()) return Class::kEnd;
    const char32_t c = next_code_point(text_, i);
    if (is_letter(c)) return Class::kLetter;
    if (is_number(c)) return Class::kNumber;
    return (code_point_flags(c) & kWhitespace) != 0 ? Class::kSpace : Class::kOther;
  }
  std::size_t after(std::size_t i) const {
    next_code_point(text_, i);
    return i;
  }
  char byte(std::size_t i) const { return i < text_.size() ? text_[i] : '\0'; }
  bool is_line_end(std::size_t i) const { return byte(i) == '\r' || byte(i) == '\n'; }
  /// The end of the run of a class from i on, `most` characters at most.
  std::size_t run(Class wanted, std::size_t i, std::size_t most = SIZE_MAX) const {
    for (; most > 0 && at(i) == wanted; --most) i = after(i);
    return i;
  }

 private:
  std::string_view text_;
};

/// The end of 's, 't, 're, 've, 'm, 'll or 'd at i, else i.
std::size_t contraction(const Scanner& text, std::size_t i, bool any_case) {
  if (text.byte(i) != '\'') return i;
  const auto letter = [&](std::size_t at) {
    const char c = text.byte(at);
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  const char first = letter(i + 1), second = letter(i + 2);
  if (any_case && text.byte(i + 1) == '\xC5' && text.byte(i + 2) == '\xBF') return i + 3;  // long s
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return i + 2;
  const bool two = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                   (first == 'l' && second == 'l');
  return two ? i + 3 : i;
}

/// White space at i: all but the last where something follows, which that one belongs to.
std::size_t space_end(const Scanner& text, std::size_t i) {
  std::size_t last = i, end = i;
  while (text.at(end) == Class::kSpace) {
    last = end;
    end = text.after(end);
  }
  return end == text.size() || last == i ? end : last;
}

std::size_t gpt2_end(const Scanner& text, std::size_t i) {
  if (const std::size_t end = contraction(text, i, false); end > i) return end;
  const std::size_t word = text.byte(i) == ' ' ? i + 1 : i;
  const Class kind = text.at(word);
  if (kind != Class::kSpace && kind != Class::kEnd) return text.run(kind, word);
  return space_end(text, i);
}

std::size_t llama3_end(const Scanner& text, std::size_t i, std::size_t most_digits) {
  if (const std::size_t end = contraction(text, i, true); end > i) return end;
  const Class here = text.at(i);
  if (here == Class::kLetter) return text.run(Class::kLetter, i);
  const std::size_t next = text.after(i);
  if (here != Class::kNumber && !text.is_line_end(i) && text.at(next) == Class::kLetter)
    return text.run(Class::kLetter, next);
  if (here == Class::kNumber) return text.run(Class::kNumber, i, most_digits);
  const std::size_t other = text.byte(i) == ' ' ? i + 1 : i;
  if (text.at(other) == Class::kOther) {
    std::size_t end = text.run(Class::kOther, other);
    while (text.is_line_end(end)) ++end;
    return end;
  }
  std::size_t line_end = i;
  for (std::size_t at = i; text.at(at) == Class::kSpace; at = text.after(at)) {
    if (text.is_line_end(at)) line_end = at + 1;
  }
  return line_end > i ? line_end : space_end(text, i);
}

}  // namespace

std::optional<Kind> WordPattern::find(std::string_view expression) {
  const auto* found =
      std::ranges::find(kExpressions, expression, &decltype(kExpressions)::value_type::first);
  if (found == kExpressions.end()) return std::nullopt;
  return found->second;
}

std::size_t WordPattern::part_end(std::string_view text, std::size_t begin) const {
  if (!single_digits) return text.size();
  std::size_t end = begin;
  if (is_digit(next_code_point(text, end))) return end;
  for (std::size_t at = end; at < text.size(); end = at) {
    if (is_digit(next_code_point(text, at))) break;
  }
  return end;
}

std::size_t WordPattern::word_end(std::string_view text, std::size_t begin) const {
  const Scanner scanner(text);
  switch (kind) {
    case Kind::kGpt2:
      return gpt2_end(scanner, begin);
    case Kind::kLlama3:
      return llama3_end(scanner, begin, 3);
    case Kind::kQwen2:
      return llama3_end(scanner, begin, 1);
    case Kind::kNone:
      break;
  }
  return text.size();
}

}  // namespace regard::model
