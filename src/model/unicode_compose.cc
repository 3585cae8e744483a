// src/model/unicode_compose.cc - canonical composition (NFC), with the place each byte came from.
#include "model/unicode_compose.h"

#include <algorithm>

#include "model/unicode.h"

namespace regard::model {
namespace {

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

/// A code point of a text that is being composed. `change`: 1 if it has no original of its own, -n
/// if it takes the place of n others as well.
struct Char {
  char32_t code_point;
  std::uint8_t combining_class;
  std::ptrdiff_t change;
};

/// Composition never changes these alone, and never joins them to what comes before.
bool is_stable(char32_t c) { return c < 0x300 || (c >= 0x4E00 && c <= 0x9FFF); }

std::vector<Char> decomposed(std::string_view text) {
  std::vector<Char> chars;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoints parts = decompose(next_code_point(text, at));
    for (std::size_t i = 0; i < parts.size; ++i)
      chars.push_back({parts.at[i], combining_class(parts.at[i]), i == 0 ? 0 : 1});
  }
  return chars;
}

void order_marks(std::vector<Char>& chars) {
  const auto is_mark = [](const Char& c) { return c.combining_class != 0; };
  for (auto begin = chars.begin(); begin != chars.end();) {
    begin = std::find_if(begin, chars.end(), is_mark);
    const auto end = std::find_if_not(begin, chars.end(), is_mark);
    std::ranges::stable_sort(begin, end, {}, &Char::combining_class);
    begin = end;
  }
}

std::vector<Char> recomposed(const std::vector<Char>& chars) {
  std::vector<Char> result;
  std::ptrdiff_t starter = -1;
  int last_class = -1;  // of the marks that stay between the starter and here
  for (const Char& c : chars) {
    if (starter >= 0 && last_class < c.combining_class) {
      Char& to = result[static_cast<std::size_t>(starter)];
      if (const char32_t composed = compose(to.code_point, c.code_point)) {
        to.code_point = composed;
        to.change += c.change - 1;
        continue;
      }
    }
    if (c.combining_class == 0) starter = std::ssize(result);
    last_class = c.combining_class == 0 ? -1 : c.combining_class;
    result.push_back(c);
  }
  return result;
}

/// Places in `text` where its code points begin.
std::vector<std::size_t> code_points(std::string_view text) {
  std::vector<std::size_t> begins;
  for (std::size_t at = 0; at < text.size(); next_code_point(text, at)) begins.push_back(at);
  return begins;
}

void append_composed(std::string_view text, std::size_t offset, AlignedText& to) {
  std::vector<Char> chars = decomposed(text);
  order_marks(chars);
  chars = recomposed(chars);
  std::string composed;
  for (const Char& c : chars) append_utf8(composed, c.code_point);
  if (composed == text) return to.append(text);
  std::vector<std::size_t> begins = code_points(text);
  begins.push_back(text.size());
  std::size_t next = 0;  // the code point whose place the next one takes
  for (const Char& c : chars) {
    const std::size_t at = c.change > 0 && next > 0 ? next - 1 : std::min(next, begins.size() - 2);
    to.append(c.code_point, {offset + begins[at], offset + begins[at + 1]});
    if (c.change <= 0) next += static_cast<std::size_t>(1 - c.change);
  }
  to.go_on(offset + text.size());
}

}  // namespace

void AlignedText::append(char32_t c, ByteRange source) {
  runs_.push_back({text_.size(), source});
  append_utf8(text_, c);
}

ByteRange AlignedText::source(std::size_t at) const {
  const auto after = std::ranges::upper_bound(runs_, at, {}, &Run::at);
  const Run& run = *(after - 1);
  if (run.source.begin < run.source.end) return run.source;
  std::size_t begin = at, end = at + 1;
  while (is_continuation(text_[begin])) --begin;
  while (end < text_.size() && is_continuation(text_[end])) ++end;
  return {run.source.begin + (begin - run.at), run.source.begin + (end - run.at)};
}

ByteRange AlignedText::source(std::size_t begin, std::size_t end) const {
  return {source(begin).begin, source(end - 1).end};
}

AlignedText compose(std::string_view text, std::size_t offset) {
  AlignedText result(offset);
  std::size_t done = 0, last = 0;  // `last`: the stable code point before `at`, or `done`
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t here = at;
    if (is_stable(next_code_point(text, at))) {
      last = here;
      continue;
    }
    std::size_t end = at;
    while (at < text.size() && !is_stable(next_code_point(text, at))) end = at;
    result.append(text.substr(done, last - done));
    append_composed(text.substr(last, end - last), offset + last, result);
    done = last = at = end;
  }
  result.append(text.substr(done));
  return result;
}

}  // namespace regard::model
