// cli/look_page.h - the page of `regard look --html` in two halves; the data goes between them.
#pragma once

#include <string_view>

namespace regard::cli {

extern const std::string_view page_head;
extern const std::string_view page_tail;

}  // namespace regard::cli
