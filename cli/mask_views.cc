// cli/mask_views.cc - a drawn mask as text for a terminal and as JSON.
#include "cli/mask_views.h"

#include <algorithm>
#include <cstdio>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

namespace regard::cli {
namespace {

constexpr std::size_t kRulerStep = 8;  // columns from number to number; positions are shorter

std::string percent(std::int64_t part, std::int64_t whole) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g%%",
                100 * static_cast<double>(part) / static_cast<double>(whole));
  return text;
}

std::string ruler(const MaskDrawing& drawing) {
  std::string line;
  const std::size_t columns = drawing.rows.front().size();
  for (std::size_t column = 0; column < columns; column += kRulerStep) {
    line.resize(column, ' ');
    line += std::to_string(static_cast<std::int64_t>(column) * drawing.tile);
  }
  return line;
}

std::string legend(const MaskDrawing& drawing) {
  if (drawing.tile == 1) return "# the query (row) sees the key (column), . it does not";
  const std::string tile = std::to_string(drawing.tile);
  return "of " + tile + " queries (rows) x " + tile +
         " keys (columns): # all pairs allowed, + some, . none";
}

}  // namespace

std::int64_t mask_label_width(const MaskExtent& e) {
  const std::string first = std::to_string(e.q_offset);
  const std::string last = std::to_string(e.q_offset + e.num_queries - 1);
  return static_cast<std::int64_t>(std::max(first.size(), last.size())) + 2;
}

std::string mask_text(const MaskDrawing& drawing, const Terminal& terminal) {
  const auto& [full, partial, empty] = drawing.counts;
  const auto width = static_cast<int>(mask_label_width(drawing.extent));
  std::ostringstream text;
  text << Line(terminal).add(drawing.mask, Style::kBold).str() << "\n";
  text << std::setw(width) << "" << ruler(drawing) << "\n";
  std::int64_t position = drawing.extent.q_offset;
  for (const std::string& row : drawing.rows) {
    text << std::setw(width - 2) << position << "  " << row << "\n";
    position += drawing.tile;
  }
  text << "\n" << legend(drawing) << "\n";
  text << "allowed: " << drawing.allowed << " of " << drawing.pairs() << " pairs ("
       << percent(drawing.allowed, drawing.pairs()) << ")\n";
  text << "the engine's tiles: " << full << " full, " << partial << " partial, " << empty
       << " skipped (" << percent(empty, full + partial + empty) << ")\n";
  return text.str();
}

std::string mask_json(const MaskDrawing& drawing) {
  const nlohmann::ordered_json json{{"schema", "regard.mask/1"},
                                    {"mask", drawing.mask},
                                    {"n", drawing.extent.num_queries},
                                    {"kv", drawing.extent.num_keys},
                                    {"q_offset", drawing.extent.q_offset},
                                    {"pairs", drawing.pairs()},
                                    {"allowed", drawing.allowed},
                                    {"engine_tiles",
                                     {{"full", drawing.counts.full},
                                      {"partial", drawing.counts.partial},
                                      {"empty", drawing.counts.empty}}},
                                    {"tile", drawing.tile},
                                    {"rows", drawing.rows}};
  return json.dump(1) + "\n";
}

}  // namespace regard::cli
