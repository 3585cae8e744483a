// src/model/pair_merging.h - what every byte pair encoding does: neighbours become one, the best
// pair first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <vector>

namespace regard::model {

/// A token of a word and the bytes that it takes; id -1: what no token stands for.
struct WordToken {
  std::int32_t id;
  std::size_t size;
};

/// What two neighbours become; the pair of the lowest rank goes first.
struct Merge {
  std::int32_t rank, id;
};

/// A word that is being merged.
class Symbols {
 public:
  struct Symbol {
    std::int32_t id;
    std::int32_t previous, next;  ///< -1: none
    std::size_t begin, size;      ///< bytes of the word; size 0: merged into another
  };

  explicit Symbols(std::size_t most) { symbols_.reserve(most); }

  /// Puts one behind the others.
  void add(std::int32_t id, std::size_t size) {
    const auto here = static_cast<std::int32_t>(symbols_.size());
    const std::size_t begin = here == 0 ? 0 : symbols_.back().begin + symbols_.back().size;
    if (here > 0) symbols_.back().next = here;
    symbols_.push_back({id, here - 1, -1, begin, size});
  }
  /// Makes the last one longer.
  void extend(std::size_t size) { symbols_.back().size += size; }

  /// `find(left, right)` gives the merge of two neighbours, if there is one: any
  /// std::optional<Merge>. Of equal ranks the leftmost goes first. O(n log n).
  template <class Find>
  void merge(const Find& find) {
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
    const auto consider = [&](std::int32_t left) {
      if (left < 0 || at(left).next < 0) return;
      const Symbol &a = at(left), &b = at(a.next);
      if (const std::optional<Merge> merge = find(a, b))
        queue.push({merge->rank, left, merge->id, a.size + b.size});
    };
    for (std::size_t i = 0; i < symbols_.size(); ++i) consider(static_cast<std::int32_t>(i));
    while (!queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      Symbol& a = at(best.left);
      // Symbols only grow: as long as the two have this size, they are those that were found.
      if (a.size == 0 || a.next < 0 || a.size + at(a.next).size != best.size) continue;
      Symbol& b = at(a.next);
      a.id = best.id;
      a.size = best.size;
      a.next = b.next;
      b.size = 0;
      if (a.next >= 0) at(a.next).previous = best.left;
      consider(a.previous);
      consider(best.left);
    }
  }

  template <class Visit>
  void for_each(const Visit& visit) const {
    for (const Symbol& symbol : symbols_) {
      if (symbol.size > 0) visit(symbol);
    }
  }

 private:
  struct Candidate {
    std::int32_t rank, left, id;
    std::size_t size;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };

  Symbol& at(std::int32_t i) { return symbols_[static_cast<std::size_t>(i)]; }

  std::vector<Symbol> symbols_;
};

}  // namespace regard::model
