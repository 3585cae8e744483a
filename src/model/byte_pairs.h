// src/model/byte_pairs.h - byte pair encoding by a list of merges: a word to the vocabulary's
// tokens.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "model/pair_merging.h"

namespace regard::model {

/// The characters that GPT-2's vocabularies write bytes as, to the bytes; nothing for another one.
std::optional<std::string> bytes_of_piece(std::string_view piece);

/// How SentencePiece's vocabularies write a byte: "<0x0A>".
std::string byte_token(unsigned char byte);
/// The byte of such a token; nothing for another one.
std::optional<char> byte_of_token(std::string_view piece);

/// What a word is before anything is merged, and when nothing is.
struct PairOptions {
  bool ignore_merges = false;  ///< a word that is a piece is that piece
  bool characters = false;     ///< a word begins as code points, else as bytes
  // Of a code point that is no piece:
  bool byte_fallback = false;               ///< it is its bytes, pieces such as "<0x0A>"
  std::optional<std::int32_t> unk_id = {};  ///< else it is this one
  bool fuse_unk = false;                    ///< neighbours are one
};

class BytePairs {
 public:
  using Merges = std::vector<std::pair<std::string, std::string>>;

  /// pieces[id] are bytes; "" where there is none. A merge is two pieces, ascending ranks; those
  /// whose pieces are not all there are refused with std::invalid_argument.
  BytePairs(const std::vector<std::string>& pieces, const Merges& merges,
            const PairOptions& options);

  /// Appends the tokens of a word that is not empty, merging the pair of lowest rank first, the
  /// leftmost of equals. O(n log n).
  void split(std::string_view word, std::vector<WordToken>& tokens) const;

 private:
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
  std::int32_t find(std::string_view piece) const;
  void add_characters(std::string_view word, Symbols& symbols) const;

  std::unordered_map<std::string, std::int32_t> ids_;
  std::unordered_map<std::uint64_t, Merge, PairHash> merges_;
  std::array<std::int32_t, 256> bytes_;
  PairOptions options_;
};

}  // namespace regard::model
