// tests/fuzz/mask_text_fuzz.cc - any bytes as a mask's text: a mask, or three lines that say why
// not.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include "regard/mask_text.h"

namespace {

constexpr std::int64_t kQueries[] = {-1099511627776, -1, 0, 1, 63, 1099511627776};

void check(const regard::AnyMask& mask) {
  for (const std::int64_t q : kQueries) {
    const std::uint64_t bits = mask.row_bits(q, q - 20);
    const regard::TileKind kind = mask.classify({q, q + 1, q - 20, q + 44});
    if (kind == regard::TileKind::kEmpty && bits != 0) std::abort();
    if (kind == regard::TileKind::kFull && ~bits != 0) std::abort();
    if ((bits >> 20 & 1) != (mask.allows(q, q) ? 1U : 0U)) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    check(regard::parse_mask(text));
  } catch (const std::invalid_argument& error) {
    const std::string_view message = error.what();
    if (!message.starts_with("mask: column ") || message.size() > 500) std::abort();
    if (std::ranges::count(message, '\n') != 2) std::abort();
    for (const char c : message) {
      if ((c < ' ' && c != '\n') || c > '~') std::abort();
    }
  }
  return 0;
}
