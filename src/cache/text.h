// src/cache/text.h - anybody's bytes in an error message: short, and on one line.
#pragma once

#include <algorithm>
#include <string>

namespace regard::cache {

/// In quotation marks; what is no printable ASCII becomes a question mark, and a long text ends in
/// dots.
inline std::string in_quotes(const std::string& text) {
  constexpr std::size_t kMost = 80;
  std::string shown = text.substr(0, kMost);
  std::ranges::replace_if(shown, [](char c) { return c < ' ' || c > '~'; }, '?');
  return '"' + shown + (text.size() > kMost ? "...\"" : "\"");
}

}  // namespace regard::cache
