// cli/mask_options.h - the arguments of regard mask, checked.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "cli/mask_drawing.h"

namespace regard::cli {

/// parse_mask. Throws UsageError that shows where the text goes wrong.
AnyMask read_mask(const std::string& text);

struct MaskOptions {
  AnyMask mask;
  MaskExtent extent{};
  std::optional<std::int64_t> tile;
  std::string json, svg;

  /// False when help was asked for and has been printed. Throws UsageError.
  bool parse(std::span<const char* const> arguments);
  /// Whether something else than the drawing goes to standard output.
  bool writes_standard_output() const { return json == "-" || svg == "-"; }
};

}  // namespace regard::cli
