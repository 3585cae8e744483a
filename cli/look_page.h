// cli/look_page.h - the page of `regard look --html` in two halves; the data goes between them.
#pragma once

#include <string_view>

namespace regard::cli {

extern const std::string_view kPageHead;
extern const std::string_view kPageTail;

}  // namespace regard::cli
