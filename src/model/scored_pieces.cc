// src/model/scored_pieces.cc - SentencePiece's byte pair encoding.
#include "model/scored_pieces.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "model/byte_pairs.h"
#include "model/unicode.h"

namespace regard::model {

ScoredPieces::ScoredPieces(const std::vector<std::string>& pieces,
                           const std::vector<double>& scores) {
  std::vector<double> falling = scores;
  std::ranges::sort(falling, std::greater<>());
  falling.erase(std::unique(falling.begin(), falling.end()), falling.end());
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (const auto byte = byte_of_token(pieces[i])) {
      bytes_[static_cast<unsigned char>(*byte)] = id;
    } else if (!pieces[i].empty()) {
      const auto rank = std::ranges::lower_bound(falling, scores[i], std::greater<>());
      pieces_.try_emplace(pieces[i], Merge{static_cast<std::int32_t>(rank - falling.begin()), id});
      longest_ = std::max(longest_, pieces[i].size());
    }
  }
}

void ScoredPieces::split(std::string_view word, std::vector<WordToken>& tokens) const {
  const auto find = [&](std::size_t begin, std::size_t size) -> std::optional<Merge> {
    if (size > longest_) return std::nullopt;
    const auto found = pieces_.find(word.substr(begin, size));
    return found == pieces_.end() ? std::nullopt : std::optional(found->second);
  };
  Symbols symbols(word.size());
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t begin = at;
    next_code_point(word, at);
    const auto piece = find(begin, at - begin);
    symbols.add(piece ? piece->id : -1, at - begin);
  }
  symbols.merge([&](const auto& left, const auto& right) {
    return find(left.begin, left.size + right.size);
  });
  symbols.for_each([&](const auto& symbol) {
    if (symbol.id >= 0) return tokens.push_back({symbol.id, symbol.size});
    for (const char byte : word.substr(symbol.begin, symbol.size))
      tokens.push_back({bytes_[static_cast<unsigned char>(byte)], 1});
  });
}

}  // namespace regard::model
