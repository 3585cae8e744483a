// src/model/unicode.cc - UTF-8, and what Hugging Face's tokenizers know of each code point.
#include "model/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <span>

#include "model/unicode_table.h"

namespace regard::model {
namespace {

// The rules by which utf8proc's categories give flags; tools/make_unicode_table.py holds the same
// ones.
std::uint8_t flags_by_rule(char32_t c) {
  const int category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  const auto within = [category](int first, int last) {
    return first <= category && category <= last;
  };
  const bool line_break = c == '\t' || c == '\n' || c == '\r';
  int flags = 0;
  if (c == 0 || c == 0xFFFD ||
      (within(UTF8PROC_CATEGORY_CC, UTF8PROC_CATEGORY_CO) && !line_break)) {
    flags |= kControl;
  }
  if (within(UTF8PROC_CATEGORY_ZS, UTF8PROC_CATEGORY_ZP) || (c >= 9 && c <= 13) || c == 0x85) {
    flags |= kWhitespace;
  }
  if (within(UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO) ||
      (c < 0x80 && within(UTF8PROC_CATEGORY_SM, UTF8PROC_CATEGORY_SK))) {
    flags |= kPunctuation;
  }
  if (category == UTF8PROC_CATEGORY_MN) flags |= kNonspacingMark;
  if (within(UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_NL) || category == UTF8PROC_CATEGORY_PC ||
      c == 0x200C || c == 0x200D) {
    flags |= kWord;
  }
  return static_cast<std::uint8_t>(flags);
}

const unicode_table::Properties* find_properties(char32_t c) {
  const auto& table = unicode_table::kProperties;
  if (c < table.front().first) return nullptr;
  const auto after = std::upper_bound(
      table.begin(), table.end(), c,
      [](char32_t value, const unicode_table::Properties& run) { return value < run.first; });
  const auto* run = &*(after - 1);
  return c <= run->last ? run : nullptr;
}

std::uint8_t flags_by_tables(char32_t c) {
  const auto* run = find_properties(c);
  return run != nullptr ? run->flags : flags_by_rule(c);
}

bool is_in(std::span<const unicode_table::Run> runs, char32_t c) {
  if (c < runs.front().first) return false;
  return c <= (std::ranges::upper_bound(runs, c, {}, &unicode_table::Run::first) - 1)->last;
}

bool is_number_to_utf8proc(char32_t c) {
  const int category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

CodePoints one(char32_t c) { return {{c}, 1}; }

std::optional<CodePoints> find_mapping(std::span<const unicode_table::Mapping> table, char32_t c) {
  const auto found = std::lower_bound(
      table.begin(), table.end(), c,
      [](const unicode_table::Mapping& row, char32_t value) { return row.code_point < value; });
  if (found == table.end() || found->code_point != c) return std::nullopt;
  CodePoints mapped{found->to, 0};
  while (mapped.size < mapped.at.size() && mapped.at[mapped.size] != 0) ++mapped.size;
  return mapped;
}

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

/// `size` bytes, at least 1, that begin a code point of `whole` bytes; 0 where they begin none.
struct FirstCodePoint {
  std::size_t size, whole;
};

FirstCodePoint first_code_point(std::string_view bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const int lead = byte(0);
  if (lead < 0x80) return {1, 1};
  if (lead < 0xC2 || lead > 0xF4) return {1, 0};
  const std::size_t whole = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte must not make it overlong, a surrogate or greater than U+10FFFF.
  int least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  int most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  std::size_t size = 1;
  while (size < std::min(whole, bytes.size()) && byte(size) >= least && byte(size) <= most) {
    ++size;
    least = 0x80;
    most = 0xBF;
  }
  return {size, whole};
}

const auto* bytes_of(std::string_view text) {
  return reinterpret_cast<const utf8proc_uint8_t*>(text.data());
}

}  // namespace

std::uint8_t code_point_flags(char32_t c) {
  static const auto ascii = [] {
    std::array<std::uint8_t, 0x80> table{};
    for (std::size_t i = 0; i < table.size(); ++i)
      table[i] = flags_by_tables(static_cast<char32_t>(i));
    return table;
  }();
  return c < ascii.size() ? ascii[c] : flags_by_tables(c);
}

std::uint8_t combining_class(char32_t c) {
  if (const auto* run = find_properties(c)) return run->combining_class;
  return static_cast<std::uint8_t>(
      utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class);
}

bool is_ideograph(char32_t c) {
  // The blocks that BERT's authors listed; U+2B820..U+2B91F is missing in Hugging Face's copy of
  // the list.
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
         (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x2F800 && c <= 0x2FA1F);
}

CodePoints decompose(char32_t c) {
  if (c < 0x80) return one(c);
  if (const auto mapped = find_mapping(unicode_table::kDecompositions, c)) return *mapped;
  std::array<utf8proc_int32_t, 4> buffer{};
  int boundary = 0;
  const auto size = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), buffer.data(), 4,
                                            UTF8PROC_DECOMPOSE, &boundary);
  if (size < 1 || size > 4) return one(c);
  CodePoints parts;
  parts.size = static_cast<std::size_t>(size);
  std::transform(buffer.begin(), buffer.end(), parts.at.begin(),
                 [](utf8proc_int32_t part) { return static_cast<char32_t>(part); });
  return parts;
}

