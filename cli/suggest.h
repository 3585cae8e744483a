// cli/suggest.h - "did you mean": the nearest name of those that exist.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace regard::cli {

/// The candidate with the fewest edits (insert, delete, replace, swap of neighbours; case does not
/// count) from `word`, the first of equals; "" when even that one is no likely slip: more than a
/// third of the longer name.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

/// `; did you mean "bank"?`, or "" when nothing is near.
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

}  // namespace regard::cli
