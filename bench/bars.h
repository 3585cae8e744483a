// bench/bars.h - how much of a limit is enough: the table of bars, as data.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace regard::bench {

/// The bar of all cases whose name matches `cases` and no earlier bar's.
struct Bar {
  const char* work;      ///< cases of the same work stand together in the table
  const char* cases;     ///< a shell pattern
  double bar;            ///< value / limit that is asked for
  double beyond;         ///< that is aimed at
  bool at_most = false;  ///< less is better

  bool met(double ratio) const { return at_most ? ratio <= bar : ratio >= bar; }
  bool surpassed(double ratio) const { return at_most ? ratio <= beyond : ratio >= beyond; }
};

std::span<const Bar> bars();

/// Throws std::logic_error for a case without one.
const Bar& bar_of(const std::string& name);

/// Shell patterns: *, ?, [...].
bool matches(const char* pattern, const std::string& name);

}  // namespace regard::bench
