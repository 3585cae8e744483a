// src/model/byte_pairs.h - byte pair encoding over bytes: a word to the vocabulary's tokens by its
// list of merges.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace regard::model {

/// The characters that GPT-2's vocabularies write bytes as, to the bytes; nothing for another one.
std::optional<std::string> bytes_of_piece(std::string_view piece);

class BytePairs {
 public:
  /// pieces[id] are bytes; "" where there is none. A merge is two pieces, ascending ranks; those
  /// whose pieces are not all there are refused with std::invalid_argument.
  BytePairs(const std::vector<std::string>& pieces,
            const std::vector<std::pair<std::string, std::string>>& merges, bool ignore_merges);

  /// A token of a word and the bytes that it takes; id -1: a byte that no token stands for.
  struct Part {
    std::int32_t id;
    std::size_t size;
  };
  /// Appends the tokens of a word that is not empty, merging the pair of lowest rank first, the
  /// leftmost of equals. O(n log n).
  void split(std::string_view word, std::vector<Part>& parts) const;

 private:
  struct Merge {
    std::int32_t rank, id;
  };
  struct PairHash {
    std::size_t operator()(std::uint64_t pair) const {
      pair *= 0x9E3779B97F4A7C15U;
      return pair ^ pair >> 29;
    }
  };
  static std::uint64_t pair(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }

  std::unordered_map<std::string, std::int32_t> ids_;  // kept for ignore_merges
  std::unordered_map<std::uint64_t, Merge, PairHash> merges_;
  std::int32_t bytes_[256];
  bool ignore_merges_;
};

}  // namespace regard::model
