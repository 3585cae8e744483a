// cli/mask.cc - regard mask: which query sees which key, drawn and counted.
#include <algorithm>
#include <optional>

#include "cli/command.h"
#include "cli/mask_options.h"
#include "cli/mask_views.h"
#include "cli/output.h"

namespace regard::cli {
namespace {

constexpr std::int64_t kMostRows = 64, kMostColumns = 64, kLeastColumns = 8;

void write(const std::string& path, const std::string& text) {
  Output output(path);
  output.write(text);
  output.commit();
}

/// Files do not depend on the terminal that they were made in.
void write_files(const MaskOptions& options) {
  if ((options.json + options.svg).empty()) return;
  const std::int64_t fitting = fitting_tile(options.extent, kMostRows, kMostColumns);
  const MaskDrawing drawing = draw(options.mask, options.extent, options.tile.value_or(fitting));
  if (!options.svg.empty()) write(options.svg, mask_svg(drawing));
  if (!options.json.empty()) write(options.json, mask_json(drawing));
}

}  // namespace

void mask(std::span<const char* const> arguments) {
  MaskOptions options;
  if (!options.parse(arguments)) return;
  write_files(options);
  if (options.writes_standard_output()) return;
  const Terminal terminal = standard_output();
  const std::int64_t columns =
      std::clamp(terminal.width - mask_label_width(options.extent), kLeastColumns, kMostColumns);
  const std::int64_t fitting = fitting_tile(options.extent, kMostRows, columns);
  const MaskDrawing drawing = draw(options.mask, options.extent, options.tile.value_or(fitting));
  print(mask_text(drawing, terminal));
}

}  // namespace regard::cli
