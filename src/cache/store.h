// src/cache/store.h - sequences as lists of pages: shared, copied when written, given back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "cache/page_layout.h"
#include "cache/page_pool.h"
#include "cache/prefix_index.h"
#include "regard/kv_cache.h"

namespace regard::cache {

/// Under what name a sequence's pages are found: sequences of one name may share them.
inline std::string space_of(const SequenceOptions& options) {
  return options.share_with.empty() ? "owner " + options.owner : "shared " + options.share_with;
}

/// One sequence. pages[i] and table[i], its memory, hold tokens [i * page_size, (i + 1) *
/// page_size).
struct SequenceState {
  static constexpr std::int32_t kEvicted = -1;

  SequenceOptions options;
  std::int64_t length = 0;
  std::vector<std::int32_t> pages;
  std::vector<const std::byte*> table;  ///< null where a page was evicted
  std::int64_t evicted_begin = 0, evicted_end = 0;
  std::int64_t published = 0;  ///< pages of which the index knows what they hold
  /// Tokens [length, stale_end) of the last page hold numbers that truncate() forgot.
  std::int64_t stale_end = 0;

  std::string space() const { return space_of(options); }
};

/// What PagedKvCache does, on arguments that have been checked. Every function that throws leaves
/// everything as it was.
class Store {
 public:
  using Id = std::int64_t;
  using Ids = std::span<const std::int32_t>;

  explicit Store(const KvCacheShape& shape);

  const KvCacheShape& shape() const { return shape_; }
  const PageLayout& layout() const { return layout_; }
  bool has(Id id) const { return sequences_.contains(id); }
  const SequenceState& at(Id id) const { return sequences_.at(id); }

  Id create(SequenceOptions options);
  void release(Id id);
  Id fork(Id id);
  std::int64_t extend(Id id, std::int64_t count);
  void truncate(Id id, std::int64_t length);
  void evict(Id id, std::int64_t begin, std::int64_t end);
  void publish(Id id, Ids ids);
  std::int64_t adopt(Id id, Ids ids);
  /// Makes the pages of tokens [begin, end) the sequence's own, that it may write them.
  void own(Id id, std::int64_t begin, std::int64_t end);
  KvCacheStats stats() const;

  struct PageRange {
    std::int64_t begin, end;
  };
  /// The pages that evicting tokens [begin, end) gives back: whole tiles of attention.
  PageRange evicted_pages(std::int64_t begin, std::int64_t end) const;
  /// New sequences like `states`, whose pages are numbers from 0 to num_pages - 1: equal ones
  /// become one page, of zeros.
  std::vector<Id> restore(const std::vector<SequenceState>& states, std::int64_t num_pages);
  const std::map<Id, SequenceState>& sequences() const { return sequences_; }

  enum class Part : std::uint8_t { kKey, kValue };
  /// A token's key or value of one layer and KV head.
  struct Place {
    std::int64_t layer, head, position;
  };
  /// Where it lies, and its scale (int8, else null).
  struct Row {
    std::byte* data;
    float* scale;
  };
  Row row(Part part, const SequenceState& s, const Place& at) const;
  /// Element i of a row as a float.
  float element(const Row& row, std::int64_t i) const;

 private:
  std::int64_t pages_for(std::int64_t tokens) const {
    return (tokens + shape_.page_size - 1) / shape_.page_size;
  }
  /// Pages that are evicted together, so that no tile of attention loses a part.
  std::int64_t unit_pages() const;
  /// Throws CacheFull unless so many pages can be had.
  void need(std::int64_t pages, const std::string& owner) const;
  std::string usage() const;
  std::vector<std::int32_t> take(std::int64_t pages, const std::string& owner);
  // None of these allocates: what has begun to change ends.
  void hold(std::int32_t page) noexcept;
  void drop(std::int32_t page) noexcept;
  bool is_shared(std::int32_t page) const noexcept {
    return page != SequenceState::kEvicted && pool_.references(page) > 1;
  }
  void replace(SequenceState& s, std::int64_t i, std::int32_t page) noexcept;
  void replace_by_copy(SequenceState& s, std::int64_t i, std::int32_t page) noexcept;
  void wipe(const SequenceState& s, std::int64_t begin, std::int64_t end) const noexcept;
  void forget(PrefixIndex::Node node) noexcept;
  void fill(SequenceState& s, const SequenceState& from, std::span<const std::int32_t> pages);
  PrefixIndex::Node& node_of(std::int32_t page) noexcept {
    return nodes_[static_cast<std::size_t>(page)];
  }

  KvCacheShape shape_;
  PageLayout layout_;
  PagePool pool_;
  PrefixIndex index_;
  std::vector<PrefixIndex::Node> nodes_;  // by page: where the index has it
  std::map<Id, SequenceState> sequences_;
  Id next_id_ = 0;
  std::int64_t looked_up_tokens_ = 0, found_tokens_ = 0;
};

}  // namespace regard::cache
