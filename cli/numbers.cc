// cli/numbers.cc - numbers as people read them: three digits, a prefix, a unit.
#include "cli/numbers.h"

#include <array>
#include <cstdio>
#include <utility>

namespace regard::cli {
namespace {

/// x in the largest unit of which it is at least one, or nearly.
template <std::size_t kUnits>
std::string scaled(double x, double base, const std::array<const char*, kUnits>& units) {
  std::size_t i = 0;
  for (; x >= base * 0.9995 && i + 1 < kUnits; ++i) x /= base;
  char text[48];
  std::snprintf(text, sizeof text, x >= 999.5 ? "%.0f%s" : "%.3g%s", x, units[i]);
  return text;
}

}  // namespace

std::string number(double x, int decimals) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", decimals, x);
  return text;
}

std::string number(double x) { return number(x, x >= 100 ? 0 : x >= 10 ? 1 : 2); }

std::string with_prefix(double x) {
  return scaled<7>(x, 1000, {" ", " k", " M", " G", " T", " P", " E"});
}

std::string tokens_number(double x) { return scaled<5>(x, 1024, {"", "K", "M", "B", "T"}); }

std::string bytes_number(double x) {
  return scaled<7>(x, 1024, {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"});
}

std::string time_number(double seconds) {
  constexpr std::array<std::pair<double, const char*>, 5> kUnits{
      {{86'400, " days"}, {3600, " h"}, {60, " min"}, {1, " s"}, {1e-3, " ms"}}};
  for (const auto& [unit, name] : kUnits) {
    const bool waits_for_two = unit > 1;  // "90 s" rather than "1.5 min"
    if (seconds >= unit * (waits_for_two ? 2 : 0.9995)) return number(seconds / unit) + name;
  }
  return number(seconds * 1e6) + " us";
}

}  // namespace regard::cli
