// src/model/piece_table.h - a set of strings that finds the longest one that begins a text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace regard::model {

/// Sorted strings, each with a number. One search costs a binary search and a few steps, however
/// long the text is.
class PieceTable {
 public:
  struct Entry {
    std::string piece;
    std::int32_t value;
  };
  struct Match {
    std::int32_t value;
    std::size_t size;  ///< bytes of the piece
  };

  PieceTable() = default;
  /// Pieces must be distinct; empty ones are left out, since nothing begins with them in a useful
  /// way.
  explicit PieceTable(std::vector<Entry> entries);

  bool empty() const { return rows_.empty(); }
  std::optional<Match> longest_prefix(std::string_view text) const;
  std::optional<std::int32_t> find(std::string_view piece) const;

 private:
  struct Row {
    Entry entry;
    std::int32_t parent;  // the longest other piece that begins this one, or -1
  };
  std::vector<Row> rows_;
  std::vector<std::uint64_t>
      heads_;  // the first 8 bytes of each, as a number that sorts as they do
};

}  // namespace regard::model
