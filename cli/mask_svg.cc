// cli/mask_svg.cc - a drawn mask as a picture: squares, the positions beside them, a legend.
#include <algorithm>
#include <sstream>

#include "cli/mask_views.h"

namespace regard::cli {
namespace {

constexpr std::int64_t kSide = 640, kLargestCell = 24;  // pixels
constexpr std::int64_t kSmallestGridCell = 5;           // below it lines would hide the squares
constexpr std::int64_t kTop = 60, kLeft = 76, kBelow = 62, kRight = 24, kLeastWidth = 460;
constexpr std::int64_t kTickPixels = 56;  // from number to number, about
constexpr std::size_t kMostTitle = 72;
constexpr const char* kFullColour = "#1d5a96";
constexpr const char* kPartialColour = "#8ab8e0";
constexpr const char* kEmptyColour = "#eceff2";

struct Layout {
  explicit Layout(const MaskDrawing& drawing)
      : rows(static_cast<std::int64_t>(drawing.rows.size())),
        columns(static_cast<std::int64_t>(drawing.rows.front().size())),
        cell(std::clamp<std::int64_t>(kSide / std::max(rows, columns), 1, kLargestCell)),
        width(std::max(kLeft + columns * cell + kRight, kLeastWidth)),
        height(kTop + rows * cell + kBelow) {}
  std::int64_t rows, columns, cell, width, height;
};

/// What a mask's description holds of XML's own characters.
std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '&' ? "&amp;" : std::string(1, c);
  return result;
}

std::string number(const char* name, std::int64_t value) {
  return std::string(" ") + name + "=\"" + std::to_string(value) + "\"";
}

std::string rect(std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height,
                 const std::string& fill) {
  return "<rect" + number("x", x) + number("y", y) + number("width", width) +
         number("height", height) + " fill=\"" + fill + "\"/>\n";
}

std::string label(std::int64_t x, std::int64_t y, const std::string& style,
                  const std::string& text) {
  return "<text" + number("x", x) + number("y", y) + style + ">" + escaped(text) + "</text>\n";
}

/// Runs of equal characters, each one rectangle.
std::string squares(const MaskDrawing& drawing, const Layout& at) {
  std::string svg = rect(kLeft, kTop, at.columns * at.cell, at.rows * at.cell, kEmptyColour);
  for (std::int64_t i = 0; i < at.rows; ++i) {
    const std::string& row = drawing.rows[static_cast<std::size_t>(i)];
    for (std::size_t begin = 0, end; begin < row.size(); begin = end) {
      end = std::min(row.find_first_not_of(row[begin], begin), row.size());
      if (row[begin] == MaskDrawing::kEmpty) continue;
      svg += rect(kLeft + static_cast<std::int64_t>(begin) * at.cell, kTop + i * at.cell,
                  static_cast<std::int64_t>(end - begin) * at.cell, at.cell,
                  row[begin] == MaskDrawing::kFull ? kFullColour : kPartialColour);
    }
  }
  return svg;
}

/// Lines between the squares, where there is room for them.
std::string grid(const Layout& at) {
  if (at.cell < kSmallestGridCell) return "";
  std::ostringstream svg;
  svg << "<path d=\"";
  for (std::int64_t i = 1; i < at.rows; ++i)
    svg << "M" << kLeft << " " << kTop + i * at.cell << "h" << at.columns * at.cell;
  for (std::int64_t j = 1; j < at.columns; ++j)
    svg << "M" << kLeft + j * at.cell << " " << kTop << "v" << at.rows * at.cell;
  svg << "\" stroke=\"#fff\"/>\n";
  return svg.str();
}

std::string positions(const MaskDrawing& drawing, const Layout& at) {
  std::int64_t step = 1;
  while (step * at.cell < kTickPixels) step *= 2;
  std::string svg = label(kLeft, kTop - 22, " fill=\"#555\"", "keys");
  svg += label(kLeft - 8, kTop - 6, " fill=\"#555\" text-anchor=\"end\"", "queries");
  for (std::int64_t j = 0; j < at.columns; j += step)
    svg += label(kLeft + j * at.cell, kTop - 6, "", std::to_string(j * drawing.tile));
  for (std::int64_t i = 0; i < at.rows; i += step)
    svg +=
        label(kLeft - 8, kTop + i * at.cell + std::max<std::int64_t>(at.cell / 2 + 4, 10),
              " text-anchor=\"end\"", std::to_string(drawing.extent.q_offset + i * drawing.tile));
  return svg;
}

std::string key(const MaskDrawing& drawing, const Layout& at) {
  const std::int64_t y = kTop + at.rows * at.cell + 24;
  const std::string tile = std::to_string(drawing.tile);
  std::string svg;
  std::int64_t x = kLeft;
  const auto entry = [&](const char* colour, const char* word) {
    svg += rect(x, y - 10, 12, 12, colour) + label(x + 18, y, "", word);
    x += 84;
  };
  entry(kFullColour, drawing.tile == 1 ? "sees" : "all see");
  if (drawing.tile > 1) entry(kPartialColour, "some see");
  entry(kEmptyColour, drawing.tile == 1 ? "does not" : "none sees");
  if (drawing.tile > 1) svg += label(x, y, "", "squares of " + tile + " x " + tile + " pairs");
  return svg + label(kLeft, y + 24, "",
                     std::to_string(drawing.allowed) + " of " + std::to_string(drawing.pairs()) +
                         " pairs allowed");
}

}  // namespace

std::string mask_svg(const MaskDrawing& drawing) {
  const Layout at(drawing);
  const bool is_long = drawing.mask.size() > kMostTitle;
  const std::string title = drawing.mask.substr(0, kMostTitle) + (is_long ? "..." : "");
  const std::string width = std::to_string(at.width), height = std::to_string(at.height);
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + width + "\" height=\"" + height +
         "\" viewBox=\"0 0 " + width + " " + height +
         "\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#222\">\n"
         "<title>" +
         escaped(title) + "</title>\n" + rect(0, 0, at.width, at.height, "#fff") +
         label(16, 22, " font-size=\"14\" font-weight=\"600\"", title) + positions(drawing, at) +
         squares(drawing, at) + grid(at) + key(drawing, at) + "</svg>\n";
}

}  // namespace regard::cli
