// src/model/scored_pieces.h - SentencePiece's byte pair encoding: a vocabulary with scores, no list
// of merges.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/pair_merging.h"

namespace regard::model {

class ScoredPieces {
 public:
  /// pieces[id] is UTF-8, or "" for one that text does not become; scores[id] is a number. Those
  /// such as "<0x0A>" are bytes, of which all 256 must be there.
  ScoredPieces(const std::vector<std::string>& pieces, const std::vector<double>& scores);

  /// Appends the tokens of a word: its code points, of which those neighbours become one that
  /// together are the piece of the highest score, the leftmost of equals; then the bytes of what is
  /// no piece. O(n log n).
  void split(std::string_view word, std::vector<WordToken>& tokens) const;

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, Merge, Hash, std::equal_to<>> pieces_;
  std::size_t longest_ = 0;  // bytes
  std::array<std::int32_t, 256> bytes_{};
};

}  // namespace regard::model
