// src/model/byte_pairs.cc - byte pair encoding over bytes.
#include "model/byte_pairs.h"

#include <algorithm>
#include <array>
#include <queue>
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

/// A symbol of a word that is being merged: a token, and its neighbours.
struct Symbol {
  std::int32_t id;
  std::int32_t previous, next;  ///< -1: none
  std::size_t size;             ///< 0: merged into another
};

struct Candidate {
  std::int32_t rank, left, left_id, right_id, id;
  bool operator>(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : left > other.left;
  }
};

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

BytePairs::BytePairs(const std::vector<std::string>& pieces,
                     const std::vector<std::pair<std::string, std::string>>& merges,
                     bool ignore_merges)
    : ignore_merges_(ignore_merges) {
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    if (!pieces[id].empty()) ids_.try_emplace(pieces[id], static_cast<std::int32_t>(id));
  }
  const auto id_of = [&](const std::string& piece) {
    const auto found = ids_.find(piece);
    if (found == ids_.end())
      throw std::invalid_argument(in_quotes(piece) +
                                  " is no token, expected every part of a merge "
                                  "to be one");
    return found->second;
  };
  for (std::size_t b = 0; b < 256; ++b) {
    const auto found = ids_.find(std::string(1, static_cast<char>(b)));
    bytes_[b] = found == ids_.end() ? -1 : found->second;
  }
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    merges_.try_emplace(pair(id_of(left), id_of(right)),
                        Merge{static_cast<std::int32_t>(rank), id_of(left + right)});
  }
}

void BytePairs::split(std::string_view word, std::vector<Part>& parts) const {
  if (ignore_merges_) {
    const auto whole = ids_.find(std::string(word));
    if (whole != ids_.end()) return parts.push_back({whole->second, word.size()});
  }
  const auto n = static_cast<std::int32_t>(word.size());
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  for (std::int32_t i = 0; i < n; ++i) {
    const auto byte = static_cast<unsigned char>(word[static_cast<std::size_t>(i)]);
    symbols.push_back({bytes_[byte], i - 1, i + 1 < n ? i + 1 : -1, 1});
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto consider = [&](std::int32_t left) {
    if (left < 0) return;
    const Symbol& a = symbols[static_cast<std::size_t>(left)];
    if (a.next < 0) return;
    const Symbol& b = symbols[static_cast<std::size_t>(a.next)];
    const auto found = merges_.find(pair(a.id, b.id));
    if (found != merges_.end())
      queue.push({found->second.rank, left, a.id, b.id, found->second.id});
  };
  for (std::int32_t i = 0; i + 1 < n; ++i) consider(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& a = symbols[static_cast<std::size_t>(best.left)];
    if (a.size == 0 || a.next < 0 || a.id != best.left_id) continue;
    Symbol& b = symbols[static_cast<std::size_t>(a.next)];
    if (b.id != best.right_id) continue;
    a.id = best.id;
    a.size += b.size;
    a.next = b.next;
    b.size = 0;
    if (a.next >= 0) symbols[static_cast<std::size_t>(a.next)].previous = best.left;
    consider(a.previous);
    consider(best.left);
  }
  for (const Symbol& symbol : symbols) {
    if (symbol.size > 0) parts.push_back({symbol.id, symbol.size});
  }
}

}  // namespace regard::model
