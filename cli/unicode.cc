// cli/unicode.cc - text as a terminal shows it: what may be printed, how wide it is.
#include "cli/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

namespace regard::cli {
namespace {

constexpr char32_t kReplacement = 0xFFFD;
constexpr char32_t kZeroWidthJoiner = 0x200D;  // holds emoji together
constexpr char32_t kLeftToRightMark = 0x200E;

const utf8proc_uint8_t* bytes(std::string_view text) {
  return reinterpret_cast<const utf8proc_uint8_t*>(text.data());
}

utf8proc_int32_t value(char32_t c) { return static_cast<utf8proc_int32_t>(c); }

void append(std::string& text, char32_t c) {
  utf8proc_uint8_t buffer[4];
  const auto size = utf8proc_encode_char(value(c), buffer);
  text.append(reinterpret_cast<const char*>(buffer), static_cast<std::size_t>(size));
}

bool is_right_to_left(char32_t c) {
  const auto direction = utf8proc_get_property(value(c))->bidi_class;
  return direction == UTF8PROC_BIDI_CLASS_R || direction == UTF8PROC_BIDI_CLASS_AL;
}

/// What stands for c on a line; 0: nothing.
char32_t shown(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\v' || c == '\f' || c == '\r') return ' ';
  if (c == kZeroWidthJoiner) return c;
  switch (utf8proc_category(value(c))) {
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return ' ';
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
      return 0;
    case UTF8PROC_CATEGORY_CN:  // its width is anybody's guess
    case UTF8PROC_CATEGORY_CS:
      return kReplacement;
    default:
      return c;
  }
}

}  // namespace

std::u32string code_points(std::string_view text) {
  std::u32string points;
  while (!text.empty()) {
    utf8proc_int32_t c = 0;
    const auto size = utf8proc_iterate(bytes(text), static_cast<utf8proc_ssize_t>(text.size()), &c);
    points.push_back(size > 0 ? static_cast<char32_t>(c) : kReplacement);
    text.remove_prefix(size > 0 ? static_cast<std::size_t>(size) : 1);
  }
  return points;
}

std::string printable(std::string_view text) {
  std::string result;
  bool right_to_left = false;
  for (const char32_t c : code_points(text)) {
    if (const char32_t s = shown(c); s != 0) append(result, s);
    right_to_left = right_to_left || is_right_to_left(c);
  }
  if (right_to_left) append(result, kLeftToRightMark);
  return result;
}

int display_width(std::string_view text) {
  int width = 0;
  for (const char32_t c : code_points(text)) width += utf8proc_charwidth(value(c));
  return width;
}

std::string clip(std::string_view text, int width, std::string_view ellipsis) {
  if (display_width(text) <= width) return std::string(text);
  if (display_width(ellipsis) > width) ellipsis = "";
  const int room = width - display_width(ellipsis);
  std::string result, grapheme;
  int used = 0;
  utf8proc_int32_t state = 0, previous = 0;
  for (const char32_t c : code_points(text)) {
    if (previous != 0 && utf8proc_grapheme_break_stateful(previous, value(c), &state)) {
      used += display_width(grapheme);
      if (used > room) return result += ellipsis;
      result += grapheme;
      grapheme.clear();
    }
    append(grapheme, c);
    previous = value(c);
  }
  return result += ellipsis;  // the last grapheme is what did not fit
}

bool is_punctuation(std::string_view text) {
  const auto is_mark = [](char32_t c) {
    if (c < 0x80) return c > ' ' && c < 0x7F && !std::isalnum(static_cast<int>(c));
    const auto category = utf8proc_category(value(c));
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
  };
  return !text.empty() && std::ranges::all_of(code_points(text), is_mark);
}

std::string fold_case(std::string_view text) {
  const auto options = static_cast<utf8proc_option_t>(
      UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE);
  utf8proc_uint8_t* folded = nullptr;
  const auto size =
      utf8proc_map(bytes(text), static_cast<utf8proc_ssize_t>(text.size()), &folded, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(folded, &std::free);
  if (size < 0) return std::string(text);
  return {reinterpret_cast<const char*>(folded), static_cast<std::size_t>(size)};
}

}  // namespace regard::cli
