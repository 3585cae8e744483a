// src/cache/prefix_index.h - which full page holds which tokens after which others: a tree for each
// namespace.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace regard::cache {

/// Pages by what they hold: the ids of a page, after the ids of the page before it, and so on. A
/// page is found by comparing all of its ids, so that no two contents are ever taken for each
/// other. Namespaces share nothing.
class PrefixIndex {
 public:
  using Node = std::int64_t;           ///< a number that is never used again
  static constexpr Node kNothing = 0;  ///< before the first page
  using Ids = std::span<const std::int32_t>;

  /// The page that holds `ids` after `parent`, or kNothing.
  Node find(const std::string& space, Node parent, Ids ids) const;
  /// Puts a page there; there must be none yet.
  Node insert(const std::string& space, Node parent, Ids ids, std::int32_t page);
  /// Takes the page out; what came after it is not found any more.
  void erase(Node node) noexcept;
  std::int32_t page(Node node) const { return entries_.at(node).page; }

  /// Says that the path to the node was of use: none of it is older than what hangs on it.
  void touch(Node node) noexcept;
  /// Whether nobody but the index holds the page.
  void set_kept(Node node, bool kept) noexcept;
  /// Of the kept pages the one that was of use longest ago, or kNothing.
  Node oldest_kept() const { return kept_.empty() ? kNothing : kept_.begin()->node; }
  std::int64_t num_kept() const { return static_cast<std::int64_t>(kept_.size()); }

 private:
  struct Key {
    Node parent;
    std::vector<std::int32_t> ids;
    auto operator<=>(const Key&) const = default;
  };
  using Space = std::map<Key, Node>;
  /// In the order of being given up: of the same age the deepest first.
  struct Age {
    std::int64_t last_use, height;
    Node node;
    auto operator<=>(const Age&) const = default;
  };
  struct Entry {
    std::map<std::string, Space>::iterator space;
    Space::iterator place;
    std::int32_t page;
    Age age;
    std::set<Age>::node_type
        unkept;  ///< what goes to kept_ and comes back: keeping never allocates
  };

  void keep(Entry& entry) noexcept;

  std::map<std::string, Space> spaces_;
  std::map<Node, Entry> entries_;
  std::set<Age> kept_;
  Node last_node_ = kNothing;
  std::int64_t clock_ = 0;
};

}  // namespace regard::cache
