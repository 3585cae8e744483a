// cli/unicode.h - text as a terminal shows it: what may be printed, how wide it is.
#pragma once

#include <string>
#include <string_view>

namespace regard::cli {

/// `text` fit to stand within one line of a terminal: tabs and line ends become spaces; controls
/// and invisible format characters (direction overrides among them) are dropped; what is no
/// character becomes U+FFFD. After right-to-left letters stands a left-to-right mark, lest they
/// reorder the columns beside them.
std::string printable(std::string_view text);

/// Columns that printable text takes.
int display_width(std::string_view text);

/// The longest beginning of printable text that takes at most `width` columns, whole graphemes;
/// when something is left off it ends in `ellipsis` where that fits.
std::string clip(std::string_view text, int width, std::string_view ellipsis);

/// Whether every character is punctuation or an ASCII symbol, as BERT's pre-tokeniser has it; false
/// for "".
bool is_punctuation(std::string_view text);

/// Without differences of case or compatibility (NFKC_Casefold).
std::string fold_case(std::string_view text);

/// The code points of the text; what is no UTF-8 becomes U+FFFD.
std::u32string code_points(std::string_view text);

}  // namespace regard::cli
