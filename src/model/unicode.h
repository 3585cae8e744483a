// src/model/unicode.h - UTF-8, and what Hugging Face's tokenizers know of each code point.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace regard::model {

// The functions below answer as the `tokenizers` library does, whose parts follow Unicode 8 to 17:
// utf8proc's tables, corrected by unicode_table.h. Any value may be asked about; one that is no
// code point has no flag and maps to itself.

enum CodePointFlag : std::uint8_t {
  kControl = 1,         ///< removed by BertNormalizer's clean_text
  kWhitespace = 2,      ///< Unicode White_Space
  kPunctuation = 4,     ///< BertPreTokenizer makes it a word of its own
  kNonspacingMark = 8,  ///< removed by strip_accents
  kWord = 16,           ///< \w of a regular expression
};

/// The flags of c, or-ed.
std::uint8_t code_point_flags(char32_t c);

/// \p{L} and \p{N} of a regular expression.
bool is_letter(char32_t c);
bool is_number(char32_t c);
/// What the pre-tokeniser Digits takes for one.
bool is_digit(char32_t c);

/// What a followed by b composes to (NFC); 0 where nothing does.
char32_t compose(char32_t a, char32_t b);

/// Canonical combining class of a code point that does not decompose further.
std::uint8_t combining_class(char32_t c);

/// BertNormalizer's handle_chinese_chars puts spaces round it.
bool is_ideograph(char32_t c);

/// What one code point becomes: at[0], ..., at[size - 1].
struct CodePoints {
  std::array<char32_t, 4> at{};
  std::size_t size = 0;
};

/// Full canonical decomposition, Hangul syllables included; not reordered.
CodePoints decompose(char32_t c);

/// Lower case without context: final sigma is not special, U+0130 becomes two code points.
CodePoints lowercase(char32_t c);

/// The place of the first byte that is not UTF-8 (overlong forms and surrogates are not).
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

/// The code point that begins at byte `at` of valid UTF-8; moves `at` past it.
char32_t next_code_point(std::string_view text, std::size_t& at);

/// The code point that ends at byte `end` (> 0) of valid UTF-8; moves `end` before it.
char32_t previous_code_point(std::string_view text, std::size_t& end);

void append_utf8(std::string& text, char32_t c);

/// Appends bytes that may not be UTF-8: U+FFFD for each byte that begins no code point and for each
/// longest beginning of one that breaks off. One that the last bytes begin may go on: it is left
/// out, and its size returned.
std::size_t append_lossy(std::string& text, std::string_view bytes);

}  // namespace regard::model
