// src/model/compose.h - canonical composition (NFC), with the place each byte came from.
#pragma once

#include <cstddef>
#include <string_view>

#include "model/normalized_text.h"

namespace regard::model {

/// Whether NFC surely leaves valid UTF-8 as it is: it holds nothing from U+0300 on.
bool is_composed(std::string_view text);

/// NFC of valid UTF-8 that begins at byte `offset` of the original. Sources are those that
/// `tokenizers` gives: a composed character has the place of its first part, a part that was
/// inserted that of the one before it. O(n log n).
NormalizedText compose(std::string_view text, std::size_t offset);

}  // namespace regard::model
