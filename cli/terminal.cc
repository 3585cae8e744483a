// cli/terminal.cc - what standard output can show, and lines that fit it.
#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "cli/unicode.h"

namespace regard::cli {
namespace {

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int terminal_width() {
  const std::string_view columns = environment("COLUMNS");
  int width = 0;
  const auto [end, error] = std::from_chars(columns.data(), columns.data() + columns.size(), width);
  if (error == std::errc{} && end == columns.data() + columns.size() && width > 0) return width;
  struct winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {  // the first that is set decides
    const std::string_view locale = environment(name);
    if (locale.empty()) continue;
    const std::string folded = fold_case(locale);
    return folded.find("utf-8") != std::string::npos || folded.find("utf8") != std::string::npos;
  }
  return false;
}

std::string_view escape(Style style) {
  switch (style) {
    case Style::kBold:
      return "\033[1m";
    case Style::kDim:
      return "\033[2m";
    case Style::kBar:
      return "\033[36m";
    case Style::kPlain:
      break;
  }
  return "";
}

}  // namespace

Terminal standard_output() {
  return {.width = terminal_width(),
          .colour = ::isatty(STDOUT_FILENO) != 0 && environment("NO_COLOR").empty() &&
                    environment("TERM") != "dumb",
          .unicode = locale_is_utf8()};
}

Line& Line::add(std::string_view text, Style style) {
  const std::string fitting = clip(text, terminal_.width - width_, terminal_.ellipsis());
  const auto content = fitting.find_first_not_of(' ');
  width_ += display_width(fitting);
  if (content == std::string::npos) {
    spaces_ += fitting;
    return *this;
  }
  const std::string_view code = terminal_.colour ? escape(style) : "";
  text_ += spaces_;
  spaces_.clear();
  text_ += code;
  text_ += fitting;
  if (!code.empty()) text_ += "\033[0m";
  return *this;
}

bool Line::fits(std::string_view text) const {
  return width_ + display_width(text) <= terminal_.width;
}

Line& Line::add_right(std::string_view text, int end, Style style) {
  return pad_to(end - display_width(text)).add(text, style);
}

Line& Line::add_bar(double share, int width) {
  static constexpr std::array<std::string_view, 8> kEighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int end = width_ + width;
  const double columns = std::clamp(share, 0.0, 1.0) * width;
  std::string bar;
  if (terminal_.unicode) {
    const auto eighths = static_cast<std::size_t>(std::lround(8 * columns));
    for (std::size_t i = 0; i < eighths / 8; ++i) bar += "█";
    bar += kEighths[eighths % 8];
  } else {
    bar.assign(static_cast<std::size_t>(std::lround(columns)), '#');
  }
  return add(bar, Style::kBar).pad_to(end);
}

Line& Line::pad_to(int column) {
  column = std::min(column, terminal_.width);
  if (column > width_) add(std::string(static_cast<std::size_t>(column - width_), ' '));
  return *this;
}

std::string Line::str() const { return text_ + "\n"; }

}  // namespace regard::cli
