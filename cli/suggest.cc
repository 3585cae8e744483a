// cli/suggest.cc - "did you mean": the nearest name of those that exist.
#include "cli/suggest.h"

#include <algorithm>
#include <vector>

#include "cli/unicode.h"

namespace regard::cli {
namespace {

constexpr std::size_t kLongestName = 64;  // time grows with the square

/// Optimal string alignment distance (Damerau 1964, without edits inside a swap).
std::size_t edit_distance(std::u32string_view a, std::u32string_view b) {
  std::vector<std::size_t> before(b.size() + 1), previous(b.size() + 1), current(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      current[j] = std::min({replace, previous[j] + 1, current[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        current[j] = std::min(current[j], before[j - 2] + 1);
      }
    }
    std::swap(before, previous);
    std::swap(previous, current);
  }
  return previous[b.size()];
}

/// What is compared: the dashes of an option are no part of its name.
std::u32string name_of(std::string_view word) {
  word.remove_prefix(std::min(word.find_first_not_of('-'), word.size()));
  return code_points(fold_case(word.substr(0, 4 * kLongestName)));
}

}  // namespace

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  const std::u32string wanted = name_of(word);
  if (wanted.empty() || wanted.size() > kLongestName) return "";
  std::string best;
  std::size_t fewest = kLongestName;
  for (const std::string& candidate : candidates) {
    const std::u32string name = name_of(candidate);
    if (name.size() > kLongestName) continue;
    const std::size_t edits = edit_distance(wanted, name);
    if (edits < fewest && 3 * edits <= std::max(wanted.size(), name.size())) {
      fewest = edits;
      best = candidate;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  const std::string name = nearest(word, candidates);
  return name.empty() ? "" : "; did you mean \"" + name + "\"?";
}

}  // namespace regard::cli
