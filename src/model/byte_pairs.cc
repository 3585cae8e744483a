// src/model/byte_pairs.cc - byte pair encoding by a list of merges.
#include "model/byte_pairs.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include "model/json.h"
#include "model/unicode.h"

namespace regard::model {
namespace {

/// bytes_to_unicode of GPT-2: printable bytes are themselves, the others follow from U+0100 on.
std::array<char32_t, 256> characters() {
  std::array<char32_t, 256> of{};
  char32_t next = 256;
  for (std::size_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    of[b] = printable ? static_cast<char32_t>(b) : next++;
  }
  return of;
}

}  // namespace

std::optional<std::string> bytes_of_piece(std::string_view piece) {
  static const std::unordered_map<char32_t, char> bytes = [] {
    std::unordered_map<char32_t, char> map;
    const auto of = characters();
    for (std::size_t b = 0; b < 256; ++b) map[of[b]] = static_cast<char>(b);
    return map;
  }();
  std::string result;
  for (std::size_t at = 0; at < piece.size();) {
    const auto found = bytes.find(next_code_point(piece, at));
    if (found == bytes.end()) return std::nullopt;
    result += found->second;
  }
  return result;
}

std::string byte_token(unsigned char byte) {
  char text[8];
  std::snprintf(text, sizeof text, "<0x%02X>", byte);
  return text;
}

std::optional<char> byte_of_token(std::string_view piece) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') return std::nullopt;
  const auto high = kDigits.find(piece[3]), low = kDigits.find(piece[4]);
  if (high == kDigits.npos || low == kDigits.npos) return std::nullopt;
  return static_cast<char>(16 * high + low);
}

BytePairs::BytePairs(const std::vector<std::string>& pieces, const Merges& merges,
                     const PairOptions& options)
    : options_(options) {
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    if (!pieces[id].empty()) ids_.try_emplace(pieces[id], static_cast<std::int32_t>(id));
  }
  const auto id_of = [&](const std::string& piece) {
    if (const std::int32_t id = find(piece); id >= 0) return id;
    throw std::invalid_argument(in_quotes(piece) +
                                " is no token, expected every part of a merge to be one");
  };
  for (std::size_t b = 0; b < 256; ++b) {
    const auto byte = static_cast<unsigned char>(b);
    bytes_[b] =
        find(options.characters ? byte_token(byte) : std::string(1, static_cast<char>(byte)));
  }
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    merges_.try_emplace(pair(id_of(left), id_of(right)),
                        Merge{static_cast<std::int32_t>(rank), id_of(left + right)});
  }
}

std::int32_t BytePairs::find(std::string_view piece) const {
  const auto found = ids_.find(std::string(piece));
  return found == ids_.end() ? -1 : found->second;
}

void BytePairs::add_characters(std::string_view word, Symbols& symbols) const {
  bool unknown = false;  // whether the last one was
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t begin = at;
    next_code_point(word, at);
    const std::string_view character = word.substr(begin, at - begin);
    const std::int32_t id = find(character);
    const bool was_unknown = std::exchange(unknown, id < 0 && !options_.byte_fallback);
    if (id >= 0) {
      symbols.add(id, character.size());
    } else if (options_.byte_fallback) {
      for (const char byte : character) symbols.add(bytes_[static_cast<unsigned char>(byte)], 1);
    } else if (was_unknown && options_.fuse_unk) {
      symbols.extend(character.size());
    } else {
      symbols.add(options_.unk_id.value_or(-1), character.size());
    }
  }
}

void BytePairs::split(std::string_view word, std::vector<WordToken>& tokens) const {
  if (options_.ignore_merges) {
    if (const std::int32_t whole = find(word); whole >= 0)
      return tokens.push_back({whole, word.size()});
  }
  Symbols symbols(word.size());
  if (options_.characters) {
    add_characters(word, symbols);
  } else {
    for (const char byte : word) symbols.add(bytes_[static_cast<unsigned char>(byte)], 1);
  }
  symbols.merge([&](const auto& left, const auto& right) -> std::optional<Merge> {
    const auto found = merges_.find(pair(left.id, right.id));
    return found == merges_.end() ? std::nullopt : std::optional(found->second);
  });
  symbols.for_each([&](const auto& symbol) { tokens.push_back({symbol.id, symbol.size}); });
}

}  // namespace regard::model
