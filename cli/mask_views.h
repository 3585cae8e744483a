// cli/mask_views.h - a drawn mask as text for a terminal, as JSON and as a picture.
#pragma once

#include <string>

#include "cli/mask_drawing.h"
#include "cli/terminal.h"

namespace regard::cli {

/// Columns that a text needs beside the characters of the drawing.
std::int64_t mask_label_width(const MaskExtent& extent);

std::string mask_text(const MaskDrawing& drawing, const Terminal& terminal);
/// Schema regard.mask/1 (docs/mask.schema.json).
std::string mask_json(const MaskDrawing& drawing);
/// One SVG file, which refers to no other.
std::string mask_svg(const MaskDrawing& drawing);

}  // namespace regard::cli
