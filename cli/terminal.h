// cli/terminal.h - what standard output can show, and lines that fit it.
#pragma once

#include <string>
#include <string_view>

namespace regard::cli {

struct Terminal {
  int width = 80;
  bool colour = false;
  bool unicode = true;  ///< false: bars and arrows in ASCII

  std::string_view ellipsis() const { return unicode ? "…" : "..."; }
  std::string_view arrow() const { return unicode ? "→" : "->"; }
  std::string_view times() const { return unicode ? "×" : "x"; }
};

/// Width: COLUMNS, else the terminal's own, else 80. Colour: a terminal, no NO_COLOR, TERM not
/// "dumb". Unicode: the locale's variables say UTF-8 (they are read, not setlocale: the locale they
/// name need not be installed).
Terminal standard_output();

enum class Style { kPlain, kBold, kDim, kBar };

/// One line, built from left to right, that never exceeds the terminal's width.
class Line {
 public:
  explicit Line(const Terminal& terminal) : terminal_(terminal) {}

  /// Adds text that printable() has seen; what does not fit is clipped.
  Line& add(std::string_view text, Style style = Style::kPlain);
  /// Whether the text would be added whole.
  bool fits(std::string_view text) const;
  /// The same, its last column before `end`.
  Line& add_right(std::string_view text, int end, Style style = Style::kPlain);
  /// A bar of up to `width` columns for share in [0, 1], in eighths of a column; padded to `width`.
  Line& add_bar(double share, int width);
  /// Adds spaces up to a column.
  Line& pad_to(int column);

  /// The line with its line end, without trailing spaces.
  std::string str() const;

 private:
  const Terminal& terminal_;
  std::string text_;
  std::string spaces_;  // not written before something follows them
  int width_ = 0;
};

}  // namespace regard::cli
