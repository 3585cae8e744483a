// src/model/compose.cc - canonical composition (NFC), with the place each byte came from.
#include "model/compose.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <optional>

#include "model/unicode.h"

namespace regard::model {
namespace {

constexpr char32_t kFirstThatComposes = 0x300;

/// A character on its way, and by how many the text grows with it: 1 for a later part of a
/// decomposition, one less for each part that is composed into it.
struct Part {
  char32_t code_point;
  std::uint8_t combining_class;
  std::ptrdiff_t change;
};

std::vector<Part> decompose_all(std::string_view text) {
  std::vector<Part> parts;
  parts.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const CodePoints mapped = decompose(next_code_point(text, at));
    for (std::size_t i = 0; i < mapped.size; ++i)
      parts.push_back({mapped.at[i], combining_class(mapped.at[i]), i == 0 ? 0 : 1});
  }
  const auto is_mark = [](const Part& part) { return part.combining_class != 0; };
  for (auto begin = parts.begin(); begin != parts.end();) {
    begin = std::find_if(begin, parts.end(), is_mark);
    const auto end = std::find_if_not(begin, parts.end(), is_mark);
    std::ranges::stable_sort(begin, end, {}, &Part::combining_class);
    begin = end;
  }
  return parts;
}

/// What two characters compose to.
std::optional<char32_t> composed(char32_t first, char32_t second) {
  if (second < kFirstThatComposes) return std::nullopt;
  std::array<utf8proc_int32_t, 2> pair{static_cast<utf8proc_int32_t>(first),
                                       static_cast<utf8proc_int32_t>(second)};
  const auto size = utf8proc_normalize_utf32(
      pair.data(), 2, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  return size == 1 ? std::optional(static_cast<char32_t>(pair[0])) : std::nullopt;
}

/// A starter takes in what follows, unless a mark of the same class or a later one stands between.
std::vector<Part> compose_all(const std::vector<Part>& parts) {
  constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  std::vector<Part> out;
  out.reserve(parts.size());
  std::size_t starter = kNone;
  for (const Part& part : parts) {
    const bool adjacent = starter != kNone && starter + 1 == out.size();
    const bool reaches =
        starter != kNone && (adjacent || out.back().combining_class < part.combining_class);
    if (reaches) {
      if (const auto both = composed(out[starter].code_point, part.code_point)) {
        out[starter].code_point = *both;
        out[starter].change += part.change - 1;
        continue;
      }
    }
    if (part.combining_class == 0) starter = out.size();
    out.push_back(part);
  }
  return out;
}

}  // namespace

bool is_composed(std::string_view text) {
  constexpr unsigned char kFirstByte = 0xCC;  // of U+0300
  return std::ranges::none_of(text,
                              [](char c) { return static_cast<unsigned char>(c) >= kFirstByte; });
}

NormalizedText compose(std::string_view text, std::size_t offset) {
  NormalizedText result;
  std::size_t at = 0;
  ByteRange before{offset, offset};
  const auto take = [&] {
    const std::size_t begin = at;
    if (at < text.size()) next_code_point(text, at);
    before = {offset + begin, offset + at};
    return before;
  };
  for (const Part& part : compose_all(decompose_all(text))) {
    const ByteRange source = part.change > 0 ? before : take();
    for (std::ptrdiff_t i = part.change; i < 0; ++i) take();
    append_utf8(result.text, part.code_point);
    result.source.resize(result.text.size(), source);
  }
  return result;
}

}  // namespace regard::model
