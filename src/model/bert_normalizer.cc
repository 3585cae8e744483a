// src/model/bert_normalizer.cc - Hugging Face's BertNormalizer, with the place each byte came from.
#include "model/bert_normalizer.h"

#include <algorithm>
#include <cstdint>

#include "model/unicode.h"

namespace regard::model {
namespace {

struct Char {
  char32_t code_point;
  ByteRange source;
};
using Chars = std::vector<Char>;

Chars decode(std::string_view text, std::size_t offset) {
  Chars chars;
  chars.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t c = next_code_point(text, at);
    chars.push_back({c, {offset + begin, offset + at}});
  }
  return chars;
}

NormalizedText encode(const Chars& chars) {
  NormalizedText result;
  result.text.reserve(chars.size());
  result.source.reserve(chars.size());
  for (const Char& c : chars) {
    append_utf8(result.text, c.code_point);
    result.source.resize(result.text.size(), c.source);
  }
  return result;
}

void drop_flagged(Chars& chars, CodePointFlag flag) {
  std::erase_if(chars,
                [flag](const Char& c) { return (code_point_flags(c.code_point) & flag) != 0; });
}

void blank_whitespace(Chars& chars) {
  for (Char& c : chars) {
    if ((code_point_flags(c.code_point) & kWhitespace) != 0) c.code_point = ' ';
  }
}

void space_ideographs(Chars& chars) {
  Chars spaced;
  spaced.reserve(chars.size() * 2);
  for (const Char& c : chars) {
    if (is_ideograph(c.code_point)) {
      spaced.insert(spaced.end(), {{' ', c.source}, c, {' ', c.source}});
    } else {
      spaced.push_back(c);
    }
  }
  chars = std::move(spaced);
}

// One code point of a decomposition on its way into canonical order.
struct Part {
  char32_t code_point;
  std::uint8_t combining_class;
  bool first;  // of its code point's decomposition
};

// Every run of marks in the order of their combining classes.
void order_marks(std::vector<Part>& parts) {
  const auto is_mark = [](const Part& part) { return part.combining_class != 0; };
  for (auto begin = parts.begin(); begin != parts.end();) {
    begin = std::find_if(begin, parts.end(), is_mark);
    const auto end = std::find_if_not(begin, parts.end(), is_mark);
    std::stable_sort(begin, end, [](const Part& a, const Part& b) {
      return a.combining_class < b.combining_class;
    });
    begin = end;
  }
}

// Sources stay in the text's order even where marks change places: the n-th part that begins a
// decomposition has the source of the n-th code point. This is how `tokenizers` aligns them.
void decompose_all(Chars& chars) {
  std::vector<Part> parts;
  parts.reserve(chars.size());
  for (const Char& c : chars) {
    const CodePoints mapped = decompose(c.code_point);
    for (std::size_t i = 0; i < mapped.size; ++i) {
      parts.push_back({mapped.at[i], combining_class(mapped.at[i]), i == 0});
    }
  }
  order_marks(parts);
  Chars decomposed;
  decomposed.reserve(parts.size());
  std::size_t sources = 0;
  for (const Part& part : parts) {
    if (part.first) ++sources;
    decomposed.push_back({part.code_point, chars[std::max<std::size_t>(sources, 1) - 1].source});
  }
  chars = std::move(decomposed);
}

void lowercase_all(Chars& chars) {
  Chars lowered;
  lowered.reserve(chars.size());
  for (const Char& c : chars) {
    const CodePoints mapped = model::lowercase(c.code_point);
    for (std::size_t i = 0; i < mapped.size; ++i) lowered.push_back({mapped.at[i], c.source});
  }
  chars = std::move(lowered);
}

}  // namespace

NormalizedText BertNormalizer::normalize(std::string_view text, std::size_t offset) const {
  Chars chars = decode(text, offset);
  const bool ascii = chars.size() == text.size();
  if (clean_text) {
    drop_flagged(chars, kControl);
    blank_whitespace(chars);
  }
  if (handle_chinese_chars && !ascii) space_ideographs(chars);
  if (strip_accents && !ascii) {
    decompose_all(chars);
    drop_flagged(chars, kNonspacingMark);
  }
  if (lowercase) lowercase_all(chars);
  return encode(chars);
}

}  // namespace regard::model