CodePoints lowercase(char32_t c) {
  if (c < 0x80) return one(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  if (const auto mapped = find_mapping(unicode_table::kLowercase, c)) return *mapped;
  return one(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    utf8proc_int32_t c = 0;
    const auto size =
        utf8proc_iterate(bytes_of(text) + at, static_cast<utf8proc_ssize_t>(text.size() - at), &c);
    if (size < 1) return at;
    at += static_cast<std::size_t>(size);
  }
  return std::nullopt;
}

char32_t next_code_point(std::string_view text, std::size_t& at) {
  if (const auto byte = static_cast<unsigned char>(text[at]); byte < 0x80) {
    ++at;
    return byte;
  }
  utf8proc_int32_t c = 0;
  const auto size =
      utf8proc_iterate(bytes_of(text) + at, static_cast<utf8proc_ssize_t>(text.size() - at), &c);
  at += static_cast<std::size_t>(std::max<utf8proc_ssize_t>(size, 1));
  return static_cast<char32_t>(c);
}

char32_t previous_code_point(std::string_view text, std::size_t& end) {
  do {
    --end;
  } while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
  std::size_t at = end;
  return next_code_point(text, at);
}

void append_utf8(std::string& text, char32_t c) {
  if (c < 0x80) {
    text.push_back(static_cast<char>(c));
    return;
  }
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes.data());
  text.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(size));
}

bool is_letter(char32_t c) {
  const int category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
         is_in(unicode_table::kLetters, c);
}

bool is_number(char32_t c) { return is_number_to_utf8proc(c) || is_in(unicode_table::kNumbers, c); }

bool is_digit(char32_t c) { return is_number_to_utf8proc(c) || is_in(unicode_table::kDigits, c); }

char32_t compose(char32_t a, char32_t b) {
  constexpr char32_t kHangulTBase = 0x11A7;  // no character, which utf8proc swallows
  if (b == kHangulTBase) return 0;
  std::array<utf8proc_int32_t, 2> pair{static_cast<utf8proc_int32_t>(a),
                                       static_cast<utf8proc_int32_t>(b)};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  if (utf8proc_normalize_utf32(pair.data(), 2, options) != 1) return 0;
  const auto composed = static_cast<char32_t>(pair[0]);
  // utf8proc's Unicode is newer than that of the reference, which leaves what it does not know.
  return decompose(composed).size > 1 ? composed : 0;
}

std::size_t append_lossy(std::string& text, std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const auto [size, whole] = first_code_point(bytes.substr(at));
    const bool is_open = size < whole && at + size == bytes.size();
    if (is_open) break;
    text += size == whole ? bytes.substr(at, size) : kReplacement;
    at += size;
  }
  return bytes.size() - at;
}

}  // namespace regard::model
